"""LMDB sets in DTRB's format, read and written.

The keys are DTRB's: ``num-samples`` holds the count as decimal text, ``image-%09d`` the bytes of an
image file and ``label-%09d`` its UTF-8 label, numbered from 1.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import lmdb

from hanline.errors import HanlineError

PROVENANCE = "provenance.json"
PARTIAL = ".partial"
_COUNT = b"num-samples"
_WRITTEN = b"num-written"
_FIRST_MAP_SIZE = 64 * 2**20


class LMDBStore:
    """One LMDB set, for reading.

    It can be pickled and forked: samples are read from an environment that each process opens for
    itself, and what is read before that leaves none open.

    Raises:
        HanlineError: there is no set, or it is damaged or incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "data.mdb").is_file():
            raise HanlineError(f"there is no LMDB set in {self.path}: it holds no data.mdb")
        with self._briefly_open() as environment, environment.begin() as transaction:
            count = transaction.get(_COUNT)
        if count is None:
            raise HanlineError(
                f"the LMDB set {self.path} has no {_COUNT.decode()}: it was not written to its "
                "end; make it again"
            )
        self._length = int(count)

    def __len__(self) -> int:
        return self._length

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, str]]:
        """The image files' bytes and the labels at these indices, counted from 0."""
        samples = []
        with self._environment().begin() as transaction:
            for index in indices:
                image = transaction.get(_image_key(index))
                label = transaction.get(_label_key(index))
                if image is None or label is None:
                    raise HanlineError(
                        f"the LMDB set {self.path} says that it has {len(self)} samples, but lacks "
                        f"number {index + 1}; make it again"
                    )
                samples.append((image, label.decode("utf-8")))
        return samples

    def labels(self) -> Iterator[str]:
        """All labels, in order."""
        found = 0
        with (
            self._briefly_open() as environment,
            environment.begin() as transaction,
            transaction.cursor() as cursor,
        ):
            if cursor.set_range(b"label-"):
                for key, label in cursor:
                    if not key.startswith(b"label-") or found == len(self):
                        break
                    found += 1
                    yield label.decode("utf-8")
        if found != len(self):
            raise HanlineError(
                f"the LMDB set {self.path} says that it has {len(self)} samples, but has {found} "
                "labels; make it again"
            )

    def _environment(self) -> lmdb.Environment:
        key = self._key()
        if key not in _opened:
            _opened[key] = self._open()
        return _opened[key]

    @contextmanager
    def _briefly_open(self) -> Iterator[lmdb.Environment]:
        if self._key() in _opened:
            yield self._environment()
            return
        environment = self._open()
        try:
            yield environment
        finally:
            environment.close()

    def _key(self) -> tuple[int, Path, int]:
        return os.getpid(), self.path, (self.path / "data.mdb").stat().st_ino

    def _open(self) -> lmdb.Environment:
        try:
            return lmdb.open(
                str(self.path), readonly=True, lock=False, readahead=False, meminit=False
            )
        except lmdb.Error as error:
            raise HanlineError(f"cannot open the LMDB set {self.path}: {error}") from error


# By process, path and file: LMDB lets a process open a file once only, and never across a fork.
_opened: dict[tuple[int, Path, int], lmdb.Environment] = {}


class LMDBWriter:
    """Writes an LMDB set that appears under its name only when it is complete.

    Until then it stands beside, under ``<name>.partial``, without a count, so that no reader opens
    it.

    Args:
        path: where the set will be.
        resume: keep what an earlier run that was stopped has left there; ``done`` says how many
            samples that is. Without it that is removed, and nothing is forced to the disk before
            the end, which is faster.

    Raises:
        HanlineError: something is there already.
    """

    def __init__(self, path: str | Path, resume: bool) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL)
        if self.path.exists():
            raise HanlineError(f"{self.path} exists: remove it first, or choose another name")
        if not resume:
            shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True, exist_ok=True)
        self._environment = self._open(sync=resume)
        with self._environment.begin() as transaction:
            # A run that was killed between the count and the name has the count already.
            done = transaction.get(_WRITTEN) or transaction.get(_COUNT) or b"0"
            self.done = int(done)

    def add(self, samples: Sequence[tuple[bytes, str]]) -> None:
        """Append samples: image files' bytes and labels, all or none of them.

        Raises:
            HanlineError: the disk is full. What was written is removed.
        """
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for number, (image, label) in enumerate(samples, start=self.done):
                        transaction.put(_image_key(number), image)
                        transaction.put(_label_key(number), label.encode("utf-8"))
                    done = self.done + len(samples)
                    transaction.put(_WRITTEN, str(done).encode())
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
                continue
            except (lmdb.Error, OSError) as error:
                self._give_up(error)
            self.done = done
            return

    def finish(self, provenance: dict[str, Any]) -> Path:
        """Give the set its count and its name.

        Args:
            provenance: what made the set; written beside it as ``provenance.json``.
        """
        try:
            with self._environment.begin(write=True) as transaction:
                transaction.put(_COUNT, str(self.done).encode())
                transaction.delete(_WRITTEN)
            self._environment.sync(True)
            self._environment.close()
            write_provenance(self.partial, provenance)
        except (lmdb.Error, OSError) as error:
            self._give_up(error)
        self.partial.rename(self.path)
        return self.path

    def discard(self) -> None:
        """Remove what was written."""
        self._environment.close()
        shutil.rmtree(self.partial, ignore_errors=True)

    def _open(self, sync: bool) -> lmdb.Environment:
        written = self.partial / "data.mdb"
        size = max(_FIRST_MAP_SIZE, 2 * written.stat().st_size if written.exists() else 0)
        try:
            return lmdb.open(str(self.partial), map_size=size, sync=sync, meminit=False)
        except lmdb.Error as error:
            raise HanlineError(
                f"cannot write below {self.partial}: {error}; if an earlier run left it damaged, "
                "remove it"
            ) from error

    def _give_up(self, error: Exception) -> NoReturn:
        written, place = self.done, self.partial.parent
        self.discard()
        full = "no space left" in str(error).lower() or (
            isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        )
        if full:
            raise HanlineError(
                f"the disk of {place} is full after {written} samples of {self.path.name}; what "
                "was written has been removed. Free some space, or choose another folder"
            ) from error
        raise HanlineError(
            f"cannot write the LMDB set {self.path}: {error}; what was written has been removed"
        ) from error


def find_sets(root: str | Path) -> list[Path]:
    """The LMDB sets of a folder: itself, or every folder below it that holds one.

    Raises:
        HanlineError: there is none.
    """
    root = Path(root)
    found = sorted(
        path.parent
        for path in root.rglob("data.mdb")
        if not any(part.endswith(PARTIAL) for part in path.parent.parts)
    )
    if not found:
        what = (
            "holds no LMDB set (no data.mdb in it or below it)" if root.is_dir() else "is no folder"
        )
        raise HanlineError(f"{root} {what}")
    return found


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    text = json.dumps(provenance, ensure_ascii=False, indent=2) + "\n"
    (folder / PROVENANCE).write_text(text, encoding="utf-8")


def _image_key(index: int) -> bytes:
    return b"image-%09d" % (index + 1)


def _label_key(index: int) -> bytes:
    return b"label-%09d" % (index + 1)
