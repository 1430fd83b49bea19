"""Samples of LMDB sets, as batches of pixels and labels."""

import contextlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, islice
from operator import eq
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from hanline.data.dataset_cache import indexed
from hanline.data.images import (
    ImageError,
    ImageFormat,
    aspect_of,
    clamp_aspect,
    decode_image,
    to_pixels,
)
from hanline.data.lmdb_store import LMDBStore
from hanline.data.pixel_cache import ReadyPixels, find_ready_pixels
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


# An image, or its pixels where they are ready: uint8 (H, W, C); and its label.
Sample = tuple[Image.Image | np.ndarray, str]


@dataclass(frozen=True)
class LabelRules:
    """Which labels a recogniser can learn.

    Attributes:
        charset: the characters that it knows.
        max_length: the most characters in a label.
        lowercase: labels become lower case before anything else.
        unfit: what happens to a label that is empty, too long or has other characters: ``skip`` the
            sample, or ``error``.
    """

    charset: Charset
    max_length: int
    lowercase: bool
    unfit: Literal["skip", "error"]

    def apply(self, label: str) -> str:
        """The label as it is learnt: in NFC, and in lower case where that is asked for."""
        label = unicodedata.normalize("NFC", label)
        return label.lower() if self.lowercase else label

    @property
    def problems(self) -> tuple[str, ...]:
        """What a label can be, by number: 0 fit, the others why it is unfit."""
        return "fit", "empty label", f"longer than {self.max_length}", "outside the charset"

    def judge(self, labels: Iterable[str]) -> np.ndarray:
        """What each label is, as a number of ``problems``: uint8."""
        return np.fromiter(map(self._judged, labels), dtype=np.uint8)

    def _judged(self, label: str) -> int:
        label = self.apply(label)
        if not label:
            return 1
        if len(label) > self.max_length:
            return 2
        return 0 if self.charset.covers(label) else 3

    @property
    def facts(self) -> dict[str, object]:
        """What decides which labels are fit and how they are learnt, in JSON's types."""
        return {
            "charset": self.charset.characters,
            "max_length": self.max_length,
            "lowercase": self.lowercase,
        }


class LMDBDataset(Dataset[Batch]):
    """The fit samples of one or several LMDB sets, numbered through; a list of numbers is a batch.

    It can be pickled, so workers may be spawned.

    Args:
        paths: the sets.
        image_format: what the images become.
        rules: which labels are fit.
        usage_ratio: the share of each set that is used, from its beginning.

    Attributes:
        ready: the pixels of each set, where they are kept (:mod:`hanline.data.pixel_cache`), or
            nothing. Where samples of several datasets share a batch, all have them or none.

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
        self.usage_ratio = usage_ratio
        self.unfit: Counter[str] = Counter()
        self._kept = [self._fit_samples(store) for store in self.stores]
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
        self.ready: list[ReadyPixels] = []

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def damaged(self) -> int:
        """How many samples could not be decoded so far, in all workers."""
        return int(self._damaged)

    def find_ready(self) -> list[ReadyPixels] | None:
        """The pixels of the sets, where those of all are kept; to be given to ``ready``."""
        found = [
            find_ready_pixels(store, self.image_format, used_samples(store, self.usage_ratio))
            for store in self.stores
        ]
        ready = [pixels for pixels in found if pixels is not None]
        return ready if len(ready) == len(found) else None

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return batch_of(self.samples(indices), self.image_format)

    def label_lengths(self) -> Counter[tuple[int, int]]:
        """How many labels, as they are learnt, take how many steps.

        Returns:
            Counts by the number of characters, and how many of them are the one before again.
        """
        shapes: Counter[tuple[int, int]] = Counter()
        for store, kept in zip(self.stores, self._kept, strict=True):
            walk = partial(self._label_shapes, store, kept)
            table = indexed(store, "label-shapes", self._facts(store), np.int64, walk)
            for length, repeats, count in table.reshape(-1, 3).tolist():
                shapes[length, repeats] += count
        return shapes

    def _label_shapes(self, store: LMDBStore, kept: np.ndarray) -> np.ndarray:
        is_kept = np.zeros(len(store), dtype=bool)
        is_kept[kept] = True
        labels = map(self.rules.apply, compress(store.labels(), is_kept))
        shapes = Counter((len(label), sum(map(eq, label, label[1:]))) for label in labels)
        return np.array([(*shape, count) for shape, count in shapes.items()]).ravel()

    def aspects(self) -> np.ndarray:
        """The ratio of width to height that each image keeps, from the files' first bytes."""
        return np.concatenate(
            [
                indexed(
                    *(store, "aspects", self._facts(store), np.float64),
                    partial(self._aspects, store, kept),
                )
                for store, kept in zip(self.stores, self._kept, strict=True)
            ]
        )

    def _aspects(self, store: LMDBStore, kept: np.ndarray) -> np.ndarray:
        aspects = np.full(len(kept), clamp_aspect(1), dtype=np.float64)
        place = 0
        for start in range(0, len(kept), _READ_AT_A_TIME):
            for content, _ in store.read(kept[start : start + _READ_AT_A_TIME].tolist()):
                # What is damaged is told of when it is decoded.
                with contextlib.suppress(ImageError):
                    aspects[place] = clamp_aspect(aspect_of(content))
                place += 1
        return aspects

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """Images and labels; what is damaged is counted, named and left out."""
        samples: list[Sample] = []
        set_numbers = np.searchsorted(self._ends, indices, side="right")
        starts = self._ends - [len(kept) for kept in self._kept]
        for set_number in np.unique(set_numbers):
            store = self.stores[set_number]
            within = np.asarray(indices)[set_numbers == set_number] - starts[set_number]
            numbers = self._kept[set_number][within].tolist()
            if self.ready:
                ready = self.ready[set_number]
                there = [number for number in numbers if number not in ready.damaged]
                labels = map(self.rules.apply, store.labels_at(there))
                samples += zip(map(ready.__getitem__, there), labels, strict=True)
                numbers = [number for number in numbers if number in ready.damaged]
            for number, (content, label) in zip(numbers, store.read(numbers), strict=True):
                try:
                    image = decode_image(content)
                except ImageError as error:
                    self._damaged += 1
                    logger.warning("skipped image %d of %s: %s", number + 1, store.path, error)
                    continue
                # What could not be decoded when pixels were made ready may be sound after all.
                picture = to_pixels(image, self.image_format) if self.ready else image
                samples.append((picture, self.rules.apply(label)))
        return samples

    def _fit_samples(self, store: LMDBStore) -> np.ndarray:
        walk = partial(self._judged_labels, store)
        judged = indexed(store, "labels", self._facts(store), np.uint8, walk)
        problems = self.rules.problems
        counts = np.bincount(judged, minlength=len(problems)).tolist()
        if self.rules.unfit == "error" and sum(counts[1:]):
            index = int(np.flatnonzero(judged)[0])
            ((_, label),) = store.read([index])
            raise HanlineError(
                f"label {index + 1} of {store.path} is unfit: {label!r} is "
                f"{problems[judged[index]]}; data.invalid_labels=skip leaves such samples out"
            )
        for problem, count in zip(problems[1:], counts[1:], strict=True):
            if count:
                self.unfit[problem] += count
        return np.flatnonzero(judged == 0).astype(np.int32)

    def _judged_labels(self, store: LMDBStore) -> np.ndarray:
        return self.rules.judge(islice(store.labels(), used_samples(store, self.usage_ratio)))

    def _facts(self, store: LMDBStore) -> dict[str, object]:
        """What decides, besides a set, which of its samples are kept."""
        return {**self.rules.facts, "used": used_samples(store, self.usage_ratio)}


_READ_AT_A_TIME = 1024


def used_samples(store: LMDBStore, usage_ratio: float) -> int:
    """How many of a set's samples are used, from its beginning."""
    return min(len(store), max(1, round(usage_ratio * len(store))))


def batch_of(samples: Sequence[Sample], image_format: ImageFormat) -> Batch:
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
    if isinstance(images[0], np.ndarray):
        pixels = list(images)
    else:
        aspects = [clamp_aspect(image.width / image.height) for image in images]
        width = image_format.bucket_width(sum(aspects) / len(aspects))
        pixels = [to_pixels(image, image_format, width) for image in images]
    # (B, H, W, C) seen as (B, C, H, W) is the layout that convolutions like best.
    return Batch(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), list(labels))
