import logging
import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from hanline.data.datamodule import TextImageData
from hanline.data.lmdb_store import LMDBStore
from hanline.data.stored import StoredSource, select_datasets
from hanline.errors import HanlineError
from hanline.text.charset import named_charset
from hanline.text.corpus import Corpus

IMAGE = {"height": 16, "width": 48, "channels": 1, "keep_ratio": False}


class Recorder(pl.LightningModule):
    """Trains nothing that matters, and keeps the labels of every batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.training_batches: list[list[str]] = []
        self.validation_batches: list[list[str]] = []
        self.shapes: set[tuple[int, ...]] = set()

    def training_step(self, batch, batch_index):
        assert batch.images.dtype == torch.uint8
        assert len(batch.images) == len(batch.labels)
        self.training_batches.append(list(batch.labels))
        self.shapes.add(tuple(batch.images.shape[1:]))
        return self.weight * 1.0

    def validation_step(self, batch, batch_index):
        self.validation_batches.append(list(batch.labels))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def data(tmp_path, look):
    """Makes a TextImageData; by default of a corpus of its own."""
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(f"제{i} 목{i} 글{i}" for i in range(60)), encoding="utf-8")

    def make(
        train_dir=None, validation_dir=None, train_samples=None, validation_samples=None, **settings
    ):
        names = ("select_data", "batch_ratio", "usage_ratio")
        of_source = {name: settings.pop(name) for name in names if name in settings}
        given = {
            "train": partial(StoredSource, dir=train_dir, samples=train_samples, **of_source),
            "validation": partial(StoredSource, dir=validation_dir, samples=validation_samples),
            "mix": [],
            "rendered_dir": str(tmp_path / "drawn"),
            "batch_size": 8,
            "num_workers": 0,
            "cache_pixels": False,
            "lowercase": False,
            "invalid_labels": "skip",
            "seed": 3,
            "max_label_length": 25,
            "image": IMAGE,
            "charset": named_charset("korean"),
            "corpus": lambda: Corpus([str(file)], seed=1),
            "synthesis": lambda: look,
        }
        return TextImageData(**(given | settings))

    return make


@pytest.fixture
def tree(make_set, tmp_path):
    """DTRB's kind of tree: 40 samples named M, 20 named N, 12 named S; and a set to validate on."""
    make_set("lmdb/training/MJ/MJ_train", [f"M{i}" for i in range(40)])
    make_set("lmdb/training/MJ/MJ_valid", [f"N{i}" for i in range(20)])
    make_set("lmdb/training/ST", [f"S{i}" for i in range(12)])
    make_set("lmdb/validation", [f"V{i}" for i in range(10)])
    root = tmp_path / "lmdb"
    return {"train_dir": str(root / "training"), "validation_dir": str(root / "validation")}


def nothing_to_draw():
    raise AssertionError("there is nothing to draw")


def trainer(max_steps=12, **options):
    return pl.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        val_check_interval=max_steps * options.get("accumulate_grad_batches", 1),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )


def fit(data, max_steps=12, checkpoint=None, **options):
    module = Recorder()
    trainer(max_steps, **options).fit(module, data, ckpt_path=checkpoint)
    return module


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`tensorboardX` has been removed"),
]


class TestDrawn:
    def test_makes_what_is_missing_and_serves_it(self, data, tmp_path):
        module = fit(data(), max_steps=20)
        train, validation = sorted((tmp_path / "drawn").iterdir())
        assert (train.name[:6], validation.name[:11]) == ("train-", "validation-")
        labels = [label for batch in module.training_batches for label in batch]
        assert [len(batch) for batch in module.training_batches] == [8] * 20
        # 160 of the 162 words of 54 headlines: none of them twice.
        assert len(set(labels)) == 160
        assert set(labels) < set(LMDBStore(train).labels())
        assert module.shapes == {(1, 16, 48)}
        drawn = list(LMDBStore(validation).labels())
        assert [label for batch in module.validation_batches for label in batch] == drawn
        assert len(drawn) == 18
        assert not set(drawn) & set(labels)

    def test_images_are_of_the_labels(self, data, look):
        made = data(batch_size=30)
        loader_of = trainer()
        made.trainer = loader_of
        made.prepare_data()
        made.setup("fit")
        pictures = {}
        for group in (*made.train_groups, *made.validation_groups):
            dataset = group.samples
            for i in range(len(dataset)):
                batch = dataset[i]
                pictures[batch.labels[0]] = batch.images[0]
        for batch in (next(iter(made.train_dataloader())), next(iter(made.val_dataloader()))):
            for image, label in zip(batch.images, batch.labels, strict=True):
                assert torch.equal(image, pictures[label])
        assert len({picture.numpy().tobytes() for picture in pictures.values()}) == 180

    def test_an_unchanged_set_is_used_again(self, data, tmp_path):
        data().prepare_data()
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "drawn").rglob("*")}
        assert len(before) > 4
        data(batch_size=3, seed=4).prepare_data()
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "drawn").rglob("*")} == before

    def test_a_changed_one_is_made_beside(self, data, look, tmp_path):
        data().prepare_data()
        before = set((tmp_path / "drawn").iterdir())
        changed = data(synthesis=lambda: replace(look, seed=8))
        module = fit(changed, max_steps=2)
        after = set((tmp_path / "drawn").iterdir())
        assert len(after) == 4
        assert before < after
        assert changed.rendered.path("train") in after - before
        assert module.training_batches != []

    def test_counts(self, data):
        made = data(train_samples=500, validation_samples=5)
        made.prepare_data()
        made.setup("fit")
        assert [len(group.samples) for group in made.train_groups] == [500]
        assert len(made.validation_groups[0].samples) == 5

    def test_one_part_may_be_given(self, data, tree, tmp_path):
        module = fit(data(validation_dir=tree["validation_dir"]), max_steps=2)
        assert [path.name[:6] for path in (tmp_path / "drawn").iterdir()] == ["train-"]
        assert module.validation_batches[0][0] == "V0"


class TestGiven:
    def test_draws_nothing(self, data, tree, tmp_path):
        module = fit(data(**tree, corpus=nothing_to_draw, synthesis=nothing_to_draw), max_steps=9)
        labels = [label for batch in module.training_batches for label in batch]
        assert len(set(labels)) == 72  # every sample once in 9 batches of 8
        assert [len(batch) for batch in module.validation_batches] == [8, 2]
        assert not (tmp_path / "drawn").exists()

    def test_select_data_and_batch_ratio(self, data, tree):
        made = data(**tree, select_data=["ST", "MJ"], batch_ratio=[0.25, 0.75])
        module = fit(made, max_steps=30)
        for batch in module.training_batches:
            kinds = Counter(label[0] for label in batch)
            assert kinds["S"] == 2
            assert kinds["M"] + kinds["N"] == 6
        counts = Counter(label for batch in module.training_batches for label in batch)
        assert {counts[f"S{i}"] for i in range(12)} == {5}
        assert {counts[f"{kind}"] for kind in counts if kind[0] in "MN"} == {3}
        # Validation is what it is, whatever is selected for training.
        assert len([label for batch in module.validation_batches for label in batch]) == 10

    def test_ratio_goes_by_sizes_where_none_is_given(self, data, tree):
        module = fit(data(**tree, select_data=["ST", "MJ"], batch_size=12), max_steps=6)
        assert [Counter(b[0] for b in batch)["S"] for batch in module.training_batches] == [2] * 6

    def test_select_one_leaf(self, data, tree):
        made = data(**tree, select_data=["MJ_valid"])
        made.setup("fit")
        assert [len(group.samples) for group in made.train_groups] == [20]

    def test_an_unknown_name_lists_what_there_is(self, data, tree):
        with pytest.raises(HanlineError, match="select_data names 'SynthText'") as error:
            data(**tree, select_data=["MJ", "SynthText"]).setup("fit")
        assert "These exist: MJ/MJ_train, MJ/MJ_valid, ST" in str(error.value)

    @pytest.mark.parametrize(
        ("select_data", "batch_ratio"),
        [
            (None, [0.5, 0.5]),
            (["MJ", "ST"], [1.0]),
            (["MJ", "ST"], [1.0, 0.0]),
            (["MJ", "ST"], [1.0, math.nan]),
            (None, [math.inf]),
        ],
    )
    def test_shares_that_do_not_fit_the_groups(self, data, tree, select_data, batch_ratio):
        with pytest.raises(HanlineError, match="batch_ratio="):
            fit(data(**tree, select_data=select_data, batch_ratio=batch_ratio), max_steps=1)

    def test_usage_ratio_is_for_training_alone(self, data, tree):
        made = data(**tree, usage_ratio=0.5)
        made.setup("fit")
        assert [len(group.samples) for group in made.train_groups] == [20 + 10 + 6]
        assert len(made.validation_groups[0].samples) == 10

    def test_counts_are_told(self, data, tree, make_set, caplog):
        made = data(**tree, select_data=["MJ", "ST"], max_label_length=2)
        with caplog.at_level(logging.INFO):
            made.setup("fit")
        assert "MJ: 20 samples; left out longer than 2: 40" in caplog.messages
        assert "ST: 10 samples; left out longer than 2: 2" in caplog.messages
        assert "validation: 10 samples; left out nothing" in caplog.messages

    def test_no_such_folder(self, data, tree, tmp_path):
        with pytest.raises(
            HanlineError,
            match="LMDB datasets, but it is not a folder",
        ):
            data(**tree | {"train_dir": str(tmp_path / "missing")}).setup("fit")

    def test_the_same_set_for_both(self, data, tree):
        module = fit(
            data(**tree | {"train_dir": tree["validation_dir"]}, batch_size=5), max_steps=2
        )
        assert sorted(label for batch in module.training_batches for label in batch) == sorted(
            label for batch in module.validation_batches for label in batch
        )


class TestRuns:
    def test_workers_change_nothing(self, data, tree):
        alone, workers = (
            fit(data(**tree, num_workers=number, batch_size=7), max_steps=15) for number in (0, 2)
        )
        assert workers.training_batches == alone.training_batches
        assert workers.validation_batches == alone.validation_batches

    def test_the_seed_decides(self, data, tree):
        first, again, other = (
            fit(data(**tree, seed=seed), max_steps=5).training_batches for seed in (3, 3, 4)
        )
        assert first == again
        assert first != other

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_a_resumed_run_goes_on_with_the_next_batch(self, data, tree, tmp_path, accumulate):
        options = {"accumulate_grad_batches": accumulate}
        whole = fit(data(**tree), max_steps=14, **options).training_batches
        assert len(whole) == 14 * accumulate

        module, stopped = Recorder(), trainer(5, **options)
        stopped.fit(module, data(**tree))
        stopped.save_checkpoint(tmp_path / "last.ckpt")
        resumed = fit(data(**tree), 14, tmp_path / "last.ckpt", **options)
        assert module.training_batches == whole[: 5 * accumulate]
        assert resumed.training_batches == whole[5 * accumulate :]

    @pytest.mark.parametrize("num_workers", [0, 1])
    def test_the_models_random_numbers_are_left_alone(self, data, tree, num_workers):
        made = data(**tree, num_workers=num_workers)
        made.setup("fit")
        made.trainer = trainer()
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        for loader in (made.train_dataloader(), made.val_dataloader()):
            next(iter(loader))
        assert torch.equal(torch.rand(3), expected)

    def test_loaders_need_a_trainer(self, data, tree):
        made = data(**tree)
        with pytest.raises(RuntimeError, match=r"setup\(\) comes before"):
            made.val_dataloader()
        made.setup("fit")
        with pytest.raises(RuntimeError, match="trainer"):
            made.train_dataloader()


class TestDamaged:
    def test_a_damaged_image_costs_its_sample_alone(self, data, tree, make_set, tmp_path):
        # One sample of each batch is from a group of which every image is damaged.
        damaged = dict.fromkeys(range(3), b"no image")
        make_set("lmdb/training/bad", ["B0", "B1", "B2"], damaged)
        made = data(**tree, select_data=["ST", "bad"], batch_ratio=[7 / 8, 1 / 8], num_workers=1)
        module = fit(made, max_steps=4)
        assert [len(batch) for batch in module.training_batches] == [7] * 4
        assert {label[0] for batch in module.training_batches for label in batch} == {"S"}
        assert made.damaged >= 4  # a worker may have read ahead

    def test_nothing_but_damaged_images_is_an_error(self, data, tree, make_set, tmp_path):
        make_set("bad", ["B0", "B1"], {0: b"no image", 1: b"no image"})
        made = data(**tree | {"train_dir": str(tmp_path / "bad")})
        with pytest.raises(HanlineError, match="every image of a batch is damaged"):
            fit(made, max_steps=1)


class TestSelectSets:
    def test_all_are_one_group(self, tree, tmp_path):
        root = tmp_path / "lmdb" / "training"
        (group,) = select_datasets(root, None)
        assert [path.relative_to(root).as_posix() for path in group] == [
            *("MJ/MJ_train", "MJ/MJ_valid", "ST")
        ]

    def test_the_root_is_no_part_of_a_path(self, tree, tmp_path):
        # "lmdb" and "training" are above every set: they would select all of them.
        with pytest.raises(HanlineError, match="'training'"):
            select_datasets(tmp_path / "lmdb" / "training", ["training"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.usage_ratio", 0),
        ("train.usage_ratio", 1.5),
        ("train.usage_ratio", math.nan),
        ("batch_size", 0),
        ("num_workers", -1),
    ],
)
def test_a_wrong_setting_is_named(data, key, value):
    with pytest.raises(HanlineError, match=rf"data\.{key}={value}"):
        data(**{key.removeprefix("train."): value})


class TestReadyPixels:
    def test_training_and_validation_get_the_same(self, data, tree):
        plain, ready = (fit(data(**tree, cache_pixels=given)) for given in (False, True))
        assert ready.training_batches == plain.training_batches
        assert ready.validation_batches == plain.validation_batches
        assert len(list(Path(tree["train_dir"]).rglob("*.pixels"))) == 3

    def test_unasked(self, data, tree, monkeypatch, caplog):
        """They are kept where they are small, and where they can be."""
        caplog.set_level(logging.INFO)
        files = partial(Path(tree["train_dir"]).rglob, "*.pixels")
        plain = fit(data(**tree, cache_pixels=False))
        monkeypatch.setattr("hanline.data.pixel_cache._AUTOMATIC_BYTES", 100)
        assert fit(data(**tree, cache_pixels=None)).training_batches == plain.training_batches
        assert not list(files())
        assert "decoded in every epoch: their pixels would take 0.0 GiB" in caplog.text
        monkeypatch.undo()
        with monkeypatch.context() as patched:
            patched.setattr("hanline.data.pixel_cache._AUTOMATIC_SHARE", 0)
            assert fit(data(**tree, cache_pixels=None)).training_batches == plain.training_batches
        assert not list(files())
        assert "decoded in every epoch: their pixels would take 0 MiB, and the disk" in caplog.text
        assert fit(data(**tree, cache_pixels=None)).training_batches == plain.training_batches
        assert len(list(files())) == 3

    def test_unasked_there_are_none_without_a_width(self, data, tree):
        image = IMAGE | {"width": None, "keep_ratio": True}
        fit(data(**tree, cache_pixels=None, image=image))
        assert not list(Path(tree["train_dir"]).rglob("*.pixels"))

    def test_labels_are_looked_at_first(self, data, tree):
        with pytest.raises(HanlineError, match="no sample is left"):
            fit(
                data(
                    **tree, cache_pixels=True, charset=named_charset("dtrb_36"), max_label_length=1
                )
            )
        assert not list(Path(tree["train_dir"]).rglob("*.pixels"))

    def test_asked_for_they_must_be_there(self, data, tree):
        made = data(**tree, cache_pixels=True)
        with pytest.raises(HanlineError, match="they are gone"):
            made.setup("fit")
        made.prepare_data()
        made.setup("fit")
        assert made.train_groups[0].samples.pixels

    def test_asked_for_it_is_an_error_that_they_cannot_be_kept(self, data, tree, monkeypatch):
        monkeypatch.setattr("hanline.data.pixel_cache.cache_paths", lambda store, name: ())
        with pytest.raises(HanlineError, match=r"Set data\.cache_pixels=false"):
            fit(data(**tree, cache_pixels=True))

    def test_need_a_width(self, data):
        with pytest.raises(HanlineError, match=r"expected a fixed image\.width"):
            data(cache_pixels=True, image=IMAGE | {"width": None, "keep_ratio": True})
