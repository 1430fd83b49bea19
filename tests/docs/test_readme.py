"""The READMEs: every command in them is one that Hanline takes, and both have the same ones."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hanline.cli import commands
from hanline.cli.config_check import check_config
from hanline.configs import CONF

ROOT = Path(__file__).parents[2]
READMES = ["README.md", "README.ko.md"]
BLOCK = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The word preview, which synthesize takes for a key.
WORDS = {"preview": "output_format=preview"}


def blocks(readme):
    return BLOCK.findall((ROOT / readme).read_text(encoding="utf-8"))


def command_lines(readme):
    """The command lines of the blocks, and those of the table, whose keys are train's."""
    lines = [line for block in blocks(readme) for line in block.splitlines()]
    text = (ROOT / readme).read_text(encoding="utf-8")
    cells = re.findall(r"^\| [^|]+ \| (.+) \|$", text, re.MULTILINE)
    lines += [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]
    return [line if "hanline" in line else f"hanline train {line}" for line in lines if taken(line)]


def taken(line):
    return re.match(r"hanline \w+ \S", line) or re.match(r"[\w.@/]+=", line)


@pytest.mark.parametrize("readme", READMES)
def test_every_command_is_taken(readme):
    lines = command_lines(readme)
    assert len(lines) >= 20
    for line in lines:
        name, *words = shlex.split(line)[1:]
        own = CONF / f"{name}.yaml"
        if "--help" in words:
            assert own.is_file()
            continue
        overrides = [
            # Of a sweep, the first value.
            word.partition(",")[0] if "-m" in words and "[" not in word else WORDS.get(word, word)
            for word in words
            if word != "-m" and not word.startswith("hydra.")
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            given = ["run_dir=run"] if name == "train" else []
            config = compose(name, [*overrides, *given])
        for key in OmegaConf.missing_keys(config):
            OmegaConf.update(config, key, ["given"] if key == "corpus.files" else "given")
        settings = importlib.import_module(commands.command(name).__module__).Settings
        check_config(config, own, settings)


def test_both_have_the_same_commands_and_pictures():
    english, korean = [
        [re.sub(r"\s*#.*", "", block, flags=re.MULTILINE) for block in blocks(readme)]
        for readme in READMES
    ]
    assert english == korean
    pictures = [
        re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / name).read_text("utf-8")) for name in READMES
    ]
    # A picture of a page may show the page in the reader's language.
    assert pictures[0] == [picture.replace("_ko.", ".") for picture in pictures[1]]
    assert all((ROOT / picture).is_file() for picture in pictures[0] + pictures[1])
