"""`--help` of every command tells of every key and choice; `hanline` tells of the commands."""

import re
import textwrap
from pathlib import Path

import pytest

import hanline.commands
from hanline import __version__
from hanline.cli import commands
from hanline.cli import main as cli
from hanline.cli.command_help import print_help
from hanline.cli.model_presets import PAPERS
from hanline.configs import CONF, STAGES, command_groups, flat, group_files, group_of, load, package

# from-dtrb takes the options of DTRB, and has no settings of its own.
COMMANDS = [name for name in commands.names() if (CONF / f"{name}.yaml").is_file()]


@pytest.fixture(scope="module", params=COMMANDS)
def name(request):
    return request.param


@pytest.fixture
def shown(name, capsys):
    print_help(name)
    return capsys.readouterr().out


def files(name):
    return [
        file
        for group in command_groups(CONF / f"{name}.yaml")
        for file in group_files(group)
        if not file.stem.startswith("_")
    ]


def comment_above(text, key):
    """The comment block above the first line of a key, as lines."""
    found = re.search(rf"((?:^ *#.*\n)+)^ *{re.escape(key)}:", text, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []


def test_every_key_of_the_command_is_there_with_its_comment(name, shown):
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8").partition("\nhydra:")[0]
    keys = [key for key in flat("", load(CONF / f"{name}.yaml")) if not key.startswith("hydra")]
    assert keys
    for key in keys:
        last = key.rpartition(".")[2]
        assert re.search(rf"^ +{last}:", shown, re.MULTILINE), key
        for line in comment_above(text.partition("\n\n")[2], last):
            assert line in shown


def test_every_choice_is_there_with_what_it_is(name, shown):
    listed = shown.partition("Keys of the command itself")[0]
    in_one_line = " ".join(listed.split())
    for file in files(name):
        group = group_of(file)
        assert re.search(rf"^  {group}$", listed, re.MULTILINE)
        head = re.match(r"(?:# @package.*\n)?((?:#.*\n)+)", file.read_text(encoding="utf-8"))
        said = " ".join(line.removeprefix("#").strip() for line in head[1].splitlines())
        assert re.search(rf"(^|\W){file.stem} +{re.escape(said)}", in_one_line)


def test_the_choices_that_are_taken_are_marked(name, shown):
    for group, choice in command_groups(CONF / f"{name}.yaml").items():
        if not group_files(group):
            continue  # A group that each user fills, as local.
        part = shown.partition(f"\n  {group}\n")[2].partition("\n\n")[0]
        assert re.findall(r"^   \* (\S+)", part, re.MULTILINE) == ([choice] if choice else [])


def test_the_choices_inside_a_choice_are_marked(capsys):
    print_help("train")
    listed = capsys.readouterr().out
    for group, choice in {
        "model/transformation": "none",
        "model/feature_extraction": "vgg",
        "model/sequence_modeling": "bilstm",
        "model/prediction": "ctc",
        "renderer": "broadcast",
    }.items():
        part = listed.partition(f"\n  {group}\n")[2].partition("\n\n")[0]
        assert re.findall(r"^   \* (\S+)", part, re.MULTILINE) == [choice]


def test_every_key_of_every_choice_is_there(name, shown):
    headed = re.split(r"^Keys of ", shown, flags=re.MULTILINE)[1:]
    for file in files(name):
        place = package(file)
        below = f", each below {place}.:" if place else ":"
        parts = [part for part in headed if part.partition("\n")[0].endswith(below)]
        for key in flat("", load(file)):
            last = key.rpartition(".")[2]
            found = [part for part in parts if re.search(rf"^ +{last}:", part, re.MULTILINE)]
            assert found or not place, f"{place}.{key}"


def test_a_file_that_is_shown_is_shown_whole(capsys):
    print_help("train")
    shown = capsys.readouterr().out
    for file in ("trainer/default.yaml", "optimizer/adadelta.yaml", "model/prediction/attn.yaml"):
        assert textwrap.indent((CONF / file).read_text(encoding="utf-8").strip(), "    ") in shown


def test_help_is_printed_by_the_command_itself(command):
    for flag in ("--help", "-h"):
        ended = command("predict", flag)
        assert ended.status == 0
        assert ended.out.startswith(f"hanline predict: {commands.describe('predict')}\n")
        assert "    input: ???\n" in ended.out


def run_hanline(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["hanline", *arguments])
    cli.main()
    return capsys.readouterr().out


def test_hanline_lists_its_commands(monkeypatch, capsys):
    listed = run_hanline(monkeypatch, capsys)
    for command in commands.names():
        assert re.search(rf"^  {command} +{re.escape(commands.describe(command))}$", listed, re.M)
    assert run_hanline(monkeypatch, capsys, "--help") == listed
    assert run_hanline(monkeypatch, capsys, "--version") == f"hanline {__version__}\n"


@pytest.mark.parametrize(
    "misspelt, meant",
    [("trian", "train"), ("pak", "pack"), ("evalute", "evaluate"), ("sythesize", "synthesize")],
)
def test_a_misspelt_command_is_told_the_nearest(misspelt, meant, monkeypatch, capsys):
    with pytest.raises(
        SystemExit, match=rf"{misspelt}.*did you mean {meant}\?.*there are: audit, calibrate,"
    ):
        run_hanline(monkeypatch, capsys, misspelt)


def test_a_strange_command_is_told_all(monkeypatch, capsys):
    with pytest.raises(
        SystemExit, match=r"no command 'xyz'; there are: audit, calibrate, evaluate"
    ):
        run_hanline(monkeypatch, capsys, "xyz")


def test_every_file_with_a_main_function_is_a_command():
    folder = Path(hanline.commands.__file__).parent
    with_main = [
        file.stem
        for file in folder.glob("*.py")
        if re.search(r"^def main\(", file.read_text(encoding="utf-8"), re.M)
    ]
    assert sorted(module for module, _ in commands._own().values()) == sorted(with_main)
    for name in commands.names():
        assert callable(commands.command(name))


def test_every_yaml_at_the_top_is_a_commands():
    assert {file.stem for file in CONF.glob("*.yaml")} <= {*commands.names()}


def test_only_one_file_edits_the_arguments_of_the_process():
    source = Path(hanline.__file__).parent
    edits = re.compile(r"sys\.argv(\[[^]]*\])? *\+?= |del sys\.argv|sys\.argv\.(pop|insert|append)")
    editing = [
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if edits.search(file.read_text(encoding="utf-8"))
    ]
    assert editing == ["cli/command_line.py"]


def test_the_papers_are_listed_and_each_stage_is(capsys):
    print_help("train")
    listed = capsys.readouterr().out
    part = listed.partition("\n  model\n")[2].partition("\n\n")[0]
    for name, (paper, preset) in PAPERS.items():
        assert f"{name} {paper}: {preset}." in " ".join(part.split())
    assert "STAGES" in part
    assert all(f"\n  model/{stage}\n" in listed for stage in STAGES)
