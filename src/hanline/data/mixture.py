"""Groups of samples that share batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from hanline.data.base import Batch, Sample, Samples, batch_of
from hanline.data.samplers import ChunkPart, WidthBuckets

# After this many damaged images in a row, the dataset is of no use.
_SUBSTITUTES = 16


class MixtureDataset(Dataset[Batch]):
    """Several groups of samples, numbered through.

    Args:
        groups: the groups.
        buckets: cuts chunks into batches of similar width, if a worker has to do that.
    """

    def __init__(self, groups: Sequence[Samples], buckets: WidthBuckets) -> None:
        self.groups = list(groups)
        self.buckets = buckets
        self.starts = np.cumsum([0, *(len(group) for group in groups)])
        # The chunks whose batches take turns, cut.
        self._cut: dict[int, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, number: int) -> Batch:
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int] | ChunkPart) -> Batch:
        numbers = self.numbers_of(numbers)
        # A wide line may be alone in its batch. If it is damaged, the next ones take its place.
        for shift in range(_SUBSTITUTES):
            samples = self.samples(numbers, shift)
            if samples:
                break
        return batch_of(samples, self.groups[0].image_format)

    def samples(self, numbers: Sequence[int], shift: int = 0) -> list[Sample]:
        """Return the samples of some numbers, or those that come ``shift`` later in their group."""
        samples: list[Sample] = []
        for group, (within, _) in zip(self.groups, self._by_group(numbers), strict=True):
            if len(within):
                samples += group.samples(((within + shift) % len(group)).tolist())
        return samples

    def aspects(self) -> np.ndarray | None:
        """Return width / height of all images, as a batch keeps it; None if they are endless."""
        aspects = [group.aspects() for group in self.groups]
        known = [part for part in aspects if part is not None]
        return np.concatenate(known) if len(known) == len(aspects) else None

    def numbers_of(self, part: Sequence[int] | ChunkPart) -> Sequence[int]:
        """Return the samples of a batch; if it is part of a chunk, measure and cut that."""
        if not isinstance(part, ChunkPart):
            return part
        if part.chunk not in self._cut:
            while len(self._cut) >= self.buckets.CHUNKS_AT_A_TIME:
                self._cut.pop(min(self._cut))
            aspects = np.empty(len(part.numbers))
            for group, (within, places) in zip(
                self.groups, self._by_group(part.numbers), strict=True
            ):
                aspects[places] = group.aspects(within)
            self._cut[part.chunk] = self.buckets.cut(part.chunk, aspects.tolist())
        batch: list[int] = np.asarray(part.numbers)[self._cut[part.chunk][part.batch]].tolist()
        return batch

    def _by_group(self, numbers: Sequence[int] | np.ndarray) -> list["_Within"]:
        """Return for each group its own numbers, and where they are among all."""
        given = np.asarray(numbers)
        group_of = np.searchsorted(self.starts, given, side="right") - 1
        return [
            _Within(given[places] - self.starts[index], places)
            for index in range(len(self.groups))
            for places in [np.flatnonzero(group_of == index)]
        ]


class _Within(NamedTuple):
    numbers: np.ndarray
    places: np.ndarray


class SkipDamaged(Dataset[Batch | None]):
    """A mixture whose batches are None if all their images are damaged."""

    def __init__(self, dataset: MixtureDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Batch | None:
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Batch | None:
        samples = self.dataset.samples(numbers)
        return batch_of(samples, self.dataset.groups[0].image_format) if samples else None
