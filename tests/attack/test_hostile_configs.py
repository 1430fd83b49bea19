"""Forged and damaged configurations of runs, which a resumption reads."""

import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support.attack import chance, mutated
from support.forged import edited

from hanline.cli.config_check import check_config
from hanline.commands.train import Settings
from hanline.configs import CONF, command_file
from hanline.trusted_targets import check_targets, read_config

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child is forked, to die alone")
TARGETS = ["os.system", "subprocess.Popen", "builtins.exec", "torch.load", "pathlib.Path.touch"]


@pytest.mark.parametrize("count", [20, pytest.param(300, marks=pytest.mark.attack)])
def test_a_forged_configuration_is_refused_or_builds_only_parts_of_hanline(
    count, tmp_path, monkeypatch, tally
):
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", ["experiment=lines", "run_dir=run", "trainer.max_steps=1"])
    settings = OmegaConf.to_container(composed, resolve=True)
    text = yaml.safe_dump(settings, allow_unicode=True)
    rng = chance("config.yaml")
    file = tmp_path / "config.yaml"

    def forged(number):
        if number % 3 == 0:
            return mutated(text.encode(), rng)
        if number % 3 == 1:
            return yaml.safe_dump(edited(settings, rng)).encode()
        targets = [place for place in range(len(text)) if text.startswith("_target_: ", place)]
        at = rng.choice(targets) + len("_target_: ")
        return (text[:at] + rng.choice(TARGETS) + text[text.index("\n", at) :]).encode()

    def resume(content):
        file.write_bytes(content)
        config = read_config(file)
        check_targets(config, file, Path("run"), {})
        checked = OmegaConf.create(config)
        check_config(checked, command_file("train"), Settings)
        for part in ("charset", "optimizer", "scheduler", "callbacks"):
            instantiate(checked[part])

    given = [(number, forged(number)) for number in range(count)]
    with tally("config.yaml of runs") as attempts:
        attempts.in_child(resume, given, writable=tmp_path)
