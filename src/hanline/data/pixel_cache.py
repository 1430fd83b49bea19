"""Images decoded and resized once, kept beside their dataset as the pixels that a step takes.

Decoding and resizing a small image takes about twenty times as long as copying its pixels. The
files are where :mod:`hanline.data.dataset_cache` keeps its own. A file belongs to one state of one
dataset, which its name and its first bytes identify. The pixels themselves are not checked when it
is opened, which would take as long as reading all of them.

Over 300 lines: writing, finding and reading a file share its layout and the rule for its name.
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

from hanline.data.dataset_cache import KEY_SIZE, cache_key, cache_paths
from hanline.data.dataset_writer import write_lock
from hanline.data.images import ImageError, ImageFormat, decode_image, inner_width, to_pixels
from hanline.data.lmdb_store import LMDBStore
from hanline.errors import HanlineError
from hanline.system.files import replacing
from hanline.system.parallel import ordered_map
from hanline.system.progress import progress

logger = logging.getLogger(__name__)
# Raise it if decode_image or to_pixels give other pixels, or the file has other content.
_VERSION = 2
# The most images, and bytes of pixels, in a task for another process.
_IMAGES_A_TASK, _BYTES_A_TASK = 1024, 4 * 2**20
# This process decodes as many images in the time that others take to start.
_ALONE = 20_000
# The most bytes that are written automatically, and the largest share of a disk's free space.
_AUTOMATIC_BYTES, _AUTOMATIC_SHARE = 4 * 2**30, 1 / 4
SUFFIX = ".pixels"
# The columns that an image takes; 0 for one that cannot be decoded.
_INNER = np.dtype("<u4")
# Some images of a dataset, by their numbers; and their pixels, uint8 (N, H, W, C), with the columns
# that each takes.
_Task = tuple[LMDBStore, ImageFormat, range]
_Decoded = tuple[np.ndarray, np.ndarray]


class NotCachedError(HanlineError):
    """Pixels cannot be cached, or were not asked for and are too many."""


class CachedPixels:
    """The pixels of a dataset's first images, by number; see :func:`cache_pixels_of`.

    Its pickle has no pixels: whoever loads it maps the file again.

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
        """Return uint8 (H, W, C), not to be written to."""
        pixels: np.ndarray = self._pixels[number]
        return pixels

    def inner_share(self, number: int) -> float:
        """Return the share of W that the picture takes; the rest is padding."""
        return float(self._inner[number]) / self.shape[2]

    def __getstate__(self) -> dict[str, object]:
        return {"file": self.file, "shape": self.shape}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__ |= state
        self._map()

    def _map(self) -> None:
        count = self.shape[0]
        self._inner = np.zeros(count, _INNER)
        self.damaged: frozenset[int] = frozenset()
        if not count:
            self._pixels = np.zeros(self.shape, np.uint8)
            return
        try:
            self._inner = np.fromfile(self.file, dtype=_INNER, count=count, offset=KEY_SIZE)
            offset = KEY_SIZE + self._inner.nbytes
            mapped = np.memmap(self.file, np.uint8, mode="r", offset=offset, shape=self.shape)
        except (OSError, ValueError) as error:
            raise HanlineError(
                f"the cached pixels {self.file} are gone or cut off: {error}. Start again to make "
                "them again"
            ) from error
        self.damaged = frozenset(np.flatnonzero(self._inner == 0).tolist())
        # A plain view of the map: each row of a memmap takes ten times as long.
        self._pixels = np.asarray(mapped)


@dataclass(frozen=True)
class _Job:
    """A file of pixels.

    Attributes:
        store: the dataset.
        image_format: what its images become.
        count: how many of its first images are decoded.
        key: the first bytes of the file.
        prefix: file-name prefix shared by the files of all states of this dataset.
    """

    store: LMDBStore
    image_format: ImageFormat
    count: int
    key: bytes
    prefix: str

    @staticmethod
    def of(store: LMDBStore, image_format: ImageFormat, count: int) -> "_Job":
        fingerprint = {
            **asdict(image_format),
            "count": count,
            "version": _VERSION,
            "pillow": PIL.__version__,
        }
        return _Job(store, image_format, count, *cache_key(store, "pixels", fingerprint, "uint8"))

    @property
    def name(self) -> str:
        """The file's name: no other state of the dataset has it, so no file is ever replaced."""
        return f"{self.prefix}-{self.key.hex()[:12]}{SUFFIX}"

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return KEY_SIZE + self.count * (_INNER.itemsize + prod(_shape(self.image_format)))

    def tasks(self) -> list["_Task"]:
        """Return the decoding, in pieces for several processes."""
        a_task = max(1, min(_IMAGES_A_TASK, _BYTES_A_TASK // prod(_shape(self.image_format))))
        starts = range(0, self.count, a_task)
        return [
            (self.store, self.image_format, range(start, min(start + a_task, self.count)))
            for start in starts
        ]


def cache_pixels_of(
    datasets: Sequence[tuple[LMDBStore, int]], image_format: ImageFormat, automatic: bool
) -> None:
    """Decode and resize the first images of datasets, unless an earlier run has.

    Args:
        datasets: each with the number of its images.
        image_format: of a fixed width.
        automatic: caching was not requested explicitly. Then cache next to the datasets only, all
            or nothing, and only up to 4 GiB and a quarter of the disk's free space.

    Raises:
        NotCachedError: they cannot be cached, or are too many.
    """
    jobs = [_Job.of(store, image_format, count) for store, count in datasets]
    # A dataset may be in two groups. All runs lock the files in the same order.
    by_path = {(str(job.store.path.resolve()), job.name): job for job in jobs}
    missing = [by_path[path] for path in sorted(by_path) if not _found(by_path[path])]
    if not missing:
        return
    try:
        if automatic:
            _check_size(missing)
        _make_all([(job, _writable(job, automatic)) for job in missing])
    except (OSError, BrokenProcessPool) as error:
        raise NotCachedError(f"the pixels cannot be cached: {error}") from error


def find_cached_pixels(
    store: LMDBStore, image_format: ImageFormat, count: int
) -> CachedPixels | None:
    """Return the pixels of a dataset's first images if :func:`cache_pixels_of` has cached them."""
    job = _Job.of(store, image_format, count)
    file = _found(job)
    try:
        return CachedPixels(file, count, image_format) if file else None
    except HanlineError as error:  # gone meanwhile, or no address space to map it into
        logger.info("%s", error)
        return None


def _found(job: _Job) -> Path | None:
    for file in cache_paths(job.store, job.name):
        with suppress(OSError), file.open("rb") as content:
            if content.read(KEY_SIZE) == job.key and file.stat().st_size == job.size:
                return file
    return None


def _make_all(missing: Sequence[tuple[_Job, Path]]) -> None:
    with ExitStack() as stack:
        for job, file in missing:
            # One of several runs makes the file, and the others wait for it.
            stack.enter_context(write_lock(file.with_name(job.prefix)))
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
    logger.info("keeping %.0f MiB of decoded pixels in files *%s", size, SUFFIX)


def _check_size(jobs: Sequence[_Job]) -> None:
    """Raise a NotCachedError if files that were not requested would take too much room."""
    total = sum(job.size for job in jobs)
    if total > _AUTOMATIC_BYTES:
        raise NotCachedError(
            f"their pixels would take {total / 2**30:.1f} GiB. With a GPU, which might wait for "
            "them, try data.cache_pixels=true"
        )
    disks: dict[int, list[_Job]] = {}
    for job in jobs:
        disks.setdefault(job.store.path.stat().st_dev, []).append(job)
    for on_disk in disks.values():
        size = sum(job.size for job in on_disk)
        folder = on_disk[0].store.path
        room = shutil.disk_usage(folder).free
        if size > _AUTOMATIC_SHARE * room:
            raise NotCachedError(
                f"their pixels would take {size / 2**20:,.0f} MiB, and the disk of {folder} has "
                f"{room / 2**20:,.0f} left"
            )


def _writable(job: _Job, automatic: bool) -> Path:
    """Return where the file goes."""
    problem = None
    for file in islice(cache_paths(job.store, job.name), 1 if automatic else None):
        trial = file.with_name(f"{job.prefix}.{secrets.token_hex(4)}.trial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            trial.touch()
            trial.unlink()
        except OSError as error:
            problem = error
        else:
            return file
    where = "in its folder" if automatic else "in its folder, nor in the cache folder of the user"
    raise NotCachedError(f"the pixels of {job.store.path} cannot be cached {where}: {problem}")


def _make(
    file: Path, job: _Job, decoded: Iterable[_Decoded], advance: Callable[[int], None]
) -> None:
    # Remove what killed runs, and earlier states of the dataset, have left. A newer file may belong
    # to this state as another machine sees it.
    written = (job.store.path / "data.mdb").stat().st_mtime_ns
    for old in file.parent.glob(f"{job.prefix}-*{SUFFIX}*"):
        with suppress(OSError):  # on Windows, a file that another run has mapped stays
            if old.name.startswith(job.name) or old.stat().st_mtime_ns < written:
                old.unlink()
    room = shutil.disk_usage(file.parent).free
    if job.size > room:
        raise NotCachedError(
            f"the pixels of {job.store.path} take {job.size / 2**20:,.0f} MiB, but the disk of "
            f"{file.parent} has {room / 2**20:,.0f} left"
        )
    with replacing(file) as aside, aside.open("wb") as content:
        _write(content, job, decoded, advance)
        content.flush()
        # A name that outlives a loss of power must not belong to pixels that did not.
        os.fsync(content.fileno())


def _write(
    content: BinaryIO, job: _Job, decoded: Iterable[_Decoded], advance: Callable[[int], None]
) -> None:
    inner = np.zeros(job.count, dtype=_INNER)
    content.write(job.key)
    content.write(inner.data)
    done = 0
    for pixels, columns in decoded:
        content.write(pixels.data)
        inner[done : done + len(pixels)] = columns
        done += len(pixels)
        advance(len(pixels))
    content.seek(KEY_SIZE)
    content.write(inner.data)


def _decoded(task: _Task) -> _Decoded:
    store, image_format, numbers = task
    height, width, channels = _shape(image_format)
    pixels = np.zeros((len(numbers), height, width, channels), dtype=np.uint8)
    inner = np.zeros(len(numbers), dtype=_INNER)
    for index, stored in enumerate(store.samples(numbers)):
        # A damaged image is named when it is asked for, as without a cache.
        with suppress(ImageError):
            image = decode_image(stored.image)
            pixels[index] = to_pixels(image, image_format)
            inner[index] = inner_width(image.size, image_format, width)
    return pixels, inner


def _shape(image_format: ImageFormat) -> tuple[int, int, int]:
    """Return H, W and C of all images of a fixed width."""
    assert image_format.width is not None
    return image_format.height, image_format.width, image_format.channels
