"""The help of a command: how it is called, and the documented config files themselves."""

import textwrap
from itertools import takewhile
from pathlib import Path

from hanline import configs
from hanline.cli.commands import describe
from hanline.cli.model_presets import PAPERS, STAGES_PRESET, stages_of


def print_help(name: str) -> None:
    """Print a command's help, taken from the files that its configuration is composed of."""
    own_file = configs.command_file(name)
    head, _, body = own_file.read_text(encoding="utf-8").partition("\n\n")
    chosen = _chosen(configs.command_groups(own_file))
    print(f"hanline {name}: {describe(name)}")
    # The first line only says whose file it is.
    print(_comment(head.partition("\n")[2]), end="\n" if "\n" in head else "")
    print(f"\nUsage: hanline {name} [key=value …]{' [group=choice …]' if chosen else ''}")
    print("       To sweep over several values, add -m and separate them by commas.\n")
    if chosen:
        print("Groups and their choices. * marks the default:\n")
        for group, choice in chosen.items():
            _print_group(group, choice)
    print("Keys of the command itself:\n")
    keys = body.partition("\nhydra:")[0]
    if "defaults:" in keys:
        keys = keys.partition("\n\n")[2]
    print(textwrap.indent(keys.strip(), "    ") + "\n")
    shown = {*configs.flat("", configs.load(own_file))}
    for group, choice in chosen.items():
        for file in _files(group, choice):
            place = configs.package(file)
            own_keys = {*configs.flat(place, configs.load(file))}
            if own_keys - shown:
                shown |= own_keys
                which = "of every" if file.stem.startswith("_") else "of"
                title = "…" if file.stem.startswith("_") else file.stem
                below = f", each below {place}." if place else ""
                print(f"Keys {which} {group}={title}{below}:\n")
                print(textwrap.indent(file.read_text(encoding="utf-8").strip(), "    ") + "\n")
    print("--hydra-help shows Hydra's own flags, --cfg job prints the composed configuration.")


def _chosen(defaults: dict[str, str | None]) -> dict[str, str | None]:
    """Return the default choice of each group that has files, groups inside others included."""
    chosen: dict[str, str | None] = {}
    for group, choice in defaults.items():
        inside = _inner_choices(group, choice) if choice else {}
        if configs.group_files(group):
            chosen[group] = choice if choice in _choices(group) or group == "model" else None
        for inner in configs.all_groups(group):
            chosen[inner] = inside.get(inner)
    return chosen


def _choices(group: str) -> dict[str, str]:
    """Return what each choice of a group is, by its name."""
    found = {
        name: _comment(file.read_text(encoding="utf-8"))
        for name, file in configs.choices(group).items()
    }
    if group == "model":
        found |= {name: f"{paper}: {preset}." for name, (paper, preset) in PAPERS.items()}
    return found


def _inner_choices(group: str, choice: str) -> dict[str, str]:
    if group == "model":
        return {f"model/{stage}": name for stage, name in stages_of(choice).items()}
    found: dict[str, str] = {}
    file = configs.choices(group).get(choice)
    for entry in configs.load(file).get("defaults", []) if file else []:
        if isinstance(entry, dict):
            for inner, inner_choice in entry.items():
                found[f"{group}/{inner.removeprefix('override ')}"] = inner_choice
        elif entry != "_self_":
            found |= _inner_choices(group, entry)
    return found


def _print_group(group: str, choice: str | None) -> None:
    print(f"  {group}")
    described = dict(sorted(_choices(group).items()))
    if group == "model":
        described[STAGES_PRESET] = (
            "Choices of the four groups below, joined by _, as in tps_resnet_bilstm_attn."
        )
        if choice and choice not in described:
            described[choice] = "The default, named by its stages."
    for name, text in described.items():
        print(
            textwrap.fill(
                text,
                width=100,
                initial_indent=f"   {'*' if name == choice else ' '} {name:24s} ",
                subsequent_indent=" " * 30,
            )
        )
    print()


def _comment(text: str) -> str:
    """Return the comment at the head of a file as one line."""
    head = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line[2:] for line in head if not line.startswith("# @package"))


def _files(group: str, choice: str | None) -> list[Path]:
    """Return a group's files: those of every choice first, then the default, then the others."""
    files = [file for file in configs.group_files(group) if configs.group_of(file) == group]
    return sorted(files, key=lambda file: (not file.stem.startswith("_"), file.stem != choice))
