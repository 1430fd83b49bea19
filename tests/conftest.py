"""Fixtures that several folders use: a recognizer that reads ten words, commands, processes."""

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image, ImageDraw
from support.attack import pytest_runtest_logreport, pytest_terminal_summary, tally
from support.dtrb import HANGUL
from torch import nn

from hanline.cli import commands
from hanline.models.recognizer import Recognizer
from hanline.synthesis.fonts import Font, bundled_files
from hanline.training.module import RecognizerModule

ROOT = Path(__file__).parents[1]
WORDS = ["1", "2", "3", "10", "가나", "한글", "뉴스", "속보 1", "A", "美中"]

# The table of the attack, for every folder of tests.
__all__ = ["pytest_runtest_logreport", "pytest_terminal_summary", "tally"]

MakeRecognizer = Callable[..., Recognizer]

# Small tensors gain nothing from several threads, and pytest has as many processes as there are.
torch.set_num_threads(1)


# What makes a test slow: another process, a whole command, or the training of ``checkpoint``.
PROCESS_FIXTURES = {"process"}
SLOW_FIXTURES = PROCESS_FIXTURES | {"checkpoint", "hydra_apart"}


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark tests as ``process`` and ``slow`` by the fixtures that they use.

    ``make test-fast`` leaves out the slow ones. A test that is slow for another reason has the mark
    where it is written.
    """
    for item in items:
        if PROCESS_FIXTURES & {*item.fixturenames}:
            item.add_marker("process")
        if SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def words() -> list[str]:
    """The words that the recogniser of ``checkpoint`` has learnt."""
    return WORDS


@pytest.fixture(scope="session")
def picture() -> Callable[[str], Image.Image]:
    """A grey picture of a word, 96×32, as ``checkpoint`` has learnt it."""
    font = next(Font(p) for p in bundled_files() if p.name.startswith("NotoSans")).load(24)

    def draw(word: str) -> Image.Image:
        image = Image.new("L", (96, 32), 255)
        ImageDraw.Draw(image).text((4, -2), word, 0, font)
        return image

    return draw


@pytest.fixture(scope="session")
def make_recognizer() -> MakeRecognizer:
    """Builds a small recognizer of the given stages, with the same first weights each time."""

    def make(
        transformation: str = "none",
        feature_extraction: str = "compact",
        sequence_modeling: str = "none",
        prediction: str = "ctc",
        charset: str = "".join(sorted(set("".join(WORDS)))),
        width: int = 32,
        image: tuple[int, int | None, int] = (32, 96, 1),
        max_label_length: int = 8,
    ) -> Recognizer:
        stages = {
            "none": {"_target_": "transformation.none.NoTransformation"},
            "tps": {"_target_": "transformation.tps.TPS", "num_fiducial": 8},
            "compact": {
                "_target_": "feature_extraction.compact.Compact",
                "channels": [8, 16, width, width],
                "blocks": [0, 0, 1],
            },
            "vgg": {"_target_": "feature_extraction.vgg.VGG", "out_channels": width},
            "rcnn": {
                "_target_": "feature_extraction.rcnn.RCNN",
                "out_channels": width,
                "iterations": 2,
            },
            "resnet": {"_target_": "feature_extraction.resnet.ResNet", "out_channels": width},
            "bilstm": {
                "_target_": "sequence_modeling.bilstm.BiLSTM",
                "hidden_size": width,
                "out_channels": width,
                "layers": 1,
            },
            "ctc": {"_target_": "prediction.ctc.CTCPrediction"},
            "attn": {"_target_": "prediction.attention.AttentionPrediction", "hidden_size": 16},
        }
        no_sequences = {"_target_": "sequence_modeling.none.NoSequenceModeling"}

        def stage(name: str) -> dict[str, Any]:
            chosen = stages[name] if name != "no sequences" else no_sequences
            return chosen | {"_target_": f"hanline.models.{chosen['_target_']}"}

        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Recognizer(
                transformation=stage(transformation),
                feature_extraction=stage(feature_extraction),
                sequence_modeling=stage(
                    "no sequences" if sequence_modeling == "none" else sequence_modeling
                ),
                prediction=stage(prediction),
                charset=charset,
                image={
                    "height": image[0],
                    "width": image[1],
                    "channels": image[2],
                    "keep_ratio": image[1] is None,
                },
                max_label_length=max_label_length,
            )

    return make


@pytest.fixture(scope="session")
def save_checkpoint() -> Callable[[Recognizer, Path], Path]:
    """Writes a recognizer as a run writes it."""

    def save(recognizer: Recognizer, path: Path) -> Path:
        module = RecognizerModule(recognizer, torch.optim.AdamW, lambda optimizer, steps: None)
        trainer = pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=path.parent,
        )
        trainer.strategy.connect(module)
        trainer.save_checkpoint(path)
        return path

    return save


@pytest.fixture(scope="session")
def checkpoint(
    make_recognizer: MakeRecognizer,
    save_checkpoint: Callable[[Recognizer, Path], Path],
    picture: Callable[[str], Image.Image],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A checkpoint of a CTC recognizer that reads the pictures of ten words.

    Its size and its characters are not those of the configuration.
    """
    recognizer = make_recognizer()
    grey = np.stack([np.asarray(picture(word)) for word in WORDS])
    # Black and white as well, so that no way to keep a picture is far from what it has seen.
    images = torch.from_numpy(np.concatenate([grey, (grey > 127) * np.uint8(255)])).unsqueeze(1)
    optimizer = torch.optim.AdamW(recognizer.parameters(), lr=5e-3)
    for _ in range(300):
        loss = recognizer.train().loss(images, 2 * WORDS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    texts, confidences = recognizer.eval().read(images)
    assert texts == 2 * WORDS
    assert min(confidences) > 0.5
    return save_checkpoint(recognizer, tmp_path_factory.mktemp("trained") / "best.ckpt")


@pytest.fixture(scope="session")
def images():
    """Makes B images, uint8 (B, C, H, W): waves and noise, each image other ones."""

    def make(count, channels, height, width):
        random = torch.Generator().manual_seed(5)
        x, y = torch.arange(width), torch.arange(height).unsqueeze(1)
        waves = [
            torch.sin(x * (0.05 + 0.02 * (i % 17)) + y * 0.1 * (i % 5) + i) for i in range(count)
        ]
        noise = torch.randn(count, channels, height, width, generator=random)
        pictures = 128 + 70 * torch.stack(waves).unsqueeze(1) + 20 * noise
        return pictures.clamp(0, 255).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def recognizer_of(images):
    """Builds a recogniser of one of the 24, its normalisations set as if it had been trained."""

    def make(
        case,
        charset=HANGUL,
        image=(32, 48, 1),
        keep_ratio=False,
        layers=2,
        iterations=5,
        hidden=16,
    ):
        transformation, feature_extraction, sequence_modeling, prediction = case.split("-")
        package = "hanline.models"
        with torch.random.fork_rng():
            torch.manual_seed(3)
            recognizer = Recognizer(
                transformation={"_target_": f"{package}.transformation.tps.TPS", "num_fiducial": 8}
                if transformation == "TPS"
                else {"_target_": f"{package}.transformation.none.NoTransformation"},
                feature_extraction={
                    "_target_": f"{package}.feature_extraction.{feature_extraction.lower()}."
                    f"{feature_extraction}",
                    "out_channels": 32,
                }
                | ({"iterations": iterations} if feature_extraction == "RCNN" else {}),
                sequence_modeling={
                    "_target_": f"{package}.sequence_modeling.bilstm.BiLSTM",
                    "hidden_size": hidden,
                    "out_channels": hidden,
                    "layers": layers,
                }
                if sequence_modeling == "BiLSTM"
                else {"_target_": f"{package}.sequence_modeling.none.NoSequenceModeling"},
                prediction={"_target_": f"{package}.prediction.ctc.CTCPrediction"}
                if prediction == "CTC"
                else {
                    "_target_": f"{package}.prediction.attention.AttentionPrediction",
                    "hidden_size": hidden,
                },
                charset=charset,
                image=dict(zip(("height", "width", "channels"), image, strict=True))
                | {"keep_ratio": keep_ratio},
                max_label_length=7,
            )
            for name, parameter in recognizer.named_parameters():
                if name.startswith(("sequence_modeling", "prediction")) and parameter.dim() > 1:
                    parameter.data *= 3
            for module in recognizer.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None  # One batch's own figures, at once.
            with torch.no_grad():
                recognizer.train().features(images(16, image[2], image[0], image[1] or 96))
        return recognizer.eval()

    return make


@pytest.fixture
def folder(words, picture, tmp_path):
    """Pictures of ten words, with their gt.txt."""
    place = tmp_path / "pictures"
    place.mkdir()
    for i, word in enumerate(words):
        picture(word).save(place / f"{i}.png")
    lines = [f"{i}.png\t{word}\n" for i, word in enumerate(words)]
    (place / "gt.txt").write_text("".join(lines), encoding="utf-8")
    return place


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def hydra_apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets a Hydra application run in this process, which is left as it was."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    # Hydra sets up logging and keeps the configuration of the last run.
    root.handlers[:], root.level = handlers, level
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    hydra_apart: None,
) -> Any:
    """Runs ``hanline NAME …`` in this process, in an empty folder; a defect is raised here.

    NAME is a command, or the file of one.
    """
    monkeypatch.chdir(tmp_path)

    def main(name: str) -> None:
        if name in commands.names():
            commands.command(name)()
        else:
            importlib.import_module(f"hanline.commands.{name}").main()

    def run(name: str, *arguments: str) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["hanline", *arguments])
        status = 0
        try:
            main(name)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Any:
    """Runs Python in a process of its own, by default in an empty folder."""

    def run(*arguments: str | Path, cwd: Path = tmp_path, **environment: str) -> Ended:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run
