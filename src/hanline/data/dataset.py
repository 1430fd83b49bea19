"""Samples of LMDB datasets."""

import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import compress, islice
from operator import eq
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hanline.data.base import Sample, Samples
from hanline.data.dataset_cache import cached_array
from hanline.data.images import (
    ImageError,
    ImageFormat,
    aspect_of,
    clamp_aspect,
    decode_image,
)
from hanline.data.labels import LabelRules
from hanline.data.lmdb_store import LMDBStore, StoredSample
from hanline.data.pixel_cache import CachedPixels, find_cached_pixels
from hanline.errors import HanlineError
from hanline.messages import describe_counts

logger = logging.getLogger(__name__)
_READ_AT_A_TIME = 1024


class LMDBDataset(Samples):
    """The valid samples of one or several LMDB datasets, numbered through.

    It can be pickled, so workers may be spawned.

    Args:
        paths: the datasets.
        image_format: what the images become.
        rules: which labels are valid.
        usage_ratio: the share of each dataset that is used, from its beginning.

    Attributes:
        pixels: the cached pixels of each dataset (:mod:`hanline.data.pixel_cache`), or nothing.
        invalid: how many samples were left out, by reason.

    Raises:
        HanlineError: no sample is left, or one is invalid if that is an error.
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
        self.pixels: list[CachedPixels] = []
        self.invalid: Counter[str] = Counter()
        self._kept = [self._valid_samples(store) for store in self.stores]
        self._ends = np.cumsum([len(kept) for kept in self._kept])
        # Shared with the workers, which count into it.
        self._damaged = torch.zeros((), dtype=torch.int64).share_memory_()
        self._aspects: np.ndarray | None = None
        if not len(self):
            listed = ", ".join(str(path) for path in paths)
            raise HanlineError(
                f"no sample is left of {sum(map(len, self.stores))} in {listed}; "
                f"left out {describe_counts(self.invalid)}. The charset has {len(rules.charset)} "
                f"characters and a label at most {rules.max_length}"
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def samples(self, numbers: Sequence[int]) -> list[Sample]:
        """Return samples; count, name and leave out the damaged ones."""
        samples: list[Sample] = []
        store_of = np.searchsorted(self._ends, numbers, side="right")
        starts = self._ends - [len(kept) for kept in self._kept]
        for index in np.unique(store_of):
            within = np.asarray(numbers)[store_of == index] - starts[index]
            stored = self._kept[index][within].tolist()
            store = self.stores[index]
            if self.pixels:
                pixels = self.pixels[index]
                cached = [number for number in stored if number not in pixels.damaged]
                samples += self._cached(store, pixels, cached)
                stored = [number for number in stored if number in pixels.damaged]
            samples += self._decoded(store, stored)
        return samples

    def describe(self) -> str:
        return f"{len(self)} samples; left out {describe_counts(self.invalid)}"

    @property
    def damaged(self) -> int:
        return int(self._damaged)

    def aspects(self, numbers: np.ndarray | None = None) -> np.ndarray:
        """Return width / height of some or all images, from the first bytes of the files."""
        if self._aspects is None:
            self._aspects = np.concatenate(
                [
                    cached_array(
                        store,
                        "aspects",
                        self._fingerprint(store),
                        np.float64,
                        partial(self._read_aspects, store, kept),
                    )
                    for store, kept in zip(self.stores, self._kept, strict=True)
                ]
            )
        return self._aspects if numbers is None else self._aspects[numbers]

    def label_lengths(self) -> Counter[tuple[int, int]]:
        lengths: Counter[tuple[int, int]] = Counter()
        for store, kept in zip(self.stores, self._kept, strict=True):
            count = partial(self._count_lengths, store, kept)
            table = cached_array(store, "label-lengths", self._fingerprint(store), np.int64, count)
            for length, repeats, labels in table.reshape(-1, 3).tolist():
                lengths[length, repeats] += labels
        return lengths

    def cacheable(self) -> list[tuple[LMDBStore, int]]:
        return [(store, used_samples(store, self.usage_ratio)) for store in self.stores]

    def use_cached_pixels(self) -> bool:
        found = [
            find_cached_pixels(store, self.image_format, count) for store, count in self.cacheable()
        ]
        pixels = [cached for cached in found if cached is not None]
        if len(pixels) == len(found):
            self.pixels = pixels
        return bool(self.pixels)

    def _cached(self, store: LMDBStore, pixels: CachedPixels, numbers: list[int]) -> list[Sample]:
        """Return samples whose pixels are cached."""
        if not store.has_positions:
            # All labels of this state of the dataset were verified when they were judged, and all
            # images when they were decoded. To do it again would take as long as the rest.
            labels = map(self.rules.apply, store.known_labels(numbers))
            return list(map(Sample, map(pixels.__getitem__, numbers), labels))
        samples = []
        for number, stored in zip(numbers, store.labels_at(numbers), strict=True):
            if stored.problem:
                self._skip(store, number, stored.problem)
                continue
            positions = stored.positions
            if positions is not None:
                positions = positions * pixels.inner_share(number)
            samples.append(self._sample(pixels[number], stored, positions))
        return samples

    def _decoded(self, store: LMDBStore, numbers: list[int]) -> list[Sample]:
        """Return samples whose images are decoded now."""
        samples = []
        for number, stored in zip(numbers, store.samples(numbers), strict=True):
            try:
                if stored.problem:
                    raise ImageError(stored.problem)
                image = decode_image(stored.image)
            except ImageError as error:
                self._skip(store, number, str(error))
                continue
            samples.append(self._sample(image, stored, stored.positions))
        return samples

    def _sample(
        self,
        image: Image.Image | np.ndarray,
        stored: StoredSample,
        positions: np.ndarray | None,
    ) -> Sample:
        label = self.rules.apply(stored.label)
        # NFC or lower case may have another number of characters.
        known = positions is not None and len(positions) == len(label)
        return Sample(image, label, positions if known else None)

    def _skip(self, store: LMDBStore, number: int, problem: str) -> None:
        self._damaged += 1
        logger.warning("skipped image %d of %s: %s", number + 1, store.path, problem)

    def _count_lengths(self, store: LMDBStore, kept: np.ndarray) -> np.ndarray:
        is_kept = np.zeros(len(store), dtype=bool)
        is_kept[kept] = True
        labels = (self.rules.apply(label or "") for label in compress(store.labels(), is_kept))
        lengths = Counter((len(label), sum(map(eq, label, label[1:]))) for label in labels)
        return np.array([(*length, count) for length, count in lengths.items()]).ravel()

    def _read_aspects(self, store: LMDBStore, kept: np.ndarray) -> np.ndarray:
        aspects = np.full(len(kept), clamp_aspect(1), dtype=np.float64)
        for start in range(0, len(kept), _READ_AT_A_TIME):
            stored = store.samples(kept[start : start + _READ_AT_A_TIME].tolist())
            for index, sample in enumerate(stored, start):
                # A damaged image is named when it is decoded.
                with contextlib.suppress(ImageError):
                    aspects[index] = clamp_aspect(aspect_of(sample.image))
        return aspects

    def _valid_samples(self, store: LMDBStore) -> np.ndarray:
        judge = partial(self._judge_labels, store)
        judged = cached_array(store, "labels", self._fingerprint(store), np.uint8, judge)
        problems = self.rules.problems
        counts = np.bincount(judged, minlength=len(problems)).tolist()
        if self.rules.invalid == "error" and sum(counts[1:]):
            index = int(np.flatnonzero(judged)[0])
            (stored,) = store.labels_at([index])
            raise HanlineError(
                f"label {index + 1} of {store.path} is invalid: {stored.label!r} is "
                f"{problems[judged[index]]}. data.invalid_labels=skip leaves such samples out"
            )
        for problem, count in zip(problems[1:], counts[1:], strict=True):
            if count:
                self.invalid[problem] += count
        return np.flatnonzero(judged == 0).astype(np.int32)

    def _judge_labels(self, store: LMDBStore) -> np.ndarray:
        return self.rules.judge(islice(store.labels(), used_samples(store, self.usage_ratio)))

    def _fingerprint(self, store: LMDBStore) -> dict[str, object]:
        """Return what decides, together with a dataset, which of its samples are kept."""
        return {**self.rules.fingerprint, "used": used_samples(store, self.usage_ratio)}


def used_samples(store: LMDBStore, usage_ratio: float) -> int:
    """Return how many of a dataset's samples are used, from its beginning."""
    return min(len(store), max(1, round(usage_ratio * len(store))))
