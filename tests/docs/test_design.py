"""docs/design.md: the table of packages, and the files that the longest way passes through."""

import ast
import re
from pathlib import Path

import pytest

import hanline

ROOT = Path(__file__).parents[2]
SOURCE = Path(hanline.__file__).parent
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", PAGE.partition("## Contracts")[0], re.M)
TABLE = {package: set(re.findall(r"`(\w+)`", imports)) for package, imports in ROWS}
PACKAGES = {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def imported(package):
    """The packages of Hanline that the files of a package import, wherever in the file."""
    modules = set()
    for file in (SOURCE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules |= {f"{node.module}.{name.name}" for name in node.names}
            elif isinstance(node, ast.Import):
                modules |= {name.name for name in node.names}
    own = {module.split(".")[1] for module in modules if module.startswith("hanline.")}
    return (own & PACKAGES) - {package}


def test_the_table_has_every_package():
    assert TABLE.keys() == PACKAGES


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_what_its_row_has(package):
    assert imported(package) == TABLE[package]


def test_a_package_imports_only_packages_above_it():
    order = list(TABLE)
    for package, imports in TABLE.items():
        assert imports <= set(order[: order.index(package)]), package


def test_the_files_of_the_longest_way_are_there_once():
    drawn = PAGE.partition("Now it has 7 stops")[2].split("```")[1]
    files = re.findall(r"(?:^|> )(\w+(?:/\w+)?)", drawn, re.M)
    assert len(files) == len(set(files)) == 7
    for file in files:
        assert (SOURCE / f"{file}.py").is_file() or (SOURCE / file / "__init__.py").is_file()
