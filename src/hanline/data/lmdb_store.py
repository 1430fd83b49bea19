"""LMDB datasets in DTRB's format, read; :mod:`hanline.data.lmdb_keys` has the format.

Over 300 lines: the one class that reads a dataset decides in one place how a damaged sample is met.
"""

import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from hanline.data.dataset_cache import cached_array
from hanline.data.dataset_writer import PARTIAL, PROVENANCE
from hanline.data.lmdb_environment import environment_of
from hanline.data.lmdb_keys import (
    CHECKSUMS,
    COUNT,
    checksum_key,
    checksum_of,
    image_key,
    label_key,
    position_key,
)
from hanline.data.lmdb_pages import broken_pages, read_meta, sound_entries
from hanline.errors import HanlineError

logger = logging.getLogger(__name__)
_AT_A_TIME = 1024
# The pages of a smaller file are checked in milliseconds, so the result is not kept.
_CHECKED_EACH_TIME = 16 * 2**20

_CHECKSUMS_OF_SAMPLE = struct.Struct("<3I")

Get = Callable[[bytes], bytes | None]


class StoredSample(NamedTuple):
    """One stored sample.

    Attributes:
        image: the bytes of an image file.
        label: its text.
        positions: float32 (len(label), 2): left and right of each character as shares of the
            image's width, NaN if unknown; None if none is known.
        problem: how the sample is damaged; then it has nothing else. Empty if it is not.
    """

    image: bytes
    label: str
    positions: np.ndarray | None = None
    problem: str = ""


class LMDBStore:
    """One LMDB dataset, for reading.

    It can be pickled and forked: each process opens the file again.

    Attributes:
        path: its folder.
        has_checksums: whether each sample is compared with its checksum.
        has_positions: whether samples may have positions.

    Raises:
        HanlineError: there is no dataset, or it is damaged or incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = self.path / "data.mdb"
        if not self._file.is_file():
            raise HanlineError(
                f"{self.path}: expected an LMDB dataset, but there is no file data.mdb in it"
            )
        self._meta = read_meta(self._file)
        self._sound: dict[bytes, tuple[int, int]] | None = None
        self.broken_pages = 0
        if self._meta is not None:
            walk = partial(broken_pages, self._file, self._meta)
            if self._meta.pages * self._meta.page_size > _CHECKED_EACH_TIME:
                broken = cached_array(self, "broken-pages", {}, np.int64, walk)
            else:
                broken = walk()
            self.broken_pages = len(broken)
        if self.broken_pages:
            logger.warning(
                "the LMDB dataset %s is damaged: %d pages of its data.mdb are broken (%s). Their "
                "samples are skipped; copy it again",
                self.path,
                len(broken),
                ", ".join(map(str, broken[:10])),
            )
        with self._reading() as get:
            count = get(COUNT)
            checksum = get(checksum_key(-1))
        self.has_checksums = checksum is not None or self._claims_checksums()
        self.has_positions = self._has_positions()
        self._length = self._checked_count(count, checksum)

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_sound": None}

    def identity(self) -> list[int]:
        """Return numbers that change if the dataset is written to or replaced."""
        file = self._file.stat()
        transaction = self._meta.transaction if self._meta else 0
        return [file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns, transaction]

    def samples(self, numbers: Sequence[int]) -> list[StoredSample]:
        """Return samples, counted from 0; a damaged one has a problem and nothing else.

        Raises:
            HanlineError: the dataset lacks one of them.
        """
        return self._each(partial(self._sample, with_image=True), numbers)

    def labels_at(self, numbers: Sequence[int]) -> list[StoredSample]:
        """Return samples as :meth:`samples` does, without their images.

        Raises:
            HanlineError: the dataset lacks one of them.
        """
        return self._each(partial(self._sample, with_image=False), numbers)

    def known_labels(self, numbers: Sequence[int]) -> list[str]:
        """Return labels that were verified before, in a fifth of the time of :meth:`labels_at`.

        Raises:
            HanlineError: one of them cannot be read any more.
        """
        try:
            with self._reading() as get:
                return [(get(label_key(number)) or b"").decode("utf-8") for number in numbers]
        except (lmdb.Error, UnicodeDecodeError) as error:
            raise HanlineError(
                f"a label of the LMDB dataset {self.path} cannot be read any more: {error}. Start "
                "again, so that the dataset is checked"
            ) from error

    def read(self, numbers: Sequence[int]) -> list[tuple[bytes, str]]:
        """Return image and label of samples that are not damaged, counted from 0.

        Raises:
            HanlineError: one of them is damaged or missing.
        """
        samples = self.samples(numbers)
        for number, sample in zip(numbers, samples, strict=True):
            if sample.problem:
                raise HanlineError(
                    f"sample {number + 1} of the LMDB dataset {self.path} is damaged: "
                    f"{sample.problem}. Copy the dataset again, or make it again"
                )
        return [(sample.image, sample.label) for sample in samples]

    def labels(self) -> Iterator[str | None]:
        """Yield all labels, in order; None for a damaged one.

        Raises:
            HanlineError: the dataset lacks one of them.
        """
        done = 0
        with suppress(lmdb.Error):
            for label in self._labels_in_key_order():
                yield label
                done += 1
        # Where keys do not follow one another, each is looked for.
        for start in range(done, len(self), _AT_A_TIME):
            numbers = range(start, min(start + _AT_A_TIME, len(self)))
            for sample in self.labels_at(numbers):
                yield None if sample.problem else sample.label

    def _labels_in_key_order(self) -> Iterator[str | None]:
        """Yield labels as long as their keys follow one another, in a fifth of the time."""
        if self._is_damaged:
            return
        with self._environment().begin() as transaction:
            labels = transaction.cursor()
            labels.set_range(label_key(0))
            checksums = transaction.cursor()
            checksums.set_range(checksum_key(0))
            for number, (key, label) in zip(range(len(self)), labels, strict=False):
                if key != label_key(number):
                    return
                if self.has_checksums:
                    if checksums.key() != checksum_key(number):
                        return
                    expected = checksums.value()[4:8]
                    checksums.next()
                    if checksum_of(label, number) != expected:
                        yield None
                        continue
                yield _text(label)

    def _sample(self, get: Get, number: int, with_image: bool) -> StoredSample:
        label = get(label_key(number))
        image = get(image_key(number)) if with_image else b""
        positions = get(position_key(number)) if self.has_positions else None
        if image is None or label is None:
            if self._is_damaged or self.has_checksums:
                return _damaged("it is on a broken page")
            raise HanlineError(
                f"the LMDB dataset {self.path} says that it has {len(self)} samples, but lacks "
                f"number {number + 1}. Make it again"
            )
        if self.has_checksums:
            checksums = get(checksum_key(number)) or b""
            if len(checksums) != _CHECKSUMS_OF_SAMPLE.size:
                return _damaged("its checksum is missing or damaged")
            of_image, of_label, of_positions = _CHECKSUMS_OF_SAMPLE.unpack(checksums)
            if (
                zlib.crc32(label, number + 1) != of_label
                or zlib.crc32(positions or b"", number + 1) != of_positions
                or (with_image and zlib.crc32(image, number + 1) != of_image)
            ):
                return _damaged("its checksum is wrong; it is damaged or was changed")
        text = _text(label)
        if text is None:
            return _damaged("its label is not UTF-8")
        return StoredSample(image, text, _positions(positions, len(text)))

    def _each(
        self, read: Callable[[Get, int], StoredSample], numbers: Sequence[int]
    ) -> list[StoredSample]:
        try:
            with self._reading() as get:
                return [read(get, number) for number in numbers]
        except lmdb.Error:
            # An error ends the transaction: each sample has its own.
            return [self._alone(read, number) for number in numbers]

    def _alone(self, read: Callable[[Get, int], StoredSample], number: int) -> StoredSample:
        try:
            with self._reading() as get:
                return read(get, number)
        except lmdb.Error as error:
            return _damaged(str(error))

    @property
    def _is_damaged(self) -> bool:
        return self.broken_pages > 0

    def _checked_count(self, count: bytes | None, checksum: bytes | None) -> int:
        if count is None:
            cause = "it is damaged" if self._is_damaged else "it was not written to its end"
            raise HanlineError(
                f"the LMDB dataset {self.path} has no {COUNT.decode()}: {cause}. Make it again"
            )
        wrong = self.has_checksums and checksum_of(count, -1) != checksum
        if wrong or not (count.isdigit() and len(count) <= 9):
            raise HanlineError(
                f"the LMDB dataset {self.path} is damaged: its {COUNT.decode()} is {count[:20]!r}"
                f"{', which has another checksum' if wrong else ''}. Copy it again"
            )
        return int(count)

    def _claims_checksums(self) -> bool:
        with suppress(OSError, ValueError, AttributeError):
            provenance = json.loads((self.path / PROVENANCE).read_text(encoding="utf-8"))
            return bool(provenance.get(CHECKSUMS))
        return False

    def _has_positions(self) -> bool:
        if self._is_damaged:
            return any(key.startswith(b"position-") for key in self._sound_entries())
        with suppress(lmdb.Error), self._environment().begin() as transaction:
            cursor = transaction.cursor()
            return cursor.set_range(b"position-") and cursor.key().startswith(b"position-")
        return False

    @contextmanager
    def _reading(self) -> Iterator[Get]:
        """Yield a function that returns the value of a key, or None."""
        if not self._is_damaged:
            with self._environment().begin() as transaction:
                yield transaction.get
            return
        # LMDB must not follow broken pages.
        entries = self._sound_entries()
        with self._file.open("rb", buffering=0) as content:

            def get(key: bytes) -> bytes | None:
                if key not in entries:
                    return None
                offset, size = entries[key]
                content.seek(offset)
                return content.read(size)

            yield get

    def _sound_entries(self) -> dict[bytes, tuple[int, int]]:
        if self._sound is None:
            assert self._meta is not None
            self._sound = sound_entries(self._file, self._meta)
        return self._sound

    def _environment(self) -> lmdb.Environment:
        return environment_of(self._file)


def find_datasets(root: str | Path) -> list[Path]:
    """Return the LMDB datasets of a folder: itself, or every folder below it that holds one.

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
        problem = "no data.mdb is in it or below it" if root.is_dir() else "it is not a folder"
        raise HanlineError(f"{root}: expected a folder with LMDB datasets, but {problem}")
    return found


def _damaged(problem: str) -> StoredSample:
    return StoredSample(b"", "", None, problem)


def _text(label: bytes) -> str | None:
    try:
        return label.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _positions(stored: bytes | None, length: int) -> np.ndarray | None:
    if not stored or len(stored) != 4 * length:
        return None
    return np.frombuffer(stored, "<f2").reshape(length, 2).astype(np.float32)
