"""The targets that a file may build: registered names, each where its kind belongs, no others.

A run's ``config.yaml``, a model's JSON and a checkpoint are taken over from others. A name in them
is looked up here before it is imported. The names are those of the installed config files: a new
part is trusted by its yaml. An installed package may also add names as entry points: the group is
``hanline.`` and the kind in plural, as in ``hanline.callbacks``.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hanline.configs import STAGES, files, load
from hanline.errors import HanlineError
from hanline.plugins import plugin_names

# Where each kind belongs in a run's configuration; * is any name.
_PLACES: Mapping[tuple[str, ...], str] = {
    ("charset",): "charset",
    ("corpus",): "corpus",
    ("renderer",): "renderer",
    ("renderer", "renderers", "*"): "renderer",
    ("synthesis",): "synthesis",
    ("synthesis", "renderer"): "renderer",
    ("synthesis", "renderer", "renderers", "*"): "renderer",
    ("data",): "data",
    ("augmentation",): "augmentation",
    ("data", "train"): "source",
    ("data", "validation"): "source",
    **{("model", stage): "stage" for stage in STAGES},
    ("optimizer",): "optimizer",
    ("scheduler",): "scheduler",
    ("module",): "module",
    ("trainer",): "trainer",
    ("callbacks", "*"): "callback",
    ("logger", "*"): "logger",
}
# All arguments of these are in the file; the code hands in some of the others'.
_BUILT_ALONE = frozenset({"charset", "callback", "logger"})
# Their objects wait for arguments from the code.
_PARTIAL = frozenset({"optimizer", "scheduler", "source"})
# They write into the run's folder only.
_WRITING = frozenset({"callback", "logger"})
_CONVERSIONS = ("none", "partial", "object", "all")
# A configuration takes a few kilobytes.
_MOST_BYTES = 2**20
_DEEPEST = 32
_RESTORE = "Take the config.yaml that the run wrote"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class _Node(NamedTuple):
    """A mapping of a configuration.

    Attributes:
        place: its keys from the top.
        values: what it holds.
    """

    place: tuple[str, ...]
    values: Mapping[Any, Any]

    @property
    def key(self) -> str:
        """Its place as the command line names it."""
        return ".".join(self.place)


@cache
def trusted_names(kind: str) -> frozenset[str]:
    """Return the names that a file may give for a kind.

    They are those that Hanline's own config files and those of installed packages have as a
    ``_target_`` in a place of this kind, and the entry points of the kind. Any other name is
    refused: there is no list of bad names.
    """
    found = set(plugin_names(f"{kind}s").values())
    for place, known in _PLACES.items():
        if known == kind:
            found |= _targets(place)
    return frozenset(found)


def _targets(place: tuple[str, ...]) -> set[str]:
    """Return the targets of the config files for a place of the configuration."""
    found: set[str] = set()
    for depth in range(1, len(place) + 1):
        inside = place[depth:]
        if place[depth - 1] == "*" and not inside:
            inside = ("*",)
        group = "/".join(part for part in place[:depth] if part != "*")
        for file in files(group).values():
            found |= _targets_below(load(file), inside)
    return found


def _targets_below(content: Any, place: tuple[str, ...]) -> set[str]:
    if not isinstance(content, Mapping):
        return set()
    if not place:
        target = content.get("_target_")
        return {target} if isinstance(target, str) else set()
    inner = content.values() if place[0] == "*" else [content.get(place[0])]
    return set().union(*(_targets_below(value, place[1:]) for value in inner))


def read_config(file: Path) -> dict[str, Any]:
    """Return a run's ``config.yaml`` as plain values; nothing in it is resolved.

    Raises:
        HanlineError: the file is not YAML of plain values, or holds interpolations.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise HanlineError(f"{file}: expected at most {_MOST_BYTES:,} bytes. {_RESTORE}")
        text = content.decode()
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            _check_event(event, file)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                # YAML's parser takes minutes for some thousands.
                raise HanlineError(f"{file}: expected {_DEEPEST} levels at most. {_RESTORE}")
        config: Any = OmegaConf.to_container(OmegaConf.create(text))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HanlineError(
            f"{file}: expected the configuration of a run ({reason}). {_RESTORE}"
        ) from error
    if not isinstance(config, dict):
        raise HanlineError(f"{file}: expected the configuration of a run. {_RESTORE}")
    return config


def _check_event(event: yaml.Event, file: Path) -> None:
    """Refuse what a run never writes, before anything is made of it."""
    where = f"{file}: line {event.start_mark.line + 1 if event.start_mark else '?'}"
    if isinstance(event, yaml.AliasEvent):
        # An alias of an alias of an alias fills the memory.
        raise HanlineError(f"{where}: *{event.anchor}: expected values, no aliases. {_RESTORE}")
    if tag := getattr(event, "tag", None):
        raise HanlineError(f"{where}: {tag}: expected values without tags. {_RESTORE}")
    if isinstance(event, yaml.ScalarEvent) and "${" in event.value:
        # It could show the environment, or call a resolver.
        raise HanlineError(f"{where}: {event.value}: expected values, no ${{…}}. {_RESTORE}")


def check_targets(
    config: Mapping[str, Any], file: Path, run_dir: Path, said: Mapping[str, str]
) -> None:
    """Refuse a run's configuration that would build anything that is not registered.

    Args:
        config: plain values, all filled in.
        file: where they come from, for messages.
        run_dir: the run's folder, which callbacks and loggers write.
        said: targets that the command line repeats, by the key of what they build.

    Raises:
        HanlineError: a target is not registered for its place, or its arguments are not those of
            its signature, or would have it write outside the run's folder.
    """
    for place in _PLACES:
        if len(place) > 2 or place[-1] == "renderer":
            continue  # a part that not every configuration has
        if place[-1] == "*":
            if not isinstance(_at(config, place[:-1]), Mapping):
                raise HanlineError(f"{file}: {place[0]}: expected a mapping. {_RESTORE}")
        elif _at(config, (*place, "_target_")) is None:
            raise HanlineError(f"{file}: {'.'.join(place)}: expected a _target_. {_RESTORE}")
    for node in _nodes(config, ()):
        kind = _kind(node.place)
        if any(str(key).startswith("_") and str(key).endswith("_") for key in node.values):
            _check_node(node, kind, file, run_dir, said)
        elif kind and len(node.place) > 1:
            raise HanlineError(f"{file}: {node.key}: expected a _target_. {_RESTORE}")


def _check_node(
    node: _Node, kind: str | None, file: Path, run_dir: Path, said: Mapping[str, str]
) -> None:
    target = node.values.get("_target_")
    where = f"{file}: {node.key}"
    if kind is None:
        raise HanlineError(f"{where}: expected values; nothing is built there. {_RESTORE}")
    known = trusted_names(kind)
    if not isinstance(target, str) or target not in known | {said.get(node.key)}:
        raise HanlineError(
            f"{where}._target_={target}: expected one of {', '.join(sorted(known))}. A file from "
            "others may name any code, so only registered names are built. If this is code of "
            f"your own, say so: ++{node.key}._target_={target}, or install it with an entry point "
            f"in the group hanline.{kind}s"
        )
    partial = node.values.get("_partial_", False)
    if partial is not (kind in _PARTIAL):
        raise HanlineError(f"{where}._partial_={partial}: expected {kind in _PARTIAL}. {_RESTORE}")
    if node.values.get("_convert_", "none") not in _CONVERSIONS:
        raise HanlineError(f"{where}._convert_: expected {', '.join(_CONVERSIONS)}. {_RESTORE}")
    parameters = {name: p for name, p in _parameters(target).items() if p.kind in _NAMED}
    names = set(parameters)
    for name, value in node.values.items():
        if name in ("_target_", "_partial_", "_convert_"):
            continue
        if name not in names:
            raise HanlineError(
                f"{where}.{name}: expected an argument of {target}, which takes "
                f"{', '.join(sorted(names)) or 'none'}. {_RESTORE}"
            )
        if kind in _WRITING and not _is_inside(value, run_dir):
            raise HanlineError(
                f"{where}.{name}={value}: expected the run's folder, {run_dir}. {_RESTORE}"
            )
    if kind in _BUILT_ALONE:
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in node.values:
                raise HanlineError(f"{where}.{name}: expected a value. {_RESTORE}")


def _parameters(target: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(get_object(target)).parameters
    except Exception as error:
        # Whatever goes wrong when a module of an installed package is imported.
        raise HanlineError(f"{target}: expected code that can be imported ({error})") from error


def _is_inside(value: object, run_dir: Path) -> bool:
    """Return whether a callback that writes where a value says writes into the run's folder."""
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return all(_is_inside(item, run_dir) for item in inner)
    if not isinstance(value, str) or value == str(run_dir):
        return True
    return value not in (".", "..") and not set(value) & set("/\\:\0")


def _kind(place: tuple[str, ...]) -> str | None:
    for pattern, kind in _PLACES.items():
        if len(pattern) == len(place) and all(
            part in ("*", key) for part, key in zip(pattern, place, strict=True)
        ):
            return kind
    return None


def _at(config: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _nodes(value: Any, place: tuple[str, ...]) -> Iterator[_Node]:
    """Every mapping of a configuration, those in lists among them."""
    if isinstance(value, Mapping):
        yield _Node(place, value)
        for key, inner in value.items():
            yield from _nodes(inner, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _nodes(inner, (*place, f"[{number}]"))
