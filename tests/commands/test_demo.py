"""The demo: the Makefile and the READMEs have the same commands, and its words are unseen."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from hanline.cli.hydra_app import CONF

ROOT = Path(__file__).parents[2]
DEMO = "demo_output"


def commands(file):
    """The commands of a file that read or write the demo's folder."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"\s*(?:\$\(BIN\)/)?(hanline \w+ .*)", line) for line in lines]
    return [match[1] for match in found if match and DEMO in match[1]]


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_a_readme_has_the_makefiles_commands(readme):
    assert len(commands(readme)) >= 3
    assert set(commands(readme)) <= set(commands("Makefile"))


def composed(line):
    name, *arguments = shlex.split(line)[1:]
    overrides = [word for word in arguments if not word.startswith("hydra.")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, [*overrides, *(["run_dir=x"] if name == "train" else [])])


def test_the_words_that_the_demo_reads_are_not_in_its_training():
    lines = {line.split()[1]: line for line in commands("Makefile")}
    trained = composed(lines["train"])
    rendered = composed(lines["synthesize"])
    charset = instantiate(trained.charset)
    words = [
        instantiate(config.corpus).texts(charset.covers, lambda word: True, train, validation)
        for config, train, validation in ((trained, 100, 100), (rendered, 100, 100))
    ]
    seen = words[0].train_words
    unseen = [word for text in words[1].validation for word in text.split()]
    assert seen and unseen
    assert not {*unseen} & {*seen}


def test_make_clean_removes_what_is_rendered():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nclean:")[2]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for data in ("synthetic", "online"):
            config = compose("train", [f"data={data}", "run_dir=x"])
            assert config.data.rendered_dir in recipe.split()
