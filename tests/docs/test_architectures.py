"""docs/architectures.md: its presets, and their parameters."""

import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from hanline.cli.hydra_app import CONF, plain
from hanline.cli.model_presets import PAPERS
from hanline.models.recognizer import Recognizer

PAGE = (Path(__file__).parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8")
COUNTS = dict(re.findall(r"^\| `(\w+)` \|[^|]+\| ([\d,]+) \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", COUNTS)
def test_a_preset_has_the_parameters_of_the_table(name):
    assert name in PAPERS
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"model={name}", "image.width=128", "image.channels=3"])
    charset = "".join(chr(0x4E00 + i) for i in range(94))
    with torch.device("meta"):
        recognizer = Recognizer(
            **plain(config.model), charset=charset, image=plain(config.image), max_label_length=25
        )
    count = sum(parameter.numel() for parameter in recognizer.parameters())
    assert f"{count:,}" == COUNTS[name]
