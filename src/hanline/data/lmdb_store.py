"""LMDB sets in DTRB's format, read and written.

The keys are DTRB's: ``num-samples`` holds the count as decimal text, ``image-%09d`` the bytes of an
image file and ``label-%09d`` its UTF-8 label, numbered from 1.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb

from hanline.data.dataset_writer import PARTIAL, SetWriter
from hanline.errors import HanlineError

_COUNT = b"num-samples"
_WRITTEN = b"num-written"
_FIRST_MAP_SIZE = 64 * 2**20
_UNWRITTEN_PAGES = 16


class LMDBStore:
    """One LMDB set, for reading.

    It can be pickled and forked: each process opens the file for itself.

    Raises:
        HanlineError: there is no set, or it is damaged or incomplete.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "data.mdb").is_file():
            raise HanlineError(f"there is no LMDB set in {self.path}: it holds no data.mdb")
        with self._environment().begin() as transaction:
            count = transaction.get(_COUNT)
        if count is None:
            raise HanlineError(
                f"the LMDB set {self.path} has no {_COUNT.decode()}: it was not written to its "
                "end; make it again"
            )
        self._length = int(count)

    def __len__(self) -> int:
        return self._length

    def identity(self) -> list[int]:
        """Numbers that are others once the set was written to, or another stands in its place."""
        info = self._environment().info()
        file = (self.path / "data.mdb").stat()
        changed = file.st_mtime_ns, file.st_ctime_ns
        return [file.st_ino, file.st_size, *changed, info["last_txnid"], info["last_pgno"]]

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, str]]:
        """The image files' bytes and the labels at these indices, counted from 0."""
        samples = []
        with self._environment().begin() as transaction:
            for index in indices:
                image = transaction.get(_image_key(index))
                label = transaction.get(_label_key(index))
                if image is None or label is None:
                    raise self._lacks(index)
                samples.append((image, label.decode("utf-8")))
        return samples

    def labels_at(self, indices: Sequence[int]) -> list[str]:
        """The labels at these indices, counted from 0."""
        labels = []
        with self._environment().begin() as transaction:
            for index in indices:
                label = transaction.get(_label_key(index))
                if label is None:
                    raise self._lacks(index)
                labels.append(label.decode("utf-8"))
        return labels

    def labels(self) -> Iterator[str]:
        """All labels, in order."""
        with self._environment().begin() as transaction, transaction.cursor() as cursor:
            cursor.set_range(_label_key(0))
            entries = iter(cursor)
            for index in range(len(self)):
                key, label = next(entries, (None, b""))
                if key != _label_key(index):
                    raise self._lacks(index)
                yield label.decode("utf-8")

    def _lacks(self, index: int) -> HanlineError:
        return HanlineError(
            f"the LMDB set {self.path} says that it has {len(self)} samples, but lacks number "
            f"{index + 1}; make it again"
        )

    def _environment(self) -> lmdb.Environment:
        path = self.path.absolute() / "data.mdb"
        file = path.stat()
        key = file.st_dev, file.st_ino
        process, environment, _ = _opened.get(key, (None, None, None))
        if environment is not None and process == os.getpid():
            return environment
        if environment is not None:
            environment.close()
        _close_removed()
        environment = self._open(file.st_size)
        _opened[key] = os.getpid(), environment, path
        return environment

    def _open(self, size: int) -> lmdb.Environment:
        try:
            environment = lmdb.open(
                str(self.path), readonly=True, lock=False, readahead=False, meminit=False
            )
        except lmdb.Error as error:
            raise HanlineError(f"cannot open the LMDB set {self.path}: {error}") from error
        # To read behind the end of a file that was cut off would kill the process. Only a few pages
        # may be missing there: LMDB does not write those that it took and gave up again.
        pages = environment.info()["last_pgno"] - _UNWRITTEN_PAGES
        expected = pages * environment.stat()["psize"]
        if size < expected:
            environment.close()
            raise HanlineError(
                f"the LMDB set {self.path} is cut off: its data.mdb has {size} bytes of more than "
                f"{expected}; copy it again"
            )
        return environment


# The environments of this process, and those that a fork has brought into it, by their files: LMDB
# lets a process open a file once only, and no environment be used after a fork.
_opened: dict[tuple[int, int], tuple[int, lmdb.Environment, Path]] = {}


def _close_removed() -> None:
    """Close the environments of sets that are gone.

    A new set's files may get the numbers that theirs had, and LMDB would take it for open.
    """
    for key, (_, environment, path) in list(_opened.items()):
        try:
            file = path.stat()
        except OSError:
            file = None
        if file is None or key != (file.st_dev, file.st_ino):
            environment.close()
            del _opened[key]


class LMDBWriter(SetWriter):
    """Writes an LMDB set; what is not complete has no count, so that no reader opens it.

    Args:
        path: where the set will be.
        resume: keep what an earlier run that was stopped has left there. Without it nothing is
            forced to the disk before the end, which is faster.
    """

    _failures = (OSError, lmdb.Error)

    def __init__(self, path: str | Path, resume: bool) -> None:
        super().__init__(path, resume)
        written = self.partial / "data.mdb"
        before = written.exists()
        try:
            self._environment = lmdb.open(
                str(self.partial), map_size=_FIRST_MAP_SIZE, sync=resume, meminit=False
            )
        except lmdb.Error as error:
            hint = "; if what an earlier run has left there is damaged, remove it"
            if not before:
                super().discard()
                hint = ""
            raise HanlineError(f"cannot write below {error}{hint}") from error
        with self._environment.begin() as transaction:
            # A run that was killed between the count and the name has the count already.
            done = transaction.get(_WRITTEN) or transaction.get(_COUNT) or b"0"
            self.done = int(done)

    def finish(self, provenance: dict[str, Any], notes: dict[str, str] | None = None) -> Path:
        with self._removed_on_failure():
            self._write({_COUNT: str(self.done).encode()}, without=_WRITTEN)
            self._environment.sync(True)
            self._environment.close()
        return super().finish(provenance, notes)

    def discard(self) -> None:
        self._environment.close()
        super().discard()

    def _append(self, samples: Sequence[tuple[bytes, str]]) -> None:
        entries = {_WRITTEN: str(self.done + len(samples)).encode()}
        for index, (image, label) in enumerate(samples, start=self.done):
            entries[_image_key(index)] = image
            entries[_label_key(index)] = label.encode("utf-8")
        self._write(entries)

    def _write(self, entries: dict[bytes, bytes], without: bytes | None = None) -> None:
        """Put entries into the set and take one out: all of it or nothing."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in entries.items():
                        transaction.put(key, value)
                    if without:
                        transaction.delete(without)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])


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


def _image_key(index: int) -> bytes:
    return b"image-%09d" % (index + 1)


def _label_key(index: int) -> bytes:
    return b"label-%09d" % (index + 1)
