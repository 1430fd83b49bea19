"""Samplers: the seed and the step alone decide which samples make a batch."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hanline.data.base import ENDLESS
from hanline.errors import HanlineError


class MixtureBatchSampler:
    """The batches of a run, each group of samples having its share of every one.

    A group is taken in a new random order each time round; an endless one in its own order. The
    batch of a step depends on the seed and the step only, not on where the run was stopped before.

    Args:
        sizes: how many samples each group has, or ``ENDLESS``; samples are numbered through all
            groups.
        ratios: each group's share; they are scaled to sum to 1.
        batch_size: samples a step on one device.
        steps: batches of the whole run.
        seed: decides the orders.
        first_step: how many steps are done already.
        rank: this device. It takes its part of a batch that is ``world_size`` times as large.
        world_size: the number of devices.

    Raises:
        HanlineError: the ratios do not fit.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        ratios: Sequence[float],
        batch_size: int,
        steps: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(sizes) != len(ratios) or not all(0 < r < math.inf for r in ratios):
            raise HanlineError(
                f"batch ratios {list(ratios)}: expected {len(sizes)} finite numbers above 0, one "
                "for each group of samples"
            )
        self.sizes = list(sizes)
        self.shares = np.array(ratios) / sum(ratios)
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        starts = np.cumsum([0, *self.sizes[:-1]])
        positions = np.zeros(len(self.sizes), dtype=np.int64)
        owed = np.zeros(len(self.sizes))
        orders: dict[int, tuple[int, np.ndarray]] = {}
        for step in range(self.steps):
            counts = self._counts(owed)
            if step >= self.first_step:
                batch = np.concatenate(
                    [
                        starts[group] + self._take(orders, group, positions[group], count)
                        for group, count in enumerate(counts)
                    ]
                )
                yield batch[self.rank :: self.world_size].tolist()
            positions += counts

    def _counts(self, owed: np.ndarray) -> np.ndarray:
        """Return how many samples of each group are in the next batch.

        What a share does not divide is owed to the group and paid later, so the shares are exact on
        average.
        """
        size = self.batch_size * self.world_size
        owed += self.shares * size
        # A group that was paid ahead may be owed less than nothing.
        counts = np.floor(np.maximum(owed, 0)).astype(np.int64)
        while counts.sum() < size:
            counts[np.argmax(owed - counts)] += 1
        while counts.sum() > size:
            counts[np.argmin(np.where(counts > 0, owed - counts, np.inf))] -= 1
        owed -= counts
        return counts

    def _take(
        self, orders: dict[int, tuple[int, np.ndarray]], group: int, position: int, count: int
    ) -> np.ndarray:
        size = self.sizes[group]
        if size >= ENDLESS:
            return np.arange(position, position + count)
        taken = []
        while count:
            rounds, offset = divmod(int(position), size)
            if orders.get(group, (None,))[0] != rounds:
                generator = np.random.default_rng([self.seed, group, rounds])
                orders[group] = (rounds, generator.permutation(size))
            part = orders[group][1][offset : offset + count]
            taken.append(part)
            position += len(part)
            count -= len(part)
        return np.concatenate(taken) if taken else np.empty(0, dtype=np.int64)


class WidthBuckets:
    """Cuts batches of lines of similar width, which are of similar size in pixels.

    Lines are taken ``batch_size * GROUPS`` at a time, as a chunk. A chunk is sorted by width and
    cut into ``GROUPS`` batches; wide lines share theirs with few. Batches of several chunks take
    turns, so that neighboring steps have nothing in common. A chunk is always the same, so a run
    goes on at any step.

    Args:
        batch_size: lines in a batch, on average.
        seed: decides the order of a chunk's batches.
    """

    GROUPS = 32
    CHUNKS_AT_A_TIME = 4

    def __init__(self, batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self.seed = seed

    @property
    def chunk_size(self) -> int:
        """The number of lines in a chunk."""
        return self.batch_size * self.GROUPS

    def place(self, batch: int) -> tuple[int, int]:
        """Return the chunk of a run's ``batch``-th batch, and its number within the chunk."""
        turn, place = divmod(batch, self.GROUPS * self.CHUNKS_AT_A_TIME)
        group, chunk = divmod(place, self.CHUNKS_AT_A_TIME)
        return turn * self.CHUNKS_AT_A_TIME + chunk, group

    def cut(self, chunk: int, widths: Sequence[float]) -> list[np.ndarray]:
        """Return the indices in the chunk of each batch's lines, in the order of the batches.

        Args:
            chunk: its number.
            widths: of its lines, in any measure.
        """
        order = np.argsort(widths, kind="stable")
        # A batch takes the memory of its widest line times the number of its lines.
        pixels = np.cumsum(np.asarray(widths, dtype=np.float64)[order])
        ends = np.searchsorted(pixels, pixels[-1] * np.arange(1, self.GROUPS) / self.GROUPS)
        # Every batch has at least one line.
        ends = np.maximum.accumulate(np.maximum(ends, np.arange(1, self.GROUPS)))
        ends = np.minimum(ends, len(order) - self.GROUPS + np.arange(1, self.GROUPS))
        batches = np.split(order, ends)
        turns = np.random.default_rng([self.seed, chunk]).permutation(self.GROUPS)
        return [batches[turn] for turn in turns]


class ChunkPart(NamedTuple):
    """A batch that a worker chooses from its chunk, since it is slow to measure the lines.

    Attributes:
        chunk: the number of the chunk.
        batch: the number of the batch within the chunk.
        numbers: the samples of the chunk.
    """

    chunk: int
    batch: int
    numbers: np.ndarray


class BucketBatchSampler:
    """The batches of a run if widths follow the images; see :class:`WidthBuckets`.

    Args:
        chunks: makes chunks of samples, from the run's ``first_step``-th on.
        aspects: width / height of every sample, as a batch keeps it; None if only workers can
            measure them.
        buckets: cuts the chunks.
        steps: batches of the whole run on this device.
        first_step: how many steps are done already.
        rank: this device; devices take turns.
        world_size: the number of devices.
    """

    def __init__(
        self,
        chunks: Callable[..., MixtureBatchSampler],
        aspects: np.ndarray | None,
        buckets: WidthBuckets,
        steps: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.chunks = chunks
        self.aspects = aspects
        self.buckets = buckets
        self.steps = steps
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int] | ChunkPart]:
        at_a_time = self.buckets.CHUNKS_AT_A_TIME
        number = -1
        chunks: dict[int, np.ndarray] = {}
        cut: dict[int, list[np.ndarray]] = {}
        coming = None
        for step in range(self.first_step, self.steps):
            chunk, batch = self.buckets.place(step * self.world_size + self.rank)
            if coming is None:
                number = chunk - chunk % at_a_time
                coming = iter(self.chunks(first_step=number))
            while number <= chunk:
                chunks[number] = np.array(next(coming))
                if self.aspects is not None:
                    cut[number] = self.buckets.cut(number, self.aspects[chunks[number]])
                for kept in (chunks, cut):
                    kept.pop(number - 2 * at_a_time, None)
                number += 1
            if self.aspects is None:
                yield ChunkPart(chunk, batch, chunks[chunk])
            else:
                yield chunks[chunk][cut[chunk][batch]].tolist()


class EvalBatchSampler:
    """Every sample once; with several devices, every sample on one of them.

    Args:
        widths: of each sample, in pixels as the recognizer sees it. A batch has samples of one
            width only, so no reading depends on what shares its batch.
        batch_size: samples of ``nominal_width`` in a batch; of wider ones it has fewer.
        nominal_width: in pixels.
        rank: this device.
        world_size: the number of devices.
    """

    def __init__(
        self,
        widths: Sequence[int],
        batch_size: int,
        nominal_width: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(widths) < world_size:
            raise HanlineError(
                f"trainer.devices: expected at most one device for each validation sample, but "
                f"there are {world_size} devices and {len(widths)} samples. Use fewer devices"
            )
        of_width: dict[int, list[int]] = {}
        for index in range(rank, len(widths), world_size):
            of_width.setdefault(widths[index], []).append(index)
        self.batches = [
            indices[start : start + size]
            for width, indices in sorted(of_width.items())
            for size in [max(1, batch_size * nominal_width // width)]
            for start in range(0, len(indices), size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
