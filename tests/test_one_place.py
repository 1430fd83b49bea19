"""Each fact has one place: names of parts in their own files, and files that can be read whole."""

import ast
import re
import sys
from pathlib import Path

import pytest

import hanline
from hanline.configs import CONF, STAGES
from hanline.metrics.registry import metrics

SOURCE = Path(hanline.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 300
# The files that may have a part's name, and why.
ALLOWED = {
    "accuracy": {"commands/train.py"},  # what a run returns to a sweep
    "edit_similarity": {"formats/model_card.py"},  # its name in files of format 1 was another
    "loss": {  # Lightning's key for the loss of a step
        "training/module.py",
        "training/callbacks/finite_loss.py",
        "training/callbacks/log_train.py",
        "training/callbacks/progress.py",
    },
    "trdg": {"synthesis/fonts/places.py"},  # the package, whose fonts are used too
    "varied": {"cli/renamed.py"},  # it had another name
}
RENDERERS = sorted(path.stem for path in (CONF / "renderer").glob("[!_]*.yaml"))


def places_of(word):
    """The files of the library in which a text is exactly this word, but for the allowed."""
    return {
        file
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == word
    } - {SOURCE / file for file in ALLOWED.get(word, ())}


@pytest.mark.parametrize("name", metrics())
def test_a_metrics_name_is_in_its_own_file_only(name):
    own = Path(sys.modules[type(metrics()[name]).__module__].__file__)
    assert places_of(name) == {own}


@pytest.mark.parametrize("name", RENDERERS)
def test_a_renderers_name_is_in_no_python_file(name):
    assert not places_of(name)


def test_the_stages_are_listed_once():
    lists = [
        file
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Tuple | ast.List | ast.Set)
        and {getattr(item, "value", None) for item in node.elts} >= {*STAGES}
    ]
    assert lists == [SOURCE / "configs.py"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_a_file_of_more_than_300_lines_says_why(file):
    text = file.read_text(encoding="utf-8")
    if len(text.splitlines()) > LONGEST:
        docstring = ast.get_docstring(ast.parse(text)) or ""
        assert re.search(r"^Over 300 lines: .+\.$", docstring, re.MULTILINE)
