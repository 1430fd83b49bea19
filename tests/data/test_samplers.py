from collections import Counter
from itertools import islice

import numpy as np
import pytest

from hanline.data.samplers import EvalBatchSampler, MixtureBatchSampler
from hanline.errors import HanlineError


def batches(sizes=(100, 50, 10), ratios=(0.5, 0.3, 0.2), batch_size=7, steps=500, **options):
    return MixtureBatchSampler(sizes, ratios, batch_size, steps, **({"seed": 1} | options))


def groups(batch, sizes):
    """Which group each sample of a batch is from."""
    return np.searchsorted(np.cumsum(sizes), batch, side="right")


class TestShares:
    @pytest.mark.parametrize(
        ("ratios", "batch_size"),
        [
            *(((0.5, 0.3, 0.2), 7), ((1 / 3, 1 / 3, 1 / 3), 10), ((0.1, 0.2, 0.7), 1)),
            *(((0.98, 0.01, 0.01), 8), ((5, 3, 2), 7), ((0.7, 0.7, 0.7), 5), ((1, 1, 1e-3), 3)),
        ],
    )
    def test_are_exact_on_average(self, ratios, batch_size):
        sizes = (100, 50, 10)
        counts = np.array(
            [
                np.bincount(groups(batch, sizes), minlength=3)
                for batch in batches(sizes, ratios, batch_size, steps=3000)
            ]
        )
        assert (counts.sum(axis=1) == batch_size).all()
        expected = np.arange(1, 3001)[:, None] * batch_size * np.array(ratios) / sum(ratios)
        # Never more than a sample or two behind or ahead, however long it runs.
        assert np.abs(counts.cumsum(axis=0) - expected).max() < 1.5

    @pytest.mark.parametrize(
        ("ratios", "batch_size"),
        [
            ((0.55, 0.3, 0.05, 0.04, 0.03, 0.02, 0.01), 9),
            # Several are paid ahead at once, and what the others are owed is more than a batch.
            ((0.76, 0.08, 0.157, 0.001, 0.001, 0.0005, 0.0005), 18),
        ],
    )
    def test_of_many_groups(self, ratios, batch_size):
        counts = np.zeros(7)
        for batch in batches([30] * 7, ratios, batch_size, steps=3000):
            assert len(batch) == batch_size
            counts += np.bincount(groups(batch, [30] * 7), minlength=7)
        assert np.abs(counts - 3000 * batch_size * np.array(ratios)).max() < 2

    def test_what_divides_is_the_same_in_every_batch(self):
        for batch in batches(ratios=(0.5, 0.3, 0.2), batch_size=10, steps=1000):
            assert np.bincount(groups(batch, (100, 50, 10))).tolist() == [5, 3, 2]

    @pytest.mark.parametrize("ratios", [(0.5, 0.5), (1, 1, 0), (1, -1, 1), ()])
    def test_wrong_ones_are_refused(self, ratios):
        with pytest.raises(HanlineError, match=r"batch ratios .*: expected"):
            batches(ratios=ratios)


class TestRounds:
    @pytest.mark.parametrize("batch_size", [1, 4, 10, 23])
    def test_every_sample_once_a_round(self, batch_size):
        samples = [i for batch in batches([10], [1], batch_size, steps=100) for i in batch]
        rounds = [samples[i : i + 10] for i in range(0, len(samples) - 9, 10)]
        assert len(rounds) >= 10
        assert all(sorted(one) == list(range(10)) for one in rounds)
        assert len({tuple(one) for one in rounds}) > 0.9 * len(rounds)  # each in another order

    def test_every_group_has_its_own_rounds(self):
        sizes = (6, 3)
        drawn = [i for batch in batches(sizes, (0.5, 0.5), 4, steps=90) for i in batch]
        counts = Counter(drawn)
        assert [counts[i] for i in range(6)] == [30] * 6
        assert [counts[i] for i in range(6, 9)] == [60] * 3

    def test_a_group_smaller_than_its_part_of_a_batch(self):
        for batch in batches((100, 2), (0.5, 0.5), 20, steps=20):
            assert Counter(batch)[100] == Counter(batch)[101] == 5

    def test_the_seed_decides(self):
        assert list(batches(seed=3)) == list(batches(seed=3))
        assert list(batches(seed=3)) != list(batches(seed=4))

    def test_groups_of_one_size_have_different_orders(self):
        first, second = np.split(np.array(next(iter(batches((50, 50), (1, 1), 100)))), 2)
        assert (first != second - 50).any()


class TestSteps:
    @pytest.mark.parametrize("first_step", [0, 1, 17, 499, 500])
    def test_going_on_is_the_tail_of_an_uninterrupted_run(self, first_step):
        whole = list(batches())
        assert list(batches(first_step=first_step)) == whole[first_step:]

    def test_going_on_across_many_rounds(self):
        whole = list(batches((5, 3), (0.9, 0.1), 3, steps=2000))
        assert list(batches((5, 3), (0.9, 0.1), 3, steps=2000, first_step=1501)) == whole[1501:]

    def test_a_longer_run_begins_alike(self):
        assert list(islice(batches(steps=10_000), 500)) == list(batches(steps=500))

    def test_length_is_that_of_the_run(self):
        assert len(batches(steps=12)) == len(list(batches(steps=12))) == 12

    def test_can_be_gone_through_again(self):
        twice = batches(steps=20)
        assert list(twice) == list(twice)


class TestRanks:
    @pytest.mark.parametrize("world_size", [2, 3])
    def test_partition_the_global_batch(self, world_size):
        ranks = [batches(rank=r, world_size=world_size) for r in range(world_size)]
        whole = batches(batch_size=7 * world_size)
        for *parts, together in zip(*ranks, whole, strict=True):
            assert [len(part) for part in parts] == [7] * world_size
            assert sorted(i for part in parts for i in part) == sorted(together)

    def test_no_sample_twice_a_round(self):
        ranks = [batches([40], [1], 5, steps=4, rank=r, world_size=2) for r in range(2)]
        drawn = [i for rank in ranks for batch in rank for i in batch]
        assert sorted(drawn) == list(range(40))


class TestValidationBatches:
    @pytest.mark.parametrize("world_size", [1, 2, 3, 4])
    @pytest.mark.parametrize("size", [1, 2, 10, 23])
    @pytest.mark.parametrize("batch_size", [1, 4, 50])
    def test_every_sample_once_on_one_rank(self, size, batch_size, world_size):
        if world_size > size:
            with pytest.raises(HanlineError, match="at most one device for each validation sample"):
                EvalBatchSampler([100] * size, batch_size, 100, 0, world_size)
            return
        ranks = [
            EvalBatchSampler([100] * size, batch_size, 100, r, world_size)
            for r in range(world_size)
        ]
        drawn = [i for rank in ranks for batch in rank for i in batch]
        assert sorted(drawn) == list(range(size))
        for rank in ranks:
            assert len(rank) == len(list(rank))
            assert all(0 < len(batch) <= batch_size for batch in rank)

    def test_in_order(self):
        assert list(EvalBatchSampler([100] * 7, 3, 100)) == [[0, 1, 2], [3, 4, 5], [6]]
        assert list(EvalBatchSampler([100] * 7, 3, 100, 1, 2)) == [[1, 3, 5]]
