"""The commands: each file of ``hanline.commands``, and those of other installed packages.

A file there is a command if its docstring begins with the command's name and description::

    ``hanline pack``: packs images and their labels into an LMDB dataset.

The file has a function ``main`` without arguments. Its keys are in ``conf/<name>.yaml``. Another
package adds a command by an entry point, whose value is such a function::

    [project.entry-points."hanline.commands"]
    translate = "my_package.translate:main"
"""

import ast
import importlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hanline.plugins import load_plugins, plugin_names

# Not by an import: the commands import the command line.
_FOLDER = Path(__file__).parents[1] / "commands"
DOCSTRING = re.compile(r"``hanline ([a-z][a-z-]*)``: (.+?)(?:\n\n|$)", re.DOTALL)


def names() -> list[str]:
    """Return the names of all commands. Nothing is imported."""
    return sorted({*_own(), *plugin_names("commands")})


def describe(name: str) -> str:
    """Return the description of a command in one line.

    Raises:
        HanlineError: the command is of another package, and cannot be imported.
    """
    if name in _own():
        return _own()[name][1]
    module = importlib.import_module(command(name).__module__)
    docstring = (module.__doc__ or "").strip()
    matched = DOCSTRING.match(docstring)
    return _one_line(matched[2]) if matched else docstring.partition("\n")[0]


def command(name: str) -> Callable[[], Any]:
    """Import a command and return its function.

    Raises:
        HanlineError: the command is of another package, and cannot be imported.
    """
    if name in _own():
        module = importlib.import_module(f"hanline.commands.{_own()[name][0]}")
        main: Callable[[], Any] = module.main
        return main
    return load_plugins("commands")[name]


@cache
def _own() -> dict[str, tuple[str, str]]:
    """Return the module and the description of each of Hanline's own commands."""
    found = {}
    for file in sorted(_FOLDER.glob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        matched = DOCSTRING.match(docstring)
        if matched:
            found[matched[1]] = (file.stem, _one_line(matched[2]))
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())
