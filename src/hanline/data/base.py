"""The contract of a source of data: what a new one must implement, and what it gets for it.

A source is a class in one file, built by a node of ``conf/data`` (its ``train`` or ``validation``)
with ``_partial_: true``: the node has the source's own keys, and
:class:`~hanline.data.datamodule.TextImageData` adds ``part`` and ``run``. It mixes the groups of
all sources into batches, so a source knows nothing of steps, devices and workers.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from hanline.data.images import ImageFormat, clamp_aspect, inner_width, to_pixels
from hanline.data.labels import LabelRules
from hanline.errors import HanlineError

if TYPE_CHECKING:
    from hanline.data.lmdb_store import LMDBStore
    from hanline.data.rendered_datasets import RenderedDatasets

Part = Literal["train", "validation"]

ENDLESS = 2**40
"""The length of samples without end: no run takes that many."""


class Sample(NamedTuple):
    """One line of text.

    Attributes:
        image: the picture, or the pixels that it becomes in a batch: uint8 (H, W, C).
        label: the text to learn.
        positions: float (len(label), 2): left and right of each character as shares of the width of
            ``image``; NaN if unknown. None if none is known.
    """

    image: Image.Image | np.ndarray
    label: str
    positions: np.ndarray | None = None


class Batch(NamedTuple):
    """The batch that passes from data to model.

    Attributes:
        images: uint8 (B, C, H, W).
        labels: B texts.
        positions: of each label, float32 (len(label), 2): left and right of each character as
            shares of W; NaN if unknown. None for a label without them, and None if no label of the
            batch has them.
    """

    images: Tensor
    labels: list[str]
    positions: list[np.ndarray | None] | None = None


class Samples(Dataset[Batch], ABC):
    """Samples by number, from 0; a list of numbers is a batch.

    They are pickled to the workers of a loader.

    Attributes:
        image_format: what the images become in a batch.
    """

    image_format: ImageFormat

    @abstractmethod
    def __len__(self) -> int:
        """Return how many samples there are; ``ENDLESS`` if every number has one."""

    @abstractmethod
    def samples(self, numbers: Sequence[int]) -> list[Sample]:
        """Return the samples of some numbers, in any order, without the damaged ones."""

    @abstractmethod
    def aspects(self, numbers: np.ndarray | None = None) -> np.ndarray | None:
        """Return width / height of some images, as a batch keeps it.

        Args:
            numbers: whose; None asks for those of all.

        Returns:
            float64 (N,). None if all are asked for and they are endless.
        """

    def describe(self) -> str:
        """Return what there is, for the log."""
        return f"{len(self)} samples"

    @property
    def damaged(self) -> int:
        """The number of damaged samples that were skipped so far, in all workers."""
        return 0

    def label_lengths(self) -> Counter[tuple[int, int]]:
        """Count the stored labels by length and number of immediate repeats."""
        return Counter()

    def cacheable(self) -> "list[tuple[LMDBStore, int]]":
        """Return the LMDB datasets whose pixels can be cached, and of how many of their samples."""
        return []

    def use_cached_pixels(self) -> bool:
        """Use cached pixels, and return whether all are there that can be."""
        return True

    def __getitem__(self, number: int) -> Batch:
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        return batch_of(self.samples(numbers), self.image_format)


class Group(NamedTuple):
    """Samples that have one share of every batch.

    Attributes:
        name: for messages.
        samples: the samples.
        weight: the share, relative to the other groups of the source.
    """

    name: str
    samples: Samples
    weight: float


@dataclass(frozen=True)
class DataRun:
    """The settings that all sources of a run share.

    Attributes:
        image_format: what the images become.
        rules: which labels can be learned.
        seed: of all that is random.
        cache_pixels: see ``conf/data/_base.yaml``.
        rendered: makes the datasets that are rendered from the corpus; the same at every call.
    """

    image_format: ImageFormat
    rules: LabelRules
    seed: int
    cache_pixels: bool | None
    rendered: "Callable[[], RenderedDatasets]"


class Source(ABC):
    """The origin of the samples of one part of a run.

    Args:
        part: what they are for.
        run: what the sources of the run share.
    """

    texts: int | None = None
    """The number of texts of the corpus that the source renders; None for all."""

    def __init__(self, part: Part, run: DataRun) -> None:
        self.part = part
        self.run = run

    @abstractmethod
    def prepare(self) -> None:
        """Make missing files on disk. Runs in one process of each machine."""

    @abstractmethod
    def open(self) -> list[Group]:
        """Return the samples, in groups. Runs in every process, after :meth:`prepare`.

        Raises:
            HanlineError: there are none, or they cannot be used.
        """


def batch_of(samples: Sequence[Sample], image_format: ImageFormat) -> Batch:
    """Return one batch; if widths follow the images, all get the width of their mean aspect.

    Raises:
        HanlineError: there are no samples, since all images of the batch are damaged.
    """
    if not samples:
        raise HanlineError(
            "every image of a batch is damaged: the warnings above name them. Pack the dataset "
            "again with hanline pack, which leaves such images out"
        )
    width = image_format.width
    if width is None:
        # Pixels are ready only if the width is fixed.
        pictures = [s.image for s in samples if isinstance(s.image, Image.Image)]
        aspects = [clamp_aspect(picture.width / picture.height) for picture in pictures]
        width = image_format.bucket_width(sum(aspects) / len(aspects))
    pixels, positions = zip(
        *(_in_format(sample, image_format, width) for sample in samples), strict=True
    )
    # (B, H, W, C) seen as (B, C, H, W) is the layout that convolutions like best.
    return Batch(
        torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
        [sample.label for sample in samples],
        None if all(known is None for known in positions) else list(positions),
    )


def _in_format(
    sample: Sample, image_format: ImageFormat, width: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a sample's pixels, and its positions as shares of ``width``."""
    image, positions = sample.image, sample.positions
    if isinstance(image, np.ndarray):
        return image, positions
    if positions is not None:
        inner = inner_width(image.size, image_format, width)
        positions = (positions * (inner / width)).astype(np.float32)
    return to_pixels(image, image_format, width), positions
