"""The help of a command: how it is called, and the documented config files themselves."""

import textwrap
from itertools import takewhile
from pathlib import Path

from hanline.cli.config_check import flat, groups, load, package


def print_help(conf: Path, name: str) -> None:
    """Print a command's help, out of the files that its configuration is composed of."""
    own_file = conf / f"{name}.yaml"
    title, _, body = own_file.read_text(encoding="utf-8").partition("\n\n")
    chosen = _chosen(conf, groups(own_file))
    print(title.removeprefix("# "))
    print(f"\nUsage: hanline {name} [key=value …]{' [group=choice …]' if chosen else ''}")
    print("       Values that Hydra should sweep over: add -m and separate them by commas.\n")
    if chosen:
        print("Groups and their choices, * being the one that is taken by itself:\n")
        for group, choice in chosen.items():
            _print_group(conf / group, group, choice)
    print("Keys of the command itself:\n")
    keys = body.partition("\nhydra:")[0]
    if "defaults:" in keys:
        keys = keys.partition("\n\n")[2]
    print(textwrap.indent(keys.strip(), "    ") + "\n")
    shown = {*flat("", load(own_file))}
    for group, choice in chosen.items():
        for file in _files(conf / group, choice):
            place = package(conf, file)
            own_keys = {*flat(place, load(file))}
            if own_keys - shown:
                shown |= own_keys
                below = f", each below {place}." if place else ""
                print(f"Keys of {group}={file.stem}{below}:\n")
                print(textwrap.indent(file.read_text(encoding="utf-8").strip(), "    ") + "\n")
    print("--hydra-help tells of Hydra's own flags, --cfg job prints the composed configuration.")


def _chosen(conf: Path, defaults: dict[str, str | None]) -> dict[str, str | None]:
    """Every group, those inside others too, with the choice that is taken by itself."""
    chosen: dict[str, str | None] = {}
    for group, choice in defaults.items():
        inside = _inner_choices(conf, group, choice) if choice else {}
        chosen[group] = choice
        for folder in sorted(path for path in (conf / group).rglob("*") if path.is_dir()):
            inner = folder.relative_to(conf).as_posix()
            chosen[inner] = inside.get(inner)
    return chosen


def _inner_choices(conf: Path, group: str, choice: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in load(conf / group / f"{choice}.yaml").get("defaults", []):
        if isinstance(entry, dict):
            for inner, inner_choice in entry.items():
                found[f"{group}/{inner.removeprefix('override ')}"] = inner_choice
        elif entry != "_self_":
            found |= _inner_choices(conf, group, entry)
    return found


def _print_group(folder: Path, group: str, choice: str | None) -> None:
    print(f"  {group}")
    for file in sorted(folder.glob("*.yaml")):
        mark = "*" if file.stem == choice else " "
        print(
            textwrap.fill(
                _what_it_is(file),
                width=100,
                initial_indent=f"   {mark} {file.stem:24s} ",
                subsequent_indent=" " * 30,
            )
        )
    print()


def _what_it_is(file: Path) -> str:
    """The comment at the head of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    head = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line[2:] for line in head if not line.startswith("# @package"))


def _files(folder: Path, choice: str | None) -> list[Path]:
    """A group's files, the one first that is taken by itself."""
    return sorted(folder.glob("*.yaml"), key=lambda file: (file.stem != choice, file.stem))
