"""LMDB datasets in DTRB's format, written; :mod:`hanline.data.lmdb_keys` has the format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from hanline.data.dataset_writer import DatasetWriter, NewSample
from hanline.data.lmdb_keys import (
    CHECKSUMS,
    COUNT,
    checksum_key,
    checksum_of,
    image_key,
    label_key,
    position_key,
)
from hanline.errors import HanlineError

_WRITTEN = b"num-written"
_FIRST_MAP_SIZE = 64 * 2**20


class LMDBWriter(DatasetWriter):
    """Writes an LMDB dataset; an incomplete one has no count, so that no reader opens it.

    Args:
        path: where the dataset will be.
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
            hint = ". If the leftovers of an earlier run are damaged, remove them"
            if not before:
                super().discard()
                hint = ""
            raise HanlineError(f"cannot write below {error}{hint}") from error
        with self._environment.begin() as transaction:
            # A run that was killed between the count and the name has the count already.
            done = transaction.get(_WRITTEN) or transaction.get(COUNT) or b"0"
            self.done = int(done)
            # An older Hanline has begun it without them.
            self._has_checksums = not self.done or bool(
                transaction.get(checksum_key(self.done - 1))
            )

    def finish(self, provenance: dict[str, Any], notes: dict[str, str] | None = None) -> Path:
        with self._removed_on_failure():
            count = str(self.done).encode()
            entries = {COUNT: count}
            if self._has_checksums:
                entries[checksum_key(-1)] = checksum_of(count, -1)
                provenance = {**provenance, CHECKSUMS: "crc32"}
            self._write(entries, without=_WRITTEN)
            self._environment.sync(True)
            self._environment.close()
        return super().finish(provenance, notes)

    def discard(self) -> None:
        self._environment.close()
        super().discard()

    def _append(self, samples: Sequence[NewSample]) -> None:
        entries = {_WRITTEN: str(self.done + len(samples)).encode()}
        for number, sample in enumerate(samples, start=self.done):
            label = sample.label.encode("utf-8")
            positions = b""
            if sample.positions is not None:
                positions = np.asarray(sample.positions).astype("<f2").tobytes()
                entries[position_key(number)] = positions
            entries[image_key(number)] = sample.image
            entries[label_key(number)] = label
            if self._has_checksums:
                entries[checksum_key(number)] = b"".join(
                    checksum_of(value, number) for value in (sample.image, label, positions)
                )
        self._write(entries)

    def _write(self, entries: dict[bytes, bytes], without: bytes | None = None) -> None:
        """Put entries into the dataset and take one out: all of it or nothing."""
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
