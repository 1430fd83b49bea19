"""A registry whose model in use reads ten words, and real lines in a look that it cannot read."""

import random
import shutil
import subprocess
import sys

import pytest
from PIL import ImageOps
from small_days import FIRST, write_lines

from hanline.data.packing import pack
from hanline.formats.record import build
from hanline.formats.registry import load_model
from hanline.formats.safetensors import Safetensors
from hanline.pretrained.model_registry import CARD, MODEL, About, ModelRegistry


@pytest.fixture(scope="session")
def lines(words, picture):
    """Makes lines: pictures of the ten words, each a little different, and their labels."""

    def make(count, seed, change=lambda image: image):
        draw = random.Random(seed)
        made = []
        for number in range(count):
            word = words[number % len(words)]
            image = change(picture(word))
            for _ in range(4):
                place = (draw.randrange(image.width), draw.randrange(image.height))
                image.putpixel(place, draw.randrange(256))
            made.append((image, word))
        return made

    return make


@pytest.fixture(scope="session")
def inverted():
    """White on black."""
    return ImageOps.invert


@pytest.fixture(scope="session")
def first_registry(checkpoint, lines, words, tmp_path_factory):
    """A registry with one model in use, the fixed dataset, and a charset."""
    place = tmp_path_factory.mktemp("every_day")
    registry = ModelRegistry(place / "models")
    model = load_model(checkpoint)
    recognizer = build(model.spec, model.state, {}, checkpoint)

    def write(folder):
        Safetensors().save(folder / MODEL, recognizer, model.history)
        (folder / CARD).write_text("# first\n", encoding="utf-8")

    registry.add(About(FIRST, "2026-01-01T00:00:00+00:00", ["shipped"]), write)
    registry.use(FIRST, "the test begins with it")
    pack(write_lines(place / "fixed_lines", lines(30, 1)) / "gt.txt", place / "fixed", 1)
    (place / "charset.txt").write_text("".join(sorted(set("".join(words)))), encoding="utf-8")
    return place


@pytest.fixture
def place(first_registry, tmp_path):
    """A copy of it, for one test."""
    copy = tmp_path / "every day"
    shutil.copytree(first_registry, copy)
    return copy


@pytest.fixture
def registry(place):
    return ModelRegistry(place / "models")


@pytest.fixture
def words_of_update(place):
    """The words of ``hanline update`` for a model of this size."""

    def words(day, *more, steps=60, models=place / "models"):
        training = [
            "data=lmdb",
            f"data.train.dir='{place / 'fixed'}'",
            "charset=file",
            f"charset.path='{place / 'charset.txt'}'",
            "model=none_compact_none_ctc",
            "model.feature_extraction.channels=[8,16,32,32]",
            "model.feature_extraction.blocks=[0,0,1]",
            "image.width=96",
            "data.batch_size=16",
            "data.num_workers=0",
            "data.cache_pixels=false",
            "trainer=cpu",
            "trainer.precision=32-true",
            f"trainer.max_steps={steps}",
            "trainer.val_check_interval=20",
            "optimizer.lr=0.003",
            "scheduler=constant",
            "logger=none",
        ]
        quoted = ", ".join('"' + word.replace('"', '\\"') + '"' for word in training)
        return [
            f"registry={models}",
            f"day={day}",
            f"headlines={place / 'none'}",
            f"real={place / 'real'}",
            f"fixed={place / 'fixed'}",
            f"training=[{quoted}]",
            "rendering=[max_label_length=8,synthesis.fonts=bundled,synthesis.processes=1]",
            "shares.real=0.6",
            "shares.new=0.1",
            "metric=cer",
            "most_lost=1.0",
            *more,
        ]

    return words


@pytest.fixture
def start():
    """Starts ``hanline update`` in a process."""

    def begin(words, **how):
        return subprocess.Popen(
            [sys.executable, "-m", "hanline.commands.update", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **how,
        )

    return begin
