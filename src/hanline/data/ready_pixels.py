"""Images decoded and resized once, and kept beside their set as the pixels that a step takes.

Decoding and resizing a small image takes some twenty times as long as copying its pixels. They are
kept where :mod:`hanline.data.set_index` keeps its files. A file is of one state of one set, which
its name and its first bytes tell; its pixels themselves are not checked when it is opened, which
would take as long as reading all of them.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL

from hanline.data.images import ImageError, ImageFormat, decode_image, to_pixels
from hanline.data.lmdb_store import LMDBStore
from hanline.data.set_index import KEY_SIZE, key_of, places
from hanline.data.set_writer import PARTIAL, sole_writer
from hanline.errors import HanlineError
from hanline.parallel import ordered_map
from hanline.progress import progress

logger = logging.getLogger(__name__)
# Raise it whenever decode_image or to_pixels come to give other pixels.
_VERSION = 2
# A task for another process has at most so many images, and bytes of pixels.
_IMAGES_A_TASK, _BYTES_A_TASK = 1024, 4 * 2**20
# So many images are decoded before other processes have started.
_ALONE = 20_000
# Unasked, so many bytes are written for a run at most, and this share of a disk's free space.
_UNASKED_BYTES, _UNASKED_SHARE = 4 * 2**30, 1 / 4
SUFFIX = ".pixels"


class NotKeptError(HanlineError):
    """Pixels are not kept: they cannot be, or nobody asked and they are too many."""


class ReadyPixels:
    """The pixels of a set's first images, by number; see :func:`keep_ready_pixels`.

    Pickled, it takes no pixels along: whoever loads it maps the file for itself.

    Attributes:
        damaged: the numbers of the images that could not be decoded, which have no pixels.

    Raises:
        HanlineError: the file is gone.
    """

    def __init__(self, file: Path, count: int, image_format: ImageFormat) -> None:
        self.file = file
        self.shape = (count, *_shape(image_format))
        self._map()

    def __getitem__(self, number: int) -> np.ndarray:
        """uint8 (H, W, C), not to be written to."""
        pixels: np.ndarray = self._pixels[number]
        return pixels

    def __getstate__(self) -> dict[str, object]:
        return {"file": self.file, "shape": self.shape}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__ |= state
        self._map()

    def _map(self) -> None:
        count = self.shape[0]
        self.damaged: frozenset[int] = frozenset()
        if not count:
            self._pixels = np.zeros(self.shape, np.uint8)
            return
        try:
            flags = np.fromfile(self.file, dtype=bool, count=count, offset=KEY_SIZE)
            mapped = np.memmap(
                self.file, np.uint8, mode="r", offset=KEY_SIZE + count, shape=self.shape
            )
        except OSError as error:
            raise HanlineError(
                f"the ready pixels {self.file} are gone: {error.strerror}; start again, and they "
                "are made again"
            ) from error
        self.damaged = frozenset(np.flatnonzero(flags).tolist())
        # A plain view of the map: each row of a memmap takes ten times as long.
        self._pixels = np.asarray(mapped)


# Some images of a set, by their numbers, to be decoded; and their pixels, uint8 (N, H, W, C), with
# the places of those that have none.
_Task = tuple[LMDBStore, ImageFormat, range]
_Decoded = tuple[np.ndarray, list[int]]


@dataclass(frozen=True)
class _Job:
    """What is asked for.

    Attributes:
        key: stands at the beginning of the file.
        question: how the names of all files begin that answer the same for states of the set.
    """

    store: LMDBStore
    image_format: ImageFormat
    count: int
    key: bytes
    question: str

    @staticmethod
    def of(store: LMDBStore, image_format: ImageFormat, count: int) -> "_Job":
        facts = {
            **asdict(image_format),
            **{"count": count, "version": _VERSION, "pillow": PIL.__version__},
        }
        return _Job(store, image_format, count, *key_of(store, "pixels", facts, "uint8"))

    @property
    def name(self) -> str:
        """Of the file: no other state of the set has the same, so that none is ever replaced."""
        return f"{self.question}-{self.key.hex()[:12]}{SUFFIX}"

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return KEY_SIZE + self.count * (1 + prod(_shape(self.image_format)))

    def tasks(self) -> list["_Task"]:
        """The decoding, in pieces for several processes."""
        a_task = max(1, min(_IMAGES_A_TASK, _BYTES_A_TASK // prod(_shape(self.image_format))))
        starts = range(0, self.count, a_task)
        return [
            (self.store, self.image_format, range(start, min(start + a_task, self.count)))
            for start in starts
        ]


def keep_ready_pixels(
    sets: Sequence[tuple[LMDBStore, int]], image_format: ImageFormat, unasked: bool
) -> None:
    """Decode and resize the first images of sets once, where an earlier run has not.

    Args:
        sets: each with how many of its images.
        image_format: of a fixed width.
        unasked: nobody said that pixels shall be kept. Then they are where the sets are or nowhere,
            and all of them or none: where what is missing takes 4 GiB at most, and a quarter of the
            disk's free space.

    Raises:
        NotKeptError: they cannot be kept, or shall not be.
    """
    jobs = [_Job.of(store, image_format, count) for store, count in sets]
    # A set may be in two groups. All runs lock the files in the same order.
    by_place = {(str(job.store.path.resolve()), job.name): job for job in jobs}
    missing = [by_place[place] for place in sorted(by_place) if not _found(by_place[place])]
    if not missing:
        return
    try:
        if unasked:
            _check_modest(missing)
        _keep([(job, _writable(job, unasked)) for job in missing])
    except (OSError, BrokenProcessPool) as error:
        raise NotKeptError(f"the ready pixels cannot be kept: {error}") from error


def find_ready_pixels(
    store: LMDBStore, image_format: ImageFormat, count: int
) -> ReadyPixels | None:
    """The pixels of a set's first images, where :func:`keep_ready_pixels` has kept them."""
    job = _Job.of(store, image_format, count)
    file = _found(job)
    try:
        return ReadyPixels(file, count, image_format) if file else None
    except HanlineError as error:  # gone meanwhile, or no address space to map it into
        logger.info("%s", error)
        return None


def _found(job: _Job) -> Path | None:
    for file in places(job.store, job.name):
        with suppress(OSError), file.open("rb") as content:
            if content.read(KEY_SIZE) == job.key and file.stat().st_size == job.size:
                return file
    return None


def _keep(missing: Sequence[tuple[_Job, Path]]) -> None:
    with ExitStack() as stack:
        for job, file in missing:
            # Of several runs one makes the file, and the others wait for it.
            stack.enter_context(sole_writer(file.with_name(job.question)))
        todo = [(job, file) for job, file in missing if not _found(job)]
        if not todo:
            return
        images = sum(job.count for job, _ in todo)
        tasks = (task for job, _ in todo for task in job.tasks())
        decoded = ordered_map(_decoded, tasks, 1 if images <= _ALONE else 0)
        stack.callback(decoded.close)
        advance = stack.enter_context(progress("decoding images", images))
        for job, file in todo:
            _make(file, job, islice(decoded, len(job.tasks())), advance)
    size = sum(job.size for job, _ in todo) / 2**20
    logger.info("keeping %.0f MiB of ready pixels in files *%s", size, SUFFIX)


def _check_modest(jobs: Sequence[_Job]) -> None:
    """Whether files that nobody asked for leave enough room."""
    total = sum(job.size for job in jobs)
    if total > _UNASKED_BYTES:
        raise NotKeptError(
            f"their pixels would take {total / 2**30:.1f} GiB. With a GPU, which might wait for "
            "them, try data.ready_pixels=true"
        )
    disks: dict[int, list[_Job]] = {}
    for job in jobs:
        disks.setdefault(job.store.path.stat().st_dev, []).append(job)
    for on_disk in disks.values():
        size = sum(job.size for job in on_disk)
        place = on_disk[0].store.path
        room = shutil.disk_usage(place).free
        if size > _UNASKED_SHARE * room:
            raise NotKeptError(
                f"their pixels would take {size / 2**20:,.0f} MiB, and the disk of {place} has "
                f"{room / 2**20:,.0f} left"
            )


def _writable(job: _Job, unasked: bool) -> Path:
    """Where the file goes."""
    problem = None
    for file in islice(places(job.store, job.name), 1 if unasked else None):
        trial = file.with_name(f"{job.question}.{secrets.token_hex(4)}.trial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            trial.touch()
            trial.unlink()
        except OSError as error:
            problem = error
        else:
            return file
    where = "in its folder" if unasked else "in its folder, nor in the cache folder of the user"
    raise NotKeptError(f"the ready pixels of {job.store.path} cannot be kept {where}: {problem}")


def _make(
    file: Path, job: _Job, decoded: Iterable[_Decoded], advance: Callable[[int], None]
) -> None:
    # What earlier runs that were killed, and earlier states of the set, have left. A newer file may
    # be of this state as another machine sees it.
    written = (job.store.path / "data.mdb").stat().st_mtime_ns
    for old in file.parent.glob(f"{job.question}-*{SUFFIX}*"):
        with suppress(OSError):  # on Windows, what another run has mapped stays
            if old.name.startswith(job.name) or old.stat().st_mtime_ns < written:
                old.unlink()
    room = shutil.disk_usage(file.parent).free
    if job.size > room:
        raise NotKeptError(
            f"the ready pixels of {job.store.path} take {job.size / 2**20:,.0f} MiB, but the "
            f"disk of {file.parent} has {room / 2**20:,.0f} left"
        )
    aside = file.with_name(file.name + PARTIAL)
    try:
        with aside.open("wb") as content:
            _write(content, job, decoded, advance)
            content.flush()
            # A name that outlives a loss of power shall not stand for pixels that did not.
            os.fsync(content.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _write(
    content: BinaryIO, job: _Job, decoded: Iterable[_Decoded], advance: Callable[[int], None]
) -> None:
    damaged = np.zeros(job.count, dtype=bool)
    content.write(job.key)
    content.write(damaged.data)
    done = 0
    for pixels, broken in decoded:
        content.write(pixels.data)
        damaged[done + np.asarray(broken, dtype=int)] = True
        done += len(pixels)
        advance(len(pixels))
    content.seek(KEY_SIZE)
    content.write(damaged.data)


def _decoded(task: _Task) -> _Decoded:
    store, image_format, numbers = task
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
    """H, W and C of all images of a fixed width."""
    assert image_format.width is not None
    return image_format.height, image_format.width, image_format.channels
