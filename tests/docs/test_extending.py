"""docs/extending.md: its files, installed as a package, and its commands, run as they are there."""

import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import hanline

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def walks():
    """The sections of the page by their titles."""
    parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(section):
    return [line for block in COMMANDS.findall(section) for line in block.splitlines()]


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory):
    """A folder with the package of the page, as pip lays it out."""
    folder = tmp_path_factory.mktemp("site-packages")
    points: dict[str, dict[str, str]] = {}
    for name, content in FILE.findall(PAGE.read_text(encoding="utf-8")):
        if name == "pyproject.toml":
            groups = tomllib.loads(content)["project"]["entry-points"]
            for group, entries in groups.items():
                points.setdefault(group, {}).update(entries)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
    info = folder / "my_ocr-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-ocr\nVersion: 1.0\n", "utf-8")
    lines = [
        line
        for group, entries in points.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture
def run(process, site_packages):
    """Runs a command line of the page where the package is installed."""
    path = os.pathsep.join([str(site_packages), str(Path(hanline.__file__).parents[1])])

    def run(line):
        name, *arguments = shlex.split(line)
        assert name == "hanline"
        ended = process("-m", "hanline.cli.main", *arguments, PYTHONPATH=path)
        assert ended.status == 0, ended.err
        return ended.out + ended.err

    return run


def test_every_part_has_a_walk():
    assert [title.split()[-1] for title in walks()] == [
        "backbone",
        "renderer",
        "format",
        "metric",
        "callback",
        "command",
    ]
    assert all(commands(section) for section in walks().values())


def test_a_backbone_and_a_callback_of_another_package_train(run):
    (line,) = commands(walks()["A backbone"])
    assert "Tiny" in run(line)
    (line,) = commands(walks()["A callback"])
    assert "step 0: gradient norm" in run(line)


def test_a_renderer_a_format_a_metric_and_a_command_of_another_package_work_together(run, tmp_path):
    results = {
        title: [run(line) for line in commands(text)]
        for title, text in walks().items()
        if title not in ("A backbone", "A callback")
    }
    assert len(list((tmp_path / "plain" / "images").rglob("*.png"))) == 20
    assert "20 of 20" in results["A format"][1]
    assert (tmp_path / "model.npz").is_file()
    assert "word accuracy" in results["A metric"][0]
    counted = results["A command"][0].splitlines()
    assert len(counted) == 10
    assert counted[0].startswith("'0'\t")
