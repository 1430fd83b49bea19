"""Which samples make which batch: decided by the seed and the step alone."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hanline.errors import HanlineError


class MixtureBatchSampler:
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


class WidthBuckets:
    """Batches of lines of like width, and of like size in pixels.

    Lines are taken ``batch_size * GROUPS`` at a time, as a chunk, sorted by width and cut into
    ``GROUPS`` batches; wide lines share theirs with few. Batches of several chunks take turns, so
    that neighbouring steps have nothing in common. A chunk is the same whoever cuts it and
    whenever, so a run goes on at any step.

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
        """How many lines a chunk has."""
        return self.batch_size * self.GROUPS

    def place(self, batch: int) -> tuple[int, int]:
        """The chunk of the run's ``batch``-th batch, and which of the chunk's batches it is."""
        turn, place = divmod(batch, self.GROUPS * self.CHUNKS_AT_A_TIME)
        group, chunk = divmod(place, self.CHUNKS_AT_A_TIME)
        return turn * self.CHUNKS_AT_A_TIME + chunk, group

    def cut(self, chunk: int, widths: Sequence[float]) -> list[np.ndarray]:
        """The places in the chunk of each batch's lines, in the order in which batches come.

        Args:
            chunk: its number.
            widths: of its lines, in any measure.
        """
        order = np.argsort(widths, kind="stable")
        # A batch takes the memory of its widest line times the number of its lines.
        pixels = np.cumsum(np.asarray(widths, dtype=np.float64)[order])
        ends = np.searchsorted(pixels, pixels[-1] * np.arange(1, self.GROUPS) / self.GROUPS)
        # Every batch has a line at least.
        ends = np.maximum.accumulate(np.maximum(ends, np.arange(1, self.GROUPS)))
        ends = np.minimum(ends, len(order) - self.GROUPS + np.arange(1, self.GROUPS))
        batches = np.split(order, ends)
        turns = np.random.default_rng([self.seed, chunk]).permutation(self.GROUPS)
        return [batches[turn] for turn in turns]


class BucketBatchSampler:
    """The batches of a run where widths follow the images; see :class:`WidthBuckets`.

    Args:
        chunks: makes chunks of samples, from the run's ``first_step``-th on.
        aspects: the ratio of width to height that every sample keeps.
        like: how chunks are cut.
        steps: batches of the whole run on this device.
        first_step: how many steps are done already.
        rank, world_size: this device, and how many there are; they take turns.
    """

    def __init__(
        self,
        chunks: Callable[..., MixtureBatchSampler],
        aspects: np.ndarray,
        like: WidthBuckets,
        steps: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.chunks = chunks
        self.aspects = aspects
        self.like = like
        self.steps = steps
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        number, cut = -1, {}
        coming = None
        for step in range(self.first_step, self.steps):
            chunk, group = self.like.place(step * self.world_size + self.rank)
            if coming is None:
                number = chunk - chunk % self.like.CHUNKS_AT_A_TIME
                coming = iter(self.chunks(first_step=number))
            while number <= chunk:
                indices = np.array(next(coming))
                cut[number] = [
                    indices[places] for places in self.like.cut(number, self.aspects[indices])
                ]
                cut.pop(number - 2 * self.like.CHUNKS_AT_A_TIME, None)
                number += 1
            yield cut[chunk][group].tolist()


class EvalBatchSampler:
    """Every sample once; with several devices, every sample on one of them.

    Args:
        widths: each sample's, in pixels as the recogniser sees it. A batch has samples of one width
            only, so no reading depends on what shares its batch.
        batch_size: samples of ``nominal_width`` in a batch; of wider ones it has fewer.
        nominal_width: in pixels.
        rank, world_size: this device, and how many there are.
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
