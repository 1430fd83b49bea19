"""Samples of LMDB sets, as batches of pixels and labels."""

import contextlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from hanline.data.images import (
    ImageError,
    ImageFormat,
    aspect_of,
    decode_image,
    kept_aspect,
    to_pixels,
)
from hanline.data.lmdb_store import LMDBStore
from hanline.errors import HanlineError
from hanline.text.charset import Charset
from hanline.text.corpus import describe_counts

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """What passes from data to model.

    Attributes:
        images: uint8 (B, C, H, W).
        labels: B texts.
    """

    images: Tensor
    labels: list[str]


@dataclass(frozen=True)
class LabelRules:
    """Which labels a recogniser can learn.

    Attributes:
        charset: the characters that it knows.
        max_length: the most characters in a label.
        fold_case: labels become lower case before anything else.
        unfit: what happens to a label that is empty, too long or has other characters: ``skip`` the
            sample, or ``error``.
    """

    charset: Charset
    max_length: int
    fold_case: bool
    unfit: Literal["skip", "error"]

    def apply(self, label: str) -> str:
        """The label as it is learnt: in NFC, and in lower case where that is asked for."""
        label = unicodedata.normalize("NFC", label)
        return label.lower() if self.fold_case else label

    def problem(self, label: str) -> str | None:
        """Why a label (as it is learnt) is unfit, or None."""
        if not label:
            return "empty label"
        if len(label) > self.max_length:
            return f"longer than {self.max_length}"
        if not self.charset.covers(label):
            return "outside the charset"
        return None


class LMDBDataset(Dataset[Batch]):
    """The fit samples of one or several LMDB sets, numbered through; a list of numbers is a batch.

    It can be pickled, so workers may be spawned.

    Args:
        paths: the sets.
        image_format: what the images become.
        rules: which labels are fit.
        usage_ratio: the share of each set that is used, from its beginning.

    Raises:
        HanlineError: no sample is left, or one is unfit where that is an error.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        image_format: ImageFormat,
        rules: LabelRules,
        usage_ratio: float = 1.0,
    ) -> None:
        self.stores = [LMDBStore(path) for path in paths]
        self.image_format = image_format
        self.rules = rules
        self.unfit: Counter[str] = Counter()
        self._kept = [self._fit_samples(store, usage_ratio) for store in self.stores]
        self._ends = np.cumsum([len(kept) for kept in self._kept])
        # Shared with the workers, which count into it.
        self._damaged = torch.zeros((), dtype=torch.int64).share_memory_()
        if not len(self):
            places = ", ".join(str(path) for path in paths)
            raise HanlineError(
                f"no sample is left of {sum(map(len, self.stores))} in {places}; "
                f"left out {describe_counts(self.unfit)}. The charset has {len(rules.charset)} "
                f"characters and a label at most {rules.max_length}"
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def damaged(self) -> int:
        """How many samples could not be decoded so far, in all workers."""
        return int(self._damaged)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return batch_of(self.samples(indices), self.image_format)

    def labels(self) -> Iterator[str]:
        """All labels, as they are learnt."""
        for store, kept in zip(self.stores, self._kept, strict=True):
            is_kept = np.zeros(len(store), dtype=bool)
            is_kept[kept] = True
            yield from map(self.rules.apply, compress(store.labels(), is_kept))

    def aspects(self) -> np.ndarray:
        """The ratio of width to height that each image keeps, from the files' first bytes."""
        aspects = np.full(len(self), kept_aspect(1), dtype=np.float64)
        place = 0
        for store, kept in zip(self.stores, self._kept, strict=True):
            for start in range(0, len(kept), _READ_AT_A_TIME):
                for content, _ in store.read(kept[start : start + _READ_AT_A_TIME].tolist()):
                    # What is damaged is told of when it is decoded.
                    with contextlib.suppress(ImageError):
                        aspects[place] = kept_aspect(aspect_of(content))
                    place += 1
        return aspects

    def samples(self, indices: Sequence[int]) -> list[tuple[Image.Image, str]]:
        """Images and labels; what is damaged is counted, named and left out."""
        samples = []
        set_numbers = np.searchsorted(self._ends, indices, side="right")
        starts = self._ends - [len(kept) for kept in self._kept]
        for set_number in np.unique(set_numbers):
            store = self.stores[set_number]
            within = np.asarray(indices)[set_numbers == set_number] - starts[set_number]
            numbers = self._kept[set_number][within].tolist()
            for number, (content, label) in zip(numbers, store.read(numbers), strict=True):
                try:
                    image = decode_image(content)
                except ImageError as error:
                    self._damaged += 1
                    logger.warning("skipped image %d of %s: %s", number + 1, store.path, error)
                    continue
                samples.append((image, self.rules.apply(label)))
        return samples

    def _fit_samples(self, store: LMDBStore, usage_ratio: float) -> np.ndarray:
        kept = []
        used = max(1, round(usage_ratio * len(store)))
        for index, label in enumerate(islice(store.labels(), used)):
            problem = self.rules.problem(self.rules.apply(label))
            if problem is None:
                kept.append(index)
            elif self.rules.unfit == "error":
                raise HanlineError(
                    f"label {index + 1} of {store.path} is unfit: {label!r} is {problem}; "
                    "data.unfit_labels=skip leaves such samples out"
                )
            else:
                self.unfit[problem] += 1
        return np.array(kept, dtype=np.int64)


_READ_AT_A_TIME = 1024


def batch_of(samples: Sequence[tuple[Image.Image, str]], image_format: ImageFormat) -> Batch:
    """One batch of images and labels; where widths follow the images, all get their mean width.

    Raises:
        HanlineError: there are none, since all images of the batch are damaged.
    """
    if not samples:
        raise HanlineError(
            "every image of a batch is damaged; the warnings above name them. Pack the set anew "
            "with hanline pack, which leaves such images out"
        )
    images, labels = zip(*samples, strict=True)
    aspects = [kept_aspect(image.width / image.height) for image in images]
    width = image_format.own_width(sum(aspects) / len(aspects))
    pixels = [to_pixels(image, image_format, width) for image in images]
    # (B, H, W, C) seen as (B, C, H, W) is the layout that convolutions like best.
    return Batch(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), list(labels))


def as_is(batch: Any) -> Batch:
    """The collation of batches that are batches already."""
    return cast(Batch, batch)
