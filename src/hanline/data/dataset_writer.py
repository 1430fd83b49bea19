"""Datasets under way: out of sight until they are complete, and removed if they cannot be."""

import errno
import json
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from hanline.errors import HanlineError
from hanline.system.files import write_text

logger = logging.getLogger(__name__)
PARTIAL = ".partial"
PROVENANCE = "provenance.json"
# EIO too: LMDB raises it if the disk took only a part of what was written.
_NO_ROOM = [os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)]


class NewSample(NamedTuple):
    """A sample to write.

    Attributes:
        image: the bytes of an image file.
        label: its text.
        positions: float (len(label), 2): left and right of each character as shares of the image's
            width, NaN if unknown; None if none is known.
    """

    image: bytes
    label: str
    positions: np.ndarray | None = None


class DatasetWriter(ABC):
    """Writes a dataset that appears under its name only when it is complete.

    Until then it is beside, under ``<name>.partial``. A failure to write ends in a
    :class:`HanlineError`, and what was written is removed.

    Args:
        path: where the dataset will be.
        resume: keep what an earlier run that was stopped has left there; otherwise it is removed.

    Attributes:
        done: how many samples are written, by this run and those before.

    Raises:
        HanlineError: something exists there already, or nothing can be written there.
    """

    # The errors of a failed write.
    _failures: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, path: str | Path, resume: bool) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL)
        self.done = 0
        if self.path.exists():
            raise HanlineError(f"{self.path} exists: remove it first, or choose another name")
        if not resume:
            shutil.rmtree(self.partial, ignore_errors=True)
        _make_folder(self.partial)

    def begin(self, fingerprint: dict[str, Any]) -> None:
        """Note what makes the dataset, before its first sample.

        Args:
            fingerprint: in JSON's types.

        Raises:
            HanlineError: the samples that an earlier run has left have another fingerprint.
        """
        file = self.partial / PROVENANCE
        if self.done:
            former = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            changed = [name for name, value in fingerprint.items() if former.get(name) != value]
            if changed:
                raise HanlineError(
                    f"{self.partial} holds {self.done} samples of a run that was stopped and that "
                    f"had other settings ({', '.join(changed)}). Remove it to start again, or use "
                    "the settings of that run to go on"
                )
        with self._removed_on_failure():
            self._write_provenance(fingerprint)

    def add(self, samples: Sequence[NewSample | tuple[bytes, str]]) -> None:
        """Append samples: all or none of them."""
        new = [NewSample(*sample) for sample in samples]
        for sample in new:
            if sample.positions is not None and sample.positions.shape != (len(sample.label), 2):
                raise ValueError(f"positions {sample.positions.shape} of {sample.label!r}")
        with self._removed_on_failure():
            self._append(new)
        self.done += len(new)

    def finish(self, provenance: dict[str, Any], notes: dict[str, str] | None = None) -> Path:
        """Complete the dataset and give it its name.

        Args:
            provenance: what made the dataset, in JSON's types; kept in it as ``provenance.json``.
            notes: more text files to keep in it, by name.
        """
        with self._removed_on_failure():
            for name, text in (notes or {}).items():
                write_text(self.partial / name, text)
            self._write_provenance(provenance)
            self.partial.rename(self.path)
        return self.path

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.partial, ignore_errors=True)

    @abstractmethod
    def _append(self, samples: Sequence[NewSample]) -> None:
        """Write samples behind the ``done`` that are there."""

    @contextmanager
    def _removed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            self.discard()
            if any(reason in str(error) for reason in _NO_ROOM):
                raise HanlineError(
                    f"the disk of {self.partial.parent} is full, or a quota or a limit on the size "
                    f"of files is reached, after {self.done} samples of {self.path.name} "
                    f"({error}). What was written has been removed. Free some space, or choose "
                    "another folder"
                ) from error
            raise HanlineError(
                f"cannot write {self.path}: {error}. What was written has been removed"
            ) from error

    def _write_provenance(self, provenance: dict[str, Any]) -> None:
        text = json.dumps(provenance, ensure_ascii=False, indent=2) + "\n"
        write_text(self.partial / PROVENANCE, text)


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Wait for other runs that write this dataset, then keep others from writing it."""
    _make_folder(path.parent)
    file = path.with_name(path.name + PARTIAL + ".lock")
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.info("another run is writing %s: waiting until it is done", path)
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # on Windows the lock removes its file itself
            file.unlink()
        lock.release()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HanlineError(f"cannot write to {path}: {error.strerror}") from error
