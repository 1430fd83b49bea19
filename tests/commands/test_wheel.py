"""The wheel: what is in it, and that it works where there is no checkout."""

import subprocess
import sys
import zipfile

import pytest

from hanline.cli.hydra_app import CONF

ROOT = CONF.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"]
    made = subprocess.run(
        # Without isolation nothing is downloaded: the build backend is in [dev].
        [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (file,) = folder.glob("hanline-*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    wheel.extractall(folder)
    # A mark by which this copy's help is told from the checkout's.
    title = folder / "hanline" / "commands" / "train.py"
    text = title.read_text(encoding="utf-8")
    title.write_text(text.replace(": train a recognizer.", ": is unpacked.", 1), encoding="utf-8")
    return folder


def test_all_that_is_needed_is_in_it(wheel):
    names = set(wheel.namelist())
    source = ROOT / "src"
    for kind in ("*.py", "*.txt"):
        for path in (source / "hanline").rglob(kind):
            assert path.relative_to(source).as_posix() in names
    for path in CONF.rglob("*.yaml"):
        assert f"hanline/conf/{path.relative_to(CONF).as_posix()}" in names
    assert {"hanline/text/charsets/korean.txt", "hanline/text/corpora/headlines.txt"} <= names
    assert "hanline/py.typed" in names


def test_nothing_else_is_in_it(wheel):
    rooms = {name.split("/")[0] for name in wheel.namelist()}
    assert len(rooms) == 2
    assert "hanline" in rooms
    own = {name for name in wheel.namelist() if name.startswith("hanline/")}
    weights = {name for name in own if name.startswith("hanline/pretrained/")}
    assert {name.rpartition("/")[2] for name in weights} == {
        "__init__.py",
        "model_registry.py",
        "headline.safetensors",
        "headline.json",
        "headline.safetensors.md",
    }
    assert {name.rpartition(".")[2] for name in own - weights} == {
        "py",
        "yaml",
        "txt",
        "typed",
        "css",
        "html",
        "js",
    }


def test_it_has_the_command_and_the_licence(wheel):
    names = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
    assert "hanline = hanline.cli.main:main" in wheel.read(names["entry_points.txt"]).decode()
    assert "licenses/LICENSE" in names


def test_it_works_in_an_empty_folder(unpacked, process, tmp_path):
    cli = ["-m", "hanline.cli.main"]
    shown = process(*cli, "train", "--help", PYTHONPATH=str(unpacked))
    assert shown.status == 0, shown.err
    assert shown.out.startswith("hanline train: is unpacked.\n")
    assert "none_vgg_bilstm_ctc" in shown.out
    assert not list(tmp_path.iterdir())

    drawn = process(
        *cli,
        "synthesize",
        "output=drawn",
        "samples=3",
        "synthesis.fonts=bundled",
        "synthesis.processes=1",
        PYTHONPATH=str(unpacked),
    )
    assert drawn.status == 0, drawn.err
    gt = (tmp_path / "drawn" / "gt.txt").read_text(encoding="utf-8").splitlines()
    assert len(gt) == 3
    assert all((tmp_path / "drawn" / line.split("\t")[0]).is_file() for line in gt)
