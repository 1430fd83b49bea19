"""The config files: Hanline's own folder, then the folders of other installed packages.

A package adds its folder by an entry point, whose value is the folder as a Python package::

    [project.entry-points."hanline.configs"]
    my_package = "my_package.conf"

Hydra finds the files of that folder as if they were in ``conf``. If both have a file, ``conf`` has
precedence.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from hanline.errors import HanlineError
from hanline.plugins import plugin_names

PACKAGE = Path(__file__).parent
# A wheel has the configs inside the package. In a checkout they are beside src.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
# The four stages of a model, in order; each is a group below ``model``.
STAGES = ("transformation", "feature_extraction", "sequence_modeling", "prediction")
# Keys of a node that Hydra reads itself.
HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_"}


@cache
def folders() -> tuple[Path, ...]:
    """Return the config folders of this process, in the order of their precedence.

    Raises:
        HanlineError: an installed package names a folder that does not exist.
    """
    return (CONF, *(_folder(name, target) for name, target in plugin_names("configs").items()))


def command_file(name: str) -> Path:
    """Return the yaml of a command.

    Raises:
        HanlineError: no config folder has it.
    """
    for folder in folders():
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    searched = ", ".join(str(folder) for folder in folders())
    raise HanlineError(f"{name}.yaml: expected in one of {searched}. Add the file")


def choices(group: str) -> dict[str, Path]:
    """Return the files of a config group by their names, without those that begin with ``_``."""
    return {name: file for name, file in files(group).items() if not name.startswith("_")}


def group_files(group: str) -> list[Path]:
    """Return all files of a config group and of the groups inside it, ``_base`` files first."""
    own = sorted(files(group).items(), key=lambda item: (not item[0].startswith("_"), item[0]))
    inner = [file for name in inner_groups(group) for file in group_files(f"{group}/{name}")]
    return [file for _, file in own] + inner


def inner_groups(group: str = "") -> list[str]:
    """Return the names of the groups inside a group, or of all groups at the top."""
    found = {
        path.name
        for folder in folders()
        if (folder / group).is_dir()
        for path in (folder / group).iterdir()
        if path.is_dir() and any(path.rglob("*.yaml"))
    }
    return sorted(found)


def all_groups(group: str = "") -> Iterator[str]:
    """Yield the names of all groups below a group, with their paths, as in ``model/prediction``."""
    for name in inner_groups(group):
        path = f"{group}/{name}" if group else name
        yield path
        yield from all_groups(path)


def command_groups(own_file: Path) -> dict[str, str | None]:
    """Return the config groups that a command's yaml names in its defaults list.

    Returns:
        The choice of each group. A list of choices is its first one; None: nothing is chosen.
    """
    named: dict[str, str | None] = {}
    for entry in load(own_file).get("defaults", []):
        if not isinstance(entry, Mapping):
            continue
        for group, choice in entry.items():
            if not group.startswith("override "):
                first = choice[0] if isinstance(choice, list) else choice
                named[group.removeprefix("optional ")] = first
    return named


def group_of(file: Path) -> str:
    """Return the config group that a file belongs to, as in ``model/prediction``."""
    folder = next(folder for folder in folders() if file.is_relative_to(folder))
    return file.parent.relative_to(folder).as_posix()


def package(file: Path) -> str:
    """Return where in the configuration the keys of a group's file are, dotted; "" for its top."""
    first_line = file.read_text(encoding="utf-8").partition("\n")[0]
    if first_line == "# @package _global_":
        return ""
    return group_of(file).replace("/", ".")


def load(file: Path) -> dict[str, Any]:
    """Return the content of a yaml, without its interpolations being resolved."""
    return deepcopy(_loaded(file, file.stat().st_mtime_ns))


def flat(path: str, node: Any) -> Iterable[str]:
    """Yield the dotted keys of a yaml's content, all below a path, without Hydra's own keys."""
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in HYDRA_KEYS or key == "defaults":
            continue
        full = f"{path}.{key}" if path else str(key)
        yield full
        yield from flat(full, value)


@cache
def _loaded(file: Path, modified: int) -> dict[str, Any]:
    """Return the content of a yaml as it was when it was modified last: parsing takes 5 ms."""
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    return content or {}


class ConfigFolders(SearchPathPlugin):
    """Adds the config folders of other packages to those that Hydra searches."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each folder after Hanline's own."""
        for folder in folders()[1:]:
            search_path.append("hanline.configs", f"file://{folder}")


def register_folders() -> None:
    """Have Hydra search the config folders of other packages in this process."""
    Plugins.instance().register(ConfigFolders)


def files(group: str) -> dict[str, Path]:
    """Return the files of a config group by their names, bases (``_name``) among them."""
    found: dict[str, Path] = {}
    for folder in reversed(folders()):
        found |= {file.stem: file for file in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))


def _folder(name: str, target: str) -> Path:
    try:
        spec = find_spec(target)
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise HanlineError(
            f"hanline.configs: expected {target}, the entry point {name!r} of an installed "
            "package, to be a folder inside that package. Update or uninstall the package"
        )
    return Path(next(iter(spec.submodule_search_locations)))
