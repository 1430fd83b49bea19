"""Lines that keep their width: which share a batch, and batches of sets where ``width`` is null."""

from collections import Counter
from functools import partial
from itertools import islice, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from hanline.data.datamodule import TextImageData
from hanline.data.images import ImageFormat, decode_image
from hanline.data.samplers import (
    BucketBatchSampler,
    EvalBatchSampler,
    MixtureBatchSampler,
    WidthBuckets,
)
from hanline.data.stored import StoredSource
from hanline.errors import HanlineError
from hanline.text.charset import named_charset

IMAGE = {"height": 16, "width": None, "channels": 1, "keep_ratio": True}
LINES = ImageFormat(**IMAGE)
GROUPS = WidthBuckets.GROUPS
RANDOM = np.random.default_rng(0)
WIDTHS = {
    "all alike": np.ones,
    "all alike, no round number": lambda count: np.full(count, 0.1),
    "nothing": np.zeros,
    "as lines are": lambda count: RANDOM.lognormal(2.3, 0.6, count).clip(2, 64),
    "one huge": lambda count: np.r_[np.ones(count - 1), 1e9],
    "a few huge": lambda count: np.r_[np.ones(count - 5), [1e5] * 5][::-1],
    "one for each batch": lambda count: np.r_[np.zeros(count - GROUPS), np.ones(GROUPS)],
    "one batch for half of them": lambda count: np.r_[
        np.full(count // 2, 1e-9), np.ones(count // 2)
    ],
    "each twice the last": lambda count: 2.0 ** (np.arange(count) % 900),
    "each a little more": lambda count: 1.1 ** (np.arange(count) % 900)[::-1],
    "whole numbers": np.arange,
}


class TestCut:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
    @pytest.mark.parametrize("widths", WIDTHS)
    def test_every_line_is_in_one_batch(self, widths, batch_size):
        like = WidthBuckets(batch_size, seed=1)
        given = WIDTHS[widths](like.chunk_size)
        batches = like.cut(0, given.tolist())
        assert len(batches) == GROUPS
        assert min(map(len, batches)) >= 1
        assert sorted(np.concatenate(batches).tolist()) == list(range(like.chunk_size))
        # What shares a batch is alike: no line of another batch lies between.
        spans = sorted((given[batch].min(), given[batch].max()) for batch in batches)
        for (_, most), (least, _) in pairwise(spans):
            assert most <= least

    @pytest.mark.parametrize("widths", ["all alike", "as lines are", "each a little more"])
    def test_batches_are_alike_in_size(self, widths):
        like = WidthBuckets(32, seed=1)
        given = WIDTHS[widths](like.chunk_size)
        share = given.sum() / GROUPS
        for batch in like.cut(0, given):
            # One line more or less.
            assert abs(given[batch].sum() - share) <= max(given[batch].max(), given.min() * 2) or (
                len(batch) == 1
            )

    def test_wide_lines_share_theirs_with_few(self):
        given = WIDTHS["as lines are"](1024)
        batches = WidthBuckets(32, seed=1).cut(0, given)
        widest = max(batches, key=lambda batch: given[batch].mean())
        narrowest = min(batches, key=lambda batch: given[batch].mean())
        assert len(widest) < 16 < 64 < len(narrowest)

    def test_the_order_is_decided_by_the_seed_and_the_chunk(self):
        given = np.arange(1.0, 129)

        def cut(seed, chunk):
            return [batch.tolist() for batch in WidthBuckets(4, seed).cut(chunk, given)]

        assert cut(1, 5) == cut(1, 5)
        orders = [cut(1, 5), cut(1, 6), cut(2, 5)]
        assert orders[0] != orders[1] != orders[2] != orders[0]
        assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
        assert all(sorted(order) != order for order in orders)


class TestPlace:
    def test_no_two_batches_have_the_same(self):
        like = WidthBuckets(4, seed=0)
        together = GROUPS * WidthBuckets.CHUNKS_AT_A_TIME
        places = [like.place(batch) for batch in range(3 * together)]
        for turn in range(3):
            first = turn * WidthBuckets.CHUNKS_AT_A_TIME
            assert sorted(places[turn * together : (turn + 1) * together]) == [
                (chunk, group)
                for chunk in range(first, first + WidthBuckets.CHUNKS_AT_A_TIME)
                for group in range(GROUPS)
            ]

    def test_neighbours_are_of_different_chunks(self):
        chunks = [WidthBuckets(4, seed=0).place(batch)[0] for batch in range(500)]
        assert all(one != other for one, other in pairwise(chunks))


def batches(count=50, batch_size=2, **options):
    """The batches of a run over ``count`` samples whose widths are those of lines."""
    aspects = np.random.default_rng(count).lognormal(2, 0.5, count)
    like = WidthBuckets(batch_size, seed=1)

    def chunks(first_step=0):
        return MixtureBatchSampler([count], [1], like.chunk_size, 10**6, 1, first_step)

    return BucketBatchSampler(chunks, aspects, like, **({"steps": 300} | options))


class TestLikeWidthBatches:
    @pytest.mark.parametrize("first_step", [1, 3, 4, 127, 128, 129, 299, 300])
    def test_going_on_is_the_tail_of_an_uninterrupted_run(self, first_step):
        assert list(batches(first_step=first_step)) == list(batches())[first_step:]

    @pytest.mark.parametrize("world_size", [2, 3, 8, 200])
    def test_ranks_take_turns(self, world_size):
        steps = 700 // world_size
        ranks = [
            list(batches(steps=steps, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        together = list(batches(steps=steps * world_size))
        assert [batch for step in zip(*ranks, strict=True) for batch in step] == together

    @pytest.mark.parametrize(("count", "rounds"), [(64, 4), (32, 8), (256, 1), (1, 256), (8, 32)])
    def test_every_sample_once_a_round(self, count, rounds):
        together = GROUPS * WidthBuckets.CHUNKS_AT_A_TIME
        run = list(batches(count, steps=3 * together))
        for turn in range(3):
            part = run[turn * together : (turn + 1) * together]
            counts = Counter(index for batch in part for index in batch)
            assert counts == dict.fromkeys(range(count), rounds)

    def test_a_longer_run_begins_alike(self):
        assert list(islice(batches(steps=10**6), 300)) == list(batches())
        assert len(batches()) == 300

    def test_can_be_gone_through_again(self):
        twice = batches()
        assert list(twice) == list(twice)


class TestValidationBatches:
    @pytest.mark.parametrize("world_size", [1, 2, 3])
    def test_every_sample_once_among_its_like(self, world_size):
        widths = np.random.default_rng(0).choice([32, 48, 160, 320, 1024], 200).tolist()
        ranks = [EvalBatchSampler(widths, 8, 160, rank, world_size) for rank in range(world_size)]
        drawn = [index for rank in ranks for batch in rank for index in batch]
        assert sorted(drawn) == list(range(200))
        most = {32: 40, 48: 26, 160: 8, 320: 4, 1024: 1}
        for rank, own in enumerate(ranks):
            assert len(own) == len(list(own))
            largest = dict.fromkeys(most, 0)
            for batch in own:
                (width,) = {widths[index] for index in batch}
                largest[width] = max(largest[width], len(batch))
                assert len(batch) >= 1
            # As many as there is room for, or all that the device has.
            given = Counter(widths[rank::world_size])
            assert largest == {width: min(most[width], given[width]) for width in most}


class Recorder(pl.LightningModule):
    """Trains nothing, and keeps the labels and the shape of every batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.training_batches = []
        self.validation_batches = []

    def training_step(self, batch, batch_index):
        assert len(batch.images) == len(batch.labels)
        self.training_batches.append((batch.labels, tuple(batch.images.shape[1:])))
        return self.weight * 1.0

    def validation_step(self, batch, batch_index):
        self.validation_batches.append((batch.labels, tuple(batch.images.shape[1:])))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, max_steps, validate=False):
    module = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        val_check_interval=max_steps,
        check_val_every_n_epoch=None,
        limit_val_batches=1.0 if validate else 0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, data)
    assert trainer.global_step == max_steps
    return module


def loader_of(data, part="train", rank=0, world_size=1, **run):
    """The loader that a device of a run has."""
    data.setup("fit")
    given = {"max_steps": 128, "accumulate_grad_batches": 1, "global_step": 0}
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, **(given | run))
    return data.train_dataloader() if part == "train" else data.val_dataloader()


@pytest.fixture
def of_widths(make_set, encode):
    """Writes a set of images 20 high; label and width of each are the same number."""

    def make(name, widths, images=None):
        pictures = {i: encode(Image.new("L", (width, 20), 9)) for i, width in enumerate(widths)}
        return make_set(name, list(map(str, widths)), pictures | (images or {}))

    return make


@pytest.fixture
def data():
    def make(train, validation=None, **settings):
        given = {
            "train": partial(StoredSource, dir=str(train)),
            "validation": partial(StoredSource, dir=str(validation or train)),
            "mix": [],
            "rendered_dir": "nothing",
            "cache_pixels": False,
            "batch_size": 2,
            "num_workers": 0,
            "lowercase": False,
            "invalid_labels": "skip",
            "seed": 3,
            "max_label_length": 25,
            "image": IMAGE,
            "charset": named_charset("korean"),
            "corpus": pytest.fail,
            "synthesis": pytest.fail,
        }
        return TextImageData(**(given | settings))

    return make


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`tensorboardX` has been removed"),
]
# All different, from narrower than the narrowest that is served to wider than the widest.
FROM_4_TO_2000 = sorted({round(4 * 1.05**i) + i % 7 for i in range(128)})[:64]


class TestTraining:
    def test_every_sample_comes_up_once_a_round(self, data, of_widths):
        widths = [40 + 11 * i for i in range(64)]
        module = fit(data(of_widths("set", widths)), 128)
        counts = Counter(label for labels, _ in module.training_batches for label in labels)
        # 128 batches of 2, on average, of 64 samples.
        assert counts == {str(width): 4 for width in widths}
        assert {shape[:2] for _, shape in module.training_batches} == {(1, 16)}

    def test_all_of_a_batch_have_one_width_near_their_own(self, data, of_widths):
        widths = np.random.default_rng(1).lognormal(5, 0.6, 500).clip(40, 1280).astype(int)
        made = data(of_widths("set", widths.tolist()), batch_size=16)
        stretched, areas = [], []
        for images, labels, _ in loader_of(made):
            own = np.array(labels, dtype=int) * 16 / 20
            stretched += list(images.shape[3] / own)
            areas.append(images.shape[3] * len(labels))
        stretch = np.exp(abs(np.log(stretched))) - 1
        assert len(stretched) == 128 * 16
        assert np.median(stretch) < 0.03
        assert np.quantile(stretch, 0.9) < 0.2
        assert stretch.max() < 0.6
        assert max(areas) < 1.6 * np.mean(areas)

    def test_short_lines_take_the_room_that_they_are_extended_to(self, data, of_widths):
        # Half of the lines are a tenth as long as what they are extended to.
        made = data(of_widths("set", [4] * 64 + [200] * 64), batch_size=8)
        areas = [images.shape[3] * len(labels) for images, labels, _ in loader_of(made)]
        assert max(areas) < 1.6 * np.mean(areas)

    def test_what_is_endless_is_no_more_than_the_longest(self, data, of_widths):
        made = data(of_widths("set", [20_000] + [200] * 127), batch_size=8)
        batches = list(loader_of(made))
        areas = [images.shape[3] * len(labels) for images, labels, _ in batches]
        assert max(areas) < 2.5 * np.mean(areas)
        assert max(len(labels) for _, labels, _ in batches) < 20

    def test_short_and_long_ones_of_one_batch(self, data, of_widths):
        # One batch of all: the short are extended, so the long are those that the width is of.
        made = data(of_widths("set", [2, 2, 2, 80, 80, 80]))
        made.setup("fit")
        batch = made.train_groups[0].samples.__getitems__(range(6))
        assert batch.images.shape[3] == LINES.bucket_width((2 + 4) / 2) == 48

    @pytest.mark.parametrize("num_workers", [1, 2])
    def test_workers_change_nothing(self, data, of_widths, num_workers):
        path = of_widths("set", FROM_4_TO_2000)
        expected = list(loader_of(data(path), max_steps=20))
        served = list(loader_of(data(path, num_workers=num_workers), max_steps=20))
        assert len(served) == len(expected) == 20
        for one, other in zip(served, expected, strict=True):
            assert one.labels == other.labels
            assert torch.equal(one.images, other.images)

    def test_devices_share_the_batches(self, data, of_widths):
        path = of_widths("set", FROM_4_TO_2000)
        ranks = [
            [labels for _, labels, _ in loader_of(data(path), rank=rank, world_size=2)]
            for rank in (0, 1)
        ]
        together = [labels for _, labels, _ in loader_of(data(path), max_steps=256)]
        assert [labels for step in zip(*ranks, strict=True) for labels in step] == together

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_going_on(self, data, of_widths, accumulate):
        run = {"max_steps": 40, "accumulate_grad_batches": accumulate}
        path = of_widths("set", FROM_4_TO_2000)
        whole = [labels for _, labels, _ in loader_of(data(path), **run)]
        rest = [labels for _, labels, _ in loader_of(data(path), global_step=7, **run)]
        assert len(whole) == 40 * accumulate
        assert rest == whole[7 * accumulate :]


class TestValidation:
    def test_a_batch_has_one_width_and_every_sample_comes_once(self, data, of_widths):
        widths = [width for width in FROM_4_TO_2000 for _ in range(3)]
        module = fit(data(of_widths("set", widths), batch_size=4), 1, validate=True)
        assert Counter(label for labels, _ in module.validation_batches for label in labels) == (
            Counter(map(str, widths))
        )
        for labels, (_, _, width) in module.validation_batches:
            assert {LINES.bucket_width(int(label) / 20) for label in labels} == {width}
        assert len({width for _, (_, _, width) in module.validation_batches}) > 20
        assert max(len(labels) for labels, _ in module.validation_batches) > 4

    def test_pixels_are_those_of_the_sample_alone(self, data, make_set, encode):
        noise = np.random.default_rng(0)
        sizes = [(int(width), int(height)) for width, height in noise.integers(20, 400, (40, 2))]
        images = {
            i: encode(Image.fromarray(noise.integers(0, 256, size[::-1], dtype=np.uint8)))
            for i, size in enumerate(sizes)
        }
        made = data(make_set("set", [str(i) for i in range(40)], images), batch_size=8)
        loader = loader_of(made, "validation")
        served = [
            (label, image) for batch in loader for image, label in zip(*batch[:2], strict=True)
        ]
        assert len(served) == 40
        for label, image in served:
            assert torch.equal(image, made.validation_groups[0].samples[int(label)].images[0])

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_a_turned_picture_is_among_its_like(self, data, of_widths, encode, file_format):
        exif = Image.Exif()
        exif[0x0112] = 6
        # 400×20, once it is turned as it says.
        turned = encode(Image.new("L", (20, 400), 9), file_format, exif=exif)
        assert decode_image(turned).size == (400, 20)
        path = of_widths("set", [400, 40, 40, 400], {0: turned})
        batches = list(loader_of(data(path, batch_size=8), "validation"))
        assert sorted(labels for _, labels, _ in batches) == [["40", "40"], ["400", "400"]]
        assert {images.shape[3] for images, _, _ in batches} == {
            LINES.bucket_width(2),
            LINES.bucket_width(20),
        }


class TestDamaged:
    @pytest.fixture
    def holed(self, of_widths, encode):
        """64 samples: one is no image, and of two nothing is left but the first bytes."""
        noise = np.random.default_rng(0).integers(0, 256, (20, 900), dtype=np.uint8)
        cut = encode(Image.fromarray(noise))[:300]
        widths = [40 + 11 * i for i in range(61)]
        return of_widths("holed", [*widths, 1, 2, 3], {61: b"no image", 62: cut, 63: cut})

    def test_training_goes_on_without_them(self, data, holed):
        # Every batch has one sample, so what is damaged is alone in its own.
        made = data(holed, batch_size=1)
        module = fit(made, 128, validate=True)
        drawn = [label for labels, _ in module.training_batches for label in labels]
        assert len(module.training_batches) == 128
        assert min(len(labels) for labels, _ in module.training_batches) == 1
        assert set(drawn) == {str(40 + 11 * i) for i in range(61)}
        assert made.damaged >= 3

    @pytest.mark.parametrize("num_workers", [0, 1])
    @pytest.mark.parametrize("width", [None, 32])
    def test_validation_goes_on_without_them(self, data, holed, width, num_workers):
        image = IMAGE | {"width": width}
        made = data(holed, batch_size=1, image=image, num_workers=num_workers)
        loader = loader_of(made, "validation")
        for _ in range(2):  # as often as it is asked for
            drawn = [label for _, labels, _ in loader for label in labels]
            assert sorted(drawn, key=int) == [str(40 + 11 * i) for i in range(61)]
        assert made.damaged == 6

    def test_nothing_else_is_an_error(self, data, of_widths):
        path = of_widths("set", [40, 400], {0: b"no image", 1: b"no image"})
        made = data(path)
        with pytest.raises(HanlineError, match="every image of a batch is damaged"):
            list(loader_of(made))
        with pytest.raises(HanlineError, match="every image of the dataset is damaged"):
            list(loader_of(made, "validation"))
