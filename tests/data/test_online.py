"""Lines that are drawn as they are needed, as a run is served with them."""

import logging
import multiprocessing
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hanline.data.datamodule import TextImageData
from hanline.data.images import ImageFormat, clamp_aspect, to_pixels
from hanline.data.online import OnlineSource
from hanline.data.stored import StoredSource
from hanline.errors import HanlineError
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.synthesis.fonts import Font, FontSet, bundled_files
from hanline.synthesis.varied import VariedRenderer
from hanline.text.charset import Charset, named_charset
from hanline.text.corpus import Corpus

CONF = Path(__file__).parents[2] / "conf"
LOOK = OmegaConf.to_object(OmegaConf.load(CONF / "renderer" / "varied.yaml"))
FIXED = {"height": 16, "width": 64, "channels": 1, "keep_ratio": False}
FOLLOWING = {"height": 16, "width": None, "channels": 1, "keep_ratio": True}
SHARES = {"corpus": 6, "random": 2, "numbers": 1, "latin": 1}
both_widths = pytest.mark.parametrize("image", [FIXED, FOLLOWING], ids=["fixed", "following"])

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*`tensorboardX` has been removed"),
    pytest.mark.filterwarnings("ignore:.*will create 3 worker processes"),
    pytest.mark.filterwarnings("ignore:.*resuming from a checkpoint that ended"),
]


@pytest.fixture(scope="module")
def headline_look():
    """The shipped look, in small, in two bundled fonts."""
    settings = {str(key): value for key, value in LOOK.items() if key[0] != "_"}
    return DatasetRenderer(
        renderer=VariedRenderer(**settings | {"height": 20}),
        fonts=FontSet(Font(path) for path in bundled_files() if path.name.startswith("Noto")),
        image_format="png",
        jpeg_quality=90,
        seed=7,
        processes=1,
    )


@pytest.fixture
def data(tmp_path, make_set, headline_look):
    """Makes data of online lines, with a corpus of its own and a set to validate on."""
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(f"제{i} 목록 글{i}" for i in range(60)), encoding="utf-8")
    validation = make_set("validation", ["가", "나", "다"])

    def make(texts=SHARES, validation_dir=str(validation), **settings):
        given = {
            "train": partial(OnlineSource, texts=texts),
            "validation": partial(StoredSource, dir=validation_dir, samples=5),
            "mix": [],
            "rendered_dir": str(tmp_path / "drawn"),
            "batch_size": 2,
            "num_workers": 0,
            "cache_pixels": False,
            "lowercase": False,
            "invalid_labels": "skip",
            "seed": 3,
            "max_label_length": 25,
            "image": FOLLOWING,
            "charset": named_charset("korean"),
            "corpus": lambda: Corpus([str(file)], seed=1, max_words=3),
            "synthesis": lambda: headline_look,
        }
        return TextImageData(**(given | settings))

    return make


def loader_of(data, rank=0, world_size=1, **run):
    """The loader that a device has in a run."""
    given = {"max_steps": 12, "accumulate_grad_batches": 1, "global_step": 0}
    data.setup("fit")
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, **(given | run))
    return data.train_dataloader()


def served(data, rank=0, world_size=1, **run):
    """The batches that a device is served with in a run."""
    loader = loader_of(data, rank, world_size, **run)
    return [(batch.labels, batch.images.numpy()) for batch in loader]


def lines_of(data):
    """The lines of a run, by number."""
    return data.train_groups[0].samples


def tasks_of(data, **run):
    """What is rendered for each batch of a run."""
    loader = loader_of(data, **run)
    return [
        list(map(lines_of(data).task, loader.dataset.numbers_of(asked)))
        for asked in loader.batch_sampler
    ]


def told(batches):
    """Batches in a form that can be compared: labels and pixels."""
    return [(labels, images.shape, images.tobytes()) for labels, images in batches]


class Recorder(pl.LightningModule):
    """Trains nothing, and keeps every batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = []
        self.validated = []

    def training_step(self, batch, batch_index):
        self.batches.append((batch.labels, batch.images.numpy()))
        return self.weight * 1.0

    def validation_step(self, batch, batch_index):
        self.validated += batch.labels

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, max_steps, resume=None, save=None, **options):
    module = Recorder()
    trainer = pl.Trainer(
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
    trainer.fit(module, data, ckpt_path=resume)
    assert trainer.global_step == max_steps
    if save:
        trainer.save_checkpoint(save)
    return module


@pytest.fixture
def start_method():
    """Chooses how workers are started, for one test."""
    before = multiprocessing.get_start_method(allow_none=True)
    yield partial(multiprocessing.set_start_method, force=True)
    multiprocessing.set_start_method(before, force=True)


class TestRuns:
    @both_widths
    @pytest.mark.parametrize("num_workers", [1, 2, 3])
    def test_workers_change_nothing(self, data, image, num_workers, start_method):
        expected = told(served(data(image=image)))
        assert len(expected) == 12
        # As a spawned worker, one of a fork server is given all that it needs in a pickle, but a
        # single process imports for all of them.
        multiprocessing.set_forkserver_preload(["hanline.data.datamodule"])
        start_method("forkserver")
        assert told(served(data(image=image, num_workers=num_workers))) == expected

    def test_spawned_workers_change_nothing(self, data, start_method):
        expected = told(served(data(), max_steps=4))
        start_method("spawn")
        assert told(served(data(num_workers=1), max_steps=4)) == expected

    @both_widths
    def test_the_seed_decides(self, data, image):
        first, again, other = (told(served(data(image=image, seed=seed))) for seed in (3, 3, 4))
        assert first == again
        assert not {labels[0] for labels, *_ in first} & {labels[0] for labels, *_ in other}

    @both_widths
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_a_resumed_run_goes_on_with_the_next_batch(self, data, image, accumulate, tmp_path):
        options = {"accumulate_grad_batches": accumulate}
        whole = fit(data(image=image), 9, **options)
        assert len(whole.batches) == 9 * accumulate
        assert whole.validated == ["가", "나", "다"]

        last = tmp_path / "last.ckpt"
        stopped = fit(data(image=image), 4, save=last, **options)
        resumed = fit(data(image=image), 9, resume=last, **options)
        assert told(stopped.batches + resumed.batches) == told(whole.batches)
        assert len(resumed.batches) == 5 * accumulate

    @both_widths
    @pytest.mark.parametrize("step", [1, 37, 130])
    def test_a_run_begins_at_any_step(self, data, image, step):
        whole = data(image=image)
        assert (
            told(served(data(image=image), global_step=step, max_steps=step + 3))
            == told(served(whole, max_steps=step + 3))[step:]
        )

    @both_widths
    @pytest.mark.parametrize("world_size", [2, 3])
    def test_devices_take_turns(self, data, image, world_size):
        ranks = [told(served(data(image=image), rank, world_size)) for rank in range(world_size)]
        if image == FIXED:
            # Each takes its part of a batch that is as many times as large.
            large = served(data(image=image, batch_size=2 * world_size))
            for rank in range(world_size):
                own = [(labels[rank::world_size], i[rank::world_size]) for labels, i in large]
                assert told(own) == ranks[rank]
            return
        together = told(served(data(image=image), max_steps=12 * world_size))
        assert [batch for step in zip(*ranks, strict=True) for batch in step] == together
        assert len(set(map(str, together))) == 12 * world_size

    @both_widths
    def test_no_line_comes_twice(self, data, image):
        made = data(image=image, texts={"corpus": 1, "random": 0, "numbers": 0, "latin": 0})
        batches = served(made, max_steps=128)
        lines = [
            (label, pixels.tobytes())
            for labels, images in batches
            for label, pixels in zip(labels, images, strict=True)
        ]
        assert len(lines) == 256
        assert len(set(lines)) == 256
        # Every one of the first 256 lines of the run is among them.
        look, texts = made.rendered.synthesis, lines_of(made).texts
        wanted = [look.task(texts.text(number), number) for number in range(256)]
        drawn = [task for tasks in tasks_of(made, max_steps=128) for task in tasks]
        assert Counter(drawn) == Counter(wanted)
        assert len(set(drawn)) == 256


class TestBatches:
    @both_widths
    def test_labels_and_images_are_of_the_same_texts(self, data, image):
        made = data(image=image, batch_size=4)
        rules = made.run.rules
        for tasks, (labels, images) in zip(tasks_of(made), served(made), strict=True):
            assert labels == [task.text for task in tasks]
            assert images.dtype == np.uint8
            for task, pixels in zip(tasks, images, strict=True):
                drawn = made.rendered.synthesis.picture(task)
                alone = to_pixels(drawn, ImageFormat(**image), images.shape[3])
                assert np.array_equal(pixels.transpose(1, 2, 0), alone)
                assert not rules.judge([task.text]).any()

    def test_have_lines_as_they_come_where_the_width_is_fixed(self, data):
        shapes = {images.shape for _, images in served(data(image=FIXED, batch_size=5))}
        assert shapes == {(5, 1, 16, 64)}

    @pytest.mark.parametrize("channels", [1, 3])
    def test_have_the_channels_that_are_asked_for(self, data, channels):
        batches = served(data(image=FIXED | {"channels": channels}), max_steps=20)
        assert {images.shape[1] for _, images in batches} == {channels}
        if channels == 3:
            assert any((images[:, 0] != images[:, 1]).any() for _, images in batches)

    def test_are_of_one_width_and_alike_in_size(self, data):
        corpus = partial(Corpus, ["embedded"], seed=1, max_words=8)
        made = data(image=FOLLOWING | {"height": 32}, batch_size=16, corpus=corpus)
        areas, stretched = [], []
        for tasks in tasks_of(made, max_steps=128):
            aspects = np.array([made.rendered.synthesis.aspect(task) for task in tasks])
            width = made.image_format.bucket_width(np.mean([clamp_aspect(a) for a in aspects]))
            areas.append(width * len(tasks))
            # What is shorter than two heights is extended, and not stretched.
            stretched += list(width / 32 / aspects[aspects >= 2])
        assert max(areas) < 1.25 * np.mean(areas)
        assert min(areas) > 0.75 * np.mean(areas)
        stretch = np.exp(abs(np.log(stretched))) - 1
        assert np.median(stretch) < 0.03
        assert np.mean(stretch > 0.35) < 0.03
        assert stretch.max() < 0.6
        for batch in (0, 1, 2):
            labels, images = served(made, global_step=batch, max_steps=batch + 1)[0]
            assert len(labels) == len(images) >= 1
            assert images.shape[3] * len(labels) == areas[batch]

    def test_case_is_folded(self, data):
        texts = {"corpus": 0, "random": 0, "numbers": 0, "latin": 1}
        cased, folded = (
            [label for labels, _ in served(data(texts=texts, lowercase=fold)) for label in labels]
            for fold in (False, True)
        )
        assert [label.lower() for label in cased] == folded != cased

    def test_texts_are_what_is_asked_for(self, data, tmp_path, make_set):
        file = tmp_path / "digits.txt"
        file.write_text("77\n88\n99", encoding="utf-8")
        made = data(
            texts={"corpus": 0, "random": 0, "numbers": 1, "latin": 0},
            charset=Charset("0123456789 "),
            validation_dir=str(make_set("digits", ["77"])),
            corpus=lambda: Corpus([str(file)], seed=1, min_words=2, max_words=2),
        )
        labels = [label for labels, _ in served(made) for label in labels]
        assert all(label.replace(" ", "").isdigit() for label in labels)
        assert {len(label.split()) for label in labels} == {2}

    def test_no_words_of_validation(self, data):
        made = data()
        made.setup("fit")
        assert made.rendered.texts.train_words == lines_of(made).texts.words
        assert not set(made.rendered.texts.validation) & set(lines_of(made).texts.words) - {"목록"}


class TestSettings:
    def test_how_often_each_class_of_character_is_drawn_is_told(self, data, caplog):
        caplog.set_level(logging.INFO)
        fit(data(texts={"corpus": 0, "random": 0, "numbers": 0, "latin": 1}), 1)
        (told,) = [line for line in caplog.messages if "lines without end" in line]
        shares = {k: float(v) for k, v in re.findall(r"([\w ]+?) ([\d.]+) %", told)}
        assert sum(shares.values()) == pytest.approx(100, abs=0.5)
        assert shares[" Latin"] > 60

    def test_validation_is_drawn_where_it_is_not_given(self, data, tmp_path):
        module = fit(data(validation_dir=None), 1)
        (drawn,) = (path.name for path in (tmp_path / "drawn").iterdir() if path.is_dir())
        assert drawn.startswith("validation-")
        assert len(module.validated) == 5

    @both_widths
    def test_a_renderer_that_measures_by_rendering(self, data, look, image):
        assert len(served(data(synthesis=lambda: look, image=image))) == 12

    def test_texts_are_refused_by_their_key(self, data):
        with pytest.raises(HanlineError, match=r"data\.train\.texts"):
            served(data(texts={"corpus": 1}))

    def test_a_text_has_another_look_in_another_place(self, data, headline_look):
        made = data()
        one, other = (made.rendered.synthesis.task("가나", number) for number in (1, 2))
        assert one != other
        assert one == replace(headline_look, processes=2).task("가나", 1)
        assert one != replace(headline_look, seed=8).task("가나", 1)

    def test_the_shipped_experiment_serves_lines(self, make_set):
        validation = make_set("set", ["가"])
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(
                "train",
                overrides=[
                    "experiment=headline",
                    "synthesis.fonts=bundled",
                    "corpus.files=[embedded]",
                    f"data.validation.dir={validation}",
                    "data.batch_size=3",
                    "data.num_workers=0",
                ],
            )
        charset = instantiate(config.charset)
        made = instantiate(
            config.data,
            charset=charset,
            corpus=partial(instantiate, config.corpus),
            synthesis=partial(instantiate, config.synthesis, characters=charset.characters),
        )
        batches = served(made, max_steps=30)
        assert len(batches) == 30
        assert len({images.shape[3] for _, images in batches}) > 10
        longest = 0
        for labels, images in batches:
            assert images.shape[:3] == (len(labels), 1, 32)
            assert not made.run.rules.judge(labels).any()
            longest = max(longest, *(len(label.split()) for label in labels))
        assert longest > 4
