"""Which samples make which batch: decided by the seed and the step alone."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from hanline.errors import HanlineError


class TrainingBatches:
    """The batches of a run, each group of samples having its share of every one.

    Every group is gone through in a new random order each time round, and never ends. The batch of
    a step is the same however often the run was stopped before it and whatever the others did.

    Args:
        sizes: how many samples each group has; samples are numbered through all groups.
        ratios: each group's share; they are scaled to sum to 1.
        batch_size: samples a step on one device.
        steps: batches of the whole run.
        seed: decides the orders.
        first_step: how many steps are done already.
        rank, world_size: this device, and how many there are. Each takes its part of a batch that
            is ``world_size`` times as large.
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
        if len(sizes) != len(ratios) or min(ratios) <= 0:
            raise HanlineError(
                f"data.batch_ratio names {len(ratios)} shares ({list(ratios)}) for {len(sizes)} "
                "groups of sets: it needs one above 0 for each entry of data.select_data"
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
        """How many samples of each group stand in the next batch.

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
        taken = []
        size = self.sizes[group]
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


class ValidationBatches:
    """Every sample once, in order; with several devices, every sample on one of them.

    Args:
        size: how many samples there are.
        batch_size: samples a step on one device.
        rank, world_size: this device, and how many there are.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = range(rank, size, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield list(self.indices[start : start + self.batch_size])
