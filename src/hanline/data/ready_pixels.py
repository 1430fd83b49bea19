"""Images decoded and resized once, and kept beside their set as the pixels that a step takes.

Decoding and resizing a small image takes some twenty times as long as copying its pixels. They are
kept where :mod:`hanline.data.set_index` keeps its files, and under the same conditions: a file of a
set that has changed since counts no more.
"""

import logging
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hanline.data.images import ImageError, ImageFormat, decode_image, to_pixels
from hanline.data.lmdb_store import LMDBStore
from hanline.data.set_index import KEY_SIZE, key_of, places
from hanline.data.set_writer import sole_writer
from hanline.errors import HanlineError
from hanline.parallel import ordered_map
from hanline.progress import progress

logger = logging.getLogger(__name__)
_AT_A_TIME = 1024
# So many images are decoded before other processes have started.
_ALONE = 20_000


class ReadyPixels:
    """The pixels of a set's images, by number; see :func:`ready_pixels`.

    It can be pickled and forked: each process maps the file for itself.

    Attributes:
        damaged: the numbers of the images that could not be decoded, which have no pixels.
    """

    def __init__(self, file: Path, count: int, image_format: ImageFormat) -> None:
        self.file = file
        self.shape = (count, *_shape(image_format))
        flags = np.fromfile(file, dtype=bool, count=count, offset=KEY_SIZE)
        self.damaged = frozenset(np.flatnonzero(flags).tolist())
        self._mapped: np.ndarray | None = None

    def __getitem__(self, number: int) -> np.ndarray:
        """uint8 (H, W, C), not to be written to."""
        if self._mapped is None:
            offset = KEY_SIZE + self.shape[0]
            mapped = np.memmap(self.file, np.uint8, mode="r", offset=offset, shape=self.shape)
            # A plain view of the map: each row of a memmap costs ten times as much to make.
            self._mapped = np.asarray(mapped)
        pixels: np.ndarray = self._mapped[number]
        return pixels

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_mapped": None}


@dataclass(frozen=True)
class _Job:
    """What is asked for.

    Attributes:
        key: at the beginning of a file that has it.
        name: of that file.
    """

    store: LMDBStore
    image_format: ImageFormat
    count: int
    key: bytes
    name: str

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return KEY_SIZE + self.count * (1 + int(np.prod(_shape(self.image_format))))


def ready_pixels(store: LMDBStore, image_format: ImageFormat, count: int) -> ReadyPixels:
    """The pixels of a set's first images: from an earlier run, or made now.

    Args:
        store: the set.
        image_format: of a fixed width.
        count: how many images.

    Raises:
        HanlineError: there is no room for them.
    """
    facts = {**asdict(image_format), "count": count}
    key, name = key_of(store, "pixels", facts, "uint8", ".pixels")
    job = _Job(store, image_format, count, key, name)
    found = _found(job)
    if found is None:
        # Of several processes of a run one makes the file, and the others wait for it.
        with sole_writer(_writable(job)):
            found = _found(job)
            if found is None:
                file = _writable(job)
                _make(file, job)
                found = ReadyPixels(file, count, image_format)
    return found


def _found(job: _Job) -> ReadyPixels | None:
    for file in places(job.store, job.name):
        try:
            with file.open("rb") as content:
                sound = content.read(KEY_SIZE) == job.key and file.stat().st_size == job.size
            if sound:
                return ReadyPixels(file, job.count, job.image_format)
        except OSError:
            continue
    return None


def _writable(job: _Job) -> Path:
    """Where the file goes."""
    problem = None
    for file in places(job.store, job.name):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            trial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
            trial.touch()
            trial.unlink()
        except OSError as error:
            problem = error
            continue
        room = shutil.disk_usage(file.parent).free
        if room < job.size:
            raise HanlineError(
                f"the ready pixels of {job.store.path} take {job.size / 2**20:,.0f} MiB, but the "
                f"disk of {file.parent} has {room / 2**20:,.0f} left: free some space, or set "
                "data.ready_pixels=false, which decodes the images in every epoch"
            )
        return file
    raise HanlineError(
        f"the ready pixels of {job.store.path} can be kept neither in its folder nor in the cache "
        f"folder of the user: {problem}; data.ready_pixels=false does without them"
    )


def _make(file: Path, job: _Job) -> None:
    aside = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    try:
        with aside.open("wb") as content:
            _write(content, job)
            content.flush()
            # A name that outlives a loss of power shall not stand for pixels that did not.
            os.fsync(content.fileno())
        aside.replace(file)
    except OSError as error:
        raise HanlineError(
            f"cannot keep the ready pixels of {job.store.path} in {file.parent}: {error}; nothing "
            "was left there. data.ready_pixels=false does without them"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    logger.info("keeping %.0f MiB of ready pixels in %s", job.size / 2**20, file)


def _write(content: BinaryIO, job: _Job) -> None:
    damaged = np.zeros(job.count, dtype=bool)
    content.write(job.key)
    content.write(damaged.tobytes())
    starts = range(0, job.count, _AT_A_TIME)
    numbers = (range(start, min(start + _AT_A_TIME, job.count)) for start in starts)
    decode = partial(_decoded, job.store, job.image_format)
    done = 0
    with progress("decoding images", job.count) as advance:
        for pixels, broken in ordered_map(decode, numbers, 1 if job.count <= _ALONE else 0):
            content.write(pixels.tobytes())
            damaged[done + np.asarray(broken, dtype=int)] = True
            done += len(pixels)
            advance(len(pixels))
    content.seek(KEY_SIZE)
    content.write(damaged.tobytes())


def _decoded(
    store: LMDBStore, image_format: ImageFormat, numbers: range
) -> tuple[np.ndarray, list[int]]:
    """Pixels, uint8 (N, H, W, C), and which of them are none."""
    pixels = np.zeros((len(numbers), *_shape(image_format)), dtype=np.uint8)
    broken = []
    for place, (content, _) in enumerate(store.read(numbers)):
        try:
            pixels[place] = to_pixels(decode_image(content), image_format)
        except ImageError:
            # It is named when it is asked for, as where pixels are not ready.
            broken.append(place)
    return pixels, broken


def _shape(image_format: ImageFormat) -> tuple[int, int, int]:
    assert image_format.width is not None
    return image_format.height, image_format.width, image_format.channels
