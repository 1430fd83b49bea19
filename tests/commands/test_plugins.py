"""A package of someone else adds its configs, a stage and a command by entry points."""

import os
from pathlib import Path

import pytest

import hanline

BACKBONE = '''
from torch import Tensor, nn

from hanline.models.stage import Stage


class Pooled(Stage):
    """Averages 8×4 pixels to one feature."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.layer = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(self.layer(images), (8, 4)).mean(2).transpose(1, 2)
'''
COMMAND = '''"""``hanline count``: counts the characters of a text."""

from dataclasses import dataclass

from hanline.cli.hydra_app import run


@dataclass
class Settings:
    text: str
    twice: bool


def main() -> None:
    run("count", Settings, lambda config: print(len(config.text) * (1 + config.twice)))
'''
FILES = {
    "their_ocr/__init__.py": "",
    "their_ocr/backbone.py": BACKBONE,
    "their_ocr/count.py": COMMAND,
    "their_ocr/conf/__init__.py": "",
    "their_ocr/conf/count.yaml": (
        "# The settings of `hanline count`.\n\ndefaults:\n  - _self_\n  - hydra/command\n\n"
        "# The text.\ntext: ???\n# Counts each character twice.\ntwice: false\n"
    ),
    "their_ocr/conf/model/feature_extraction/pooled.yaml": (
        "# Averages of pixels.\n_target_: their_ocr.backbone.Pooled\n"
        "# The width of the features.\nout_channels: 16\n"
    ),
    # The same name as one of Hanline's own.
    "their_ocr/conf/optimizer/adamw.yaml": "# Another.\n_target_: their_ocr.nothing\n",
    "their_ocr-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: their-ocr\nVersion: 1.0\n",
    "their_ocr-1.0.dist-info/entry_points.txt": (
        "[hanline.configs]\ntheirs = their_ocr.conf\n\n"
        "[hanline.commands]\ncount = their_ocr.count:main\n\n"
        "[hanline.stages]\npooled = their_ocr.backbone:Pooled\n"
    ),
}


@pytest.fixture
def installed(process, tmp_path_factory):
    """Runs ``hanline`` in a process that has the package ``their_ocr`` installed."""
    installed = tmp_path_factory.mktemp("site-packages")
    for name, text in FILES.items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text(text, encoding="utf-8")

    path = os.pathsep.join([str(installed), str(Path(hanline.__file__).parents[1])])
    return lambda *arguments: process("-m", "hanline.cli.main", *arguments, PYTHONPATH=path)


def test_its_backbone_is_a_choice_and_has_presets(installed):
    shown = installed("train", "--help")
    assert shown.status == 0, shown.err
    assert "     pooled                   Averages of pixels." in shown.out
    composed = installed("train", "model=none_pooled_bilstm_ctc", "optimizer=adamw", "--cfg", "job")
    assert composed.status == 0, composed.err
    assert "_target_: their_ocr.backbone.Pooled" in composed.out
    # Of two files of one name, Hanline's own is taken.
    assert "their_ocr.nothing" not in composed.out
    refused = installed("train", "model/feature_extraction=poled")
    assert refused.status == 1
    assert "did you mean pooled?" in refused.err


def test_its_command_is_listed_and_runs(installed, tmp_path):
    listed = installed("--help")
    rows = [line.split(maxsplit=1) for line in listed.out.splitlines()]
    assert ["count", "counts the characters of a text."] in rows
    assert installed("count", "text=뉴스 속보").out == "5\n"
    assert not list(tmp_path.iterdir())
    shown = installed("count", "--help")
    assert shown.out.startswith("hanline count: counts the characters of a text.\n")
    assert "    # Counts each character twice.\n    twice: false\n" in shown.out
    refused = installed("count", "text=a", "twise=true")
    assert refused.status == 1
    assert "'twise': expected a key of this command (did you mean twice?)" in refused.err
