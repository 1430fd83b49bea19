"""A package of someone else adds its configs, a stage and a command by entry points."""

import pytest

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
def hanline(process, tmp_path_factory):
    """Runs ``hanline`` in a process that has the package ``their_ocr`` installed."""
    installed = tmp_path_factory.mktemp("site-packages")
    for name, text in FILES.items():
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text(text, encoding="utf-8")

    def run(*arguments):
        return process("-m", "hanline.cli.main", *arguments, PYTHONPATH=path(installed))

    return run


def path(installed):
    import os
    from pathlib import Path

    import hanline

    source = Path(hanline.__file__).parents[1]
    return os.pathsep.join([str(installed), str(source)])


def test_its_backbone_is_a_choice_and_has_presets(hanline):
    shown = hanline("train", "--help")
    assert shown.status == 0, shown.err
    assert "     pooled                   Averages of pixels." in shown.out
    composed = hanline("train", "model=none_pooled_bilstm_ctc", "--cfg", "job")
    assert composed.status == 0, composed.err
    assert "_target_: their_ocr.backbone.Pooled" in composed.out
    refused = hanline("train", "model/feature_extraction=poled")
    assert refused.status == 1
    assert "did you mean pooled?" in refused.err
    refused = hanline("train", "model.feature_extraction.out_chanels=3", "model=none_pooled_none_ctc")
    assert "did you mean model.feature_extraction.out_channels" in refused.err


def test_its_files_do_not_replace_hanlines_own(hanline):
    composed = hanline("train", "optimizer=adamw", "--cfg", "job")
    assert composed.status == 0, composed.err
    assert "their_ocr.nothing" not in composed.out


def test_its_command_is_listed_and_runs(hanline, tmp_path):
    listed = hanline("--help")
    assert "  count       counts the characters of a text." in listed.out
    assert hanline("count", "text=뉴스 속보").out == "5\n"
    assert hanline("count", "text=뉴스", "twice=true").out == "4\n"
    assert not list(tmp_path.iterdir())
    shown = hanline("count", "--help")
    assert shown.out.startswith("hanline count: counts the characters of a text.\n")
    assert "    # Counts each character twice.\n    twice: false\n" in shown.out
    refused = hanline("count", "text=a", "twise=true")
    assert refused.status == 1
    assert "'twise': expected a key of this command (did you mean twice?)" in refused.err


def test_its_model_trains_in_a_sweep_of_several_processes(hanline, tmp_path):
    small = (
        *("synthesis.fonts=bundled", "synthesis.processes=1", "charset=corpus"),
        *("data.train_samples=8", "data.validation_samples=4", "data.batch_size=4"),
        *("data.num_workers=0", "trainer.max_steps=2", "trainer.accelerator=cpu"),
        *("model.sequence_modeling.hidden_size=8", "model.sequence_modeling.out_channels=8"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    )
    ended = hanline("train", "-m", "model=none_pooled_bilstm_ctc,none_compact_bilstm_ctc", *small)
    assert ended.status == 0, ended.err
    runs = sorted(folder.name for folder in tmp_path.glob("saved_models/sweep/*/[01]_*"))
    assert runs == ["0_none_pooled_bilstm_ctc", "1_none_compact_bilstm_ctc"]
    for folder in tmp_path.glob("saved_models/sweep/*/[01]_*"):
        assert (folder / "last.ckpt").is_file()
