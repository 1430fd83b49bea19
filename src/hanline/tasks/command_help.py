"""The help of a command: how it is called, and the documented config files themselves."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def print_help(conf: Path, name: str) -> None:
    """Print a command's help, out of the files that its configuration is composed of."""
    own_file = conf / f"{name}.yaml"
    own = own_file.read_text(encoding="utf-8")
    title, _, body = own.partition("\n\n")
    print(title.removeprefix("# "))
    print(f"\nUsage: hanline {name} [key=value …] [group=choice …]")
    print("       Values that Hydra should sweep over: add -m and separate them by commas.\n")
    defaults: Any = OmegaConf.to_container(OmegaConf.load(own_file)).get("defaults", [])  # type: ignore[union-attr]
    groups = {k: v for entry in defaults if isinstance(entry, dict) for k, v in entry.items()}
    if groups:
        print("Groups and their choices, * being the one that is taken by itself:\n")
        for group, chosen in groups.items():
            _print_group(conf, group, chosen)
    print("Keys of the command itself:\n")
    keys = body.partition("\nhydra:")[0]
    if "defaults:" in keys:
        keys = keys.partition("\n\n")[2]
    print(_indented(keys))
    for group, chosen in groups.items():
        for file in _files(conf, group, chosen):
            shown = file.relative_to(conf).with_suffix("").as_posix()
            print(f"Keys of {shown}, each below {group}.:\n")
            print(_indented(file.read_text(encoding="utf-8")))
    print("--hydra-help tells of Hydra's own flags, --cfg job prints the composed configuration.")


def _print_group(conf: Path, group: str, chosen: str | None) -> None:
    files = sorted((conf / group).glob("*.yaml"))
    print(f"  {group}")
    for file in files:
        mark = "*" if file.stem == chosen else " "
        first_line = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        if first_line.startswith("@package"):
            first_line = file.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
        print(f"   {mark} {file.stem:24s} {first_line}")
    for folder in sorted(path for path in (conf / group).glob("*") if path.is_dir()):
        choices = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        print(f"    {group}/{folder.name}: {choices}")
    print()


def _files(conf: Path, group: str, chosen: str | None) -> list[Path]:
    """The file of a group's choice, then those of the groups inside that it chooses."""
    if chosen is None:
        return []
    file = conf / group / f"{chosen}.yaml"
    found = [file]
    defaults: Any = OmegaConf.to_container(OmegaConf.load(file)).get("defaults", [])  # type: ignore[union-attr]
    for entry in defaults:
        if isinstance(entry, dict):
            for inner, choice in entry.items():
                found += _files(conf, f"{group}/{inner.removeprefix('override ')}", choice)
        elif entry != "_self_":
            found += _files(conf, group, entry)
    return found


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.strip().splitlines()) + "\n"
