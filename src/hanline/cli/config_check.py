"""Whether a configuration can be meant: every key known, every value of its type."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError
from rapidfuzz import fuzz, process

from hanline.errors import HanlineError

_HYDRAS_OWN = {"_target_", "_partial_", "_convert_", "_recursive_"}


def literal(argument: str, settings: type) -> str:
    """An argument of the command line, in quotes where Hydra would not take its value as it stands.

    Hydra's grammar knows no Hangul, no brackets and no second ``=``, all of which stand in the
    names of files; and a folder or a choice may be named 2024, which is no number.

    Args:
        settings: a dataclass of the command's own keys; those of type ``str`` take any text.
    """
    key, equals, value = argument.partition("=")
    if not equals or key.startswith("-"):
        return argument
    parsed = _parsed(argument)
    if parsed is None:
        return f"{key}={_quoted(value)}"
    hints = get_type_hints(settings)
    # A key that is none of the command's own, nor inside a group, is a group.
    text = hints[key] in (str, str | None) if key in hints else "." not in key
    if text and not parsed.is_sweep_override():
        not_text = bool | int | float if key in hints else bool | int | float | None
        if isinstance(parsed.value(), not_text):
            return f"{key}={_quoted(value)}"
    return argument


def check_config(config: DictConfig, own_file: Path, settings: type) -> None:
    """Refuse keys that nothing reads and values that their reader does not take.

    A node with ``_target_`` is held against the signature of what it builds, the rest of the
    configuration against a dataclass.

    Args:
        config: the composed configuration.
        own_file: the command's own yaml, which names its groups and lies among their folders.
        settings: a dataclass of the keys that belong to no group. A field that has a group's name
            is a dataclass of keys that the command adds to those of the group.

    Raises:
        HanlineError: naming the key, what it may be, and the nearest known ones.
    """
    try:
        values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise HanlineError(
            f"{key} has no value yet: give it one, as in {key}=…; --help says what it means"
        ) from error
    except OmegaConfBaseException as error:
        raise HanlineError(f"{error.full_key}: {_without_details(error)}") from error
    parts = set(groups(own_file))
    own = {key: value for key, value in values.items() if key not in parts}
    hints = get_type_hints(settings)
    _check_keys("", own, hints, other_known=parts)
    for key, value in own.items():
        _check_value(key, value, hints[key])
    for group in sorted(parts & set(values)):
        node = values[group]
        if group in hints and isinstance(node, Mapping):
            # The command's own keys of the group; what the group builds does not take them.
            added = {field.name for field in fields(hints[group])}
            _check_value(group, {key: node[key] for key in added & set(node)}, hints[group])
            node = {key: value for key, value in node.items() if key not in added}
        _check_node(group, node, own_file)


def explain(error: Exception, conf: Path, name: str) -> str:
    """Hydra's and OmegaConf's errors about a configuration, with the nearest valid words."""
    message = _without_details(error)
    if isinstance(error, OverrideParseException):
        reason = message.partition("\nSee https")[0].rpartition("\n")[2].strip(" ^")
        return f"cannot understand {error.override!r}: an argument is key=value or group=choice" + (
            f" ({reason})" if reason else ""
        )
    there = re.search(r"An item is already at '([^']+)'", message)
    if there:
        return f"there is a key {there[1]!r} already: write it without +"
    key = re.search(r"Could not (?:override|append|delete)[^']*'([^']+)'", message)
    if key:
        path = key[1].split("@")[0]
        hint = _owners(path, conf / f"{name}.yaml") or nearest(path, _all_keys(conf, name))
        return f"there is no key {key[1]!r} for this command{hint}; --help lists them all"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_choice(*error.missing_cfg_file.rpartition("/")[::2], error.options or (), conf)
    if error.__cause__ and not isinstance(error.__cause__, HydraException):
        message = f"{message} ({error.__cause__})"
    return message


def _no_choice(group: str, choice: str, options: Iterable[str], conf: Path) -> str:
    choices = [option for option in options if not (conf / group / option).is_dir()]
    if not group or not choices:
        known = (path.relative_to(conf).as_posix() for path in conf.rglob("*") if path.is_dir())
        return f"there is no config group {group or choice!r}{nearest(group or choice, known)}"
    message = (
        f"{group} has no choice {choice!r}{nearest(choice, choices)}; "
        f"there are: {', '.join(choices)}"
    )
    if group.startswith("hydra/"):
        extra = "launchers" if group == "hydra/launcher" else "sweep"
        message += f'; plugins of Hydra are installed apart, as with pip install ".[{extra}]"'
    return message


def _owners(key: str, own_file: Path) -> str:
    """The choices that have a key, as the middle of a sentence; empty if none has it.

    Such a key is no misspelling: it belongs to a choice that has not been made.
    """
    conf = own_file.parent
    owners = [
        f"{file.parent.relative_to(conf).as_posix()}={file.stem}"
        for group in groups(own_file)
        for file in sorted((conf / group).rglob("*.yaml"))
        # Experiments and the like have keys of everything.
        if (place := package(conf, file)) and key in flat(place, load(file))
    ]
    return f" as it is composed (it belongs to {' or '.join(owners)})" if owners else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known words nearest to a word, as the middle of a sentence; empty if none is near."""
    found = process.extract(word, sorted(known), scorer=_nearness, limit=3, score_cutoff=60)
    return f" (did you mean {' or '.join(match for match, _, _ in found)}?)" if found else ""


def _nearness(word: str, known: str, *, score_cutoff: float | None = None) -> float:
    """How near two words are, from 0 to 100; a key is near to its own last part, too."""
    return max(fuzz.ratio(word, known), 0.95 * fuzz.ratio(word, known.rpartition(".")[2]))


def _parsed(override: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def _quoted(value: str) -> str:
    if value.startswith("[") and value.endswith("]") and not set(value[1:-1]) & set("[]{}'\""):
        items = (item.strip() for item in value[1:-1].split(","))
        return f"[{','.join(item if _parsed(f'x={item}') else _quoted(item) for item in items)}]"
    if value[:1] in ("[", "{", "'", '"'):
        return value  # Meant as Hydra's own syntax: let it say what is wrong.
    quoted: str = QuotedString(value, Quote.single).with_quotes()
    return quoted


def _check_node(path: str, node: Any, own_file: Path) -> None:
    """Check what a group's file builds; a mapping without a target holds several such nodes."""
    if not isinstance(node, Mapping):
        raise HanlineError(_no_node(path, node, own_file))
    target = node.get("_target_")
    if target is None:
        for key, value in node.items():
            _check_node(f"{path}.{key}", value, own_file)
        return
    parameters = _parameters(path, target)
    given = {key: value for key, value in node.items() if key not in _HYDRAS_OWN}
    if parameters is None:
        hints = {}
    else:
        # The code itself hands in what has no default and is not given.
        keys = [key for key, p in parameters.items() if key in given or p.default is not p.empty]
        _check_keys(path, given, keys, own_file=own_file)
        hints = {key: parameter.annotation for key, parameter in parameters.items()}
    for key, value in given.items():
        here = f"{path}.{key}"
        if (isinstance(value, Mapping) and _holds_nodes(value)) or _folder(here, own_file).is_dir():
            _check_node(here, value, own_file)
        elif key in hints:
            _check_value(here, value, hints[key])


def _holds_nodes(value: Mapping[str, Any]) -> bool:
    """Whether a mapping is a node with a target, or holds such nodes and nothing else."""
    return "_target_" in value or (
        bool(value) and all(isinstance(v, Mapping) and _holds_nodes(v) for v in value.values())
    )


def _no_node(path: str, value: Any, own_file: Path) -> str:
    folder = _folder(path, own_file)
    if folder.is_dir():
        group = folder.relative_to(own_file.parent).as_posix()
        choices = sorted(file.stem for file in folder.glob("*.yaml"))
        near = nearest(str(value), choices)
        return (
            f"{path} is {value!r}: it is chosen as {group}=…{near}; there are: {', '.join(choices)}"
        )
    keys = _all_keys(own_file.parent, own_file.stem)
    if path in keys:
        return f"{path} is {value!r}: it has keys of its own; ~{path} leaves it out"
    return f"there is no key {path!r}{nearest(path, keys)}; --help lists them all"


def _folder(path: str, own_file: Path) -> Path:
    """Where the choices of a part of the configuration are, if it is a group."""
    return own_file.parent / path.replace(".", "/")


def _parameters(path: str, target: str) -> dict[str, inspect.Parameter] | None:
    """The parameters of a target, annotated with their types; None where it takes any keyword."""
    try:
        called = get_object(target)
    except Exception as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise HanlineError(f"{path}._target_: cannot import {target}: {reason}") from error
    parameters = inspect.signature(called).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    function = called.__init__ if inspect.isclass(called) else called
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    return {name: p.replace(annotation=hints.get(name, Any)) for name, p in parameters.items()}


def _check_keys(
    path: str,
    given: Mapping[str, Any],
    known: Iterable[str],
    other_known: Iterable[str] = (),
    own_file: Path | None = None,
) -> None:
    known = set(known)
    below = f"{path}." if path else ""
    for key in given:
        if key not in known:
            takes = sorted(known | set(other_known))
            hint = _owners(below + key, own_file) if own_file else ""
            hint = hint or nearest(below + key, [below + other for other in takes])
            raise HanlineError(
                f"there is no key {below + key!r}{hint}; "
                f"{path or 'this command'} takes: {', '.join(takes) or 'no keys'}"
            )


def _check_value(path: str, value: Any, hint: Any) -> None:
    if is_dataclass(hint) and isinstance(value, Mapping):
        _check_keys(path, value, [field.name for field in fields(hint)])
    try:
        config = None if is_dataclass(hint) else ConfigDict(arbitrary_types_allowed=True)
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=config)
    except (PydanticUserError, SchemaError, TypeError):
        return  # A type of another library that a yaml cannot express anyway.
    try:
        # As JSON: its types are those of a yaml, and strictly "no" is no bool there, while a list
        # is a tuple. What is only convertible would reach its reader as it is.
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where, wrong = path, value
        for part in first["loc"]:
            # The place inside the value; other parts name what was tried on it.
            if isinstance(wrong, Mapping) and part in wrong:
                where, wrong = f"{where}.{part}", wrong[part]
            elif isinstance(wrong, list) and isinstance(part, int) and part < len(wrong):
                where, wrong = f"{where}[{part}]", wrong[part]
        raise HanlineError(
            f"{where} is {wrong!r}: {_in_words(first['msg'])}{_hint(where, wrong, first)}"
        ) from error


def _hint(path: str, value: Any, error: Any) -> str:
    if error["type"] == "literal_error":
        return nearest(str(value), re.findall(r"'([^']+)'", error["ctx"]["expected"]))
    if error["type"] == "string_type" and isinstance(value, int | float):
        return f", which it is in two pairs of quotes: {path}='\"…\"'"
    return ""


def _in_words(sentence: str) -> str:
    """What pydantic says of JSON, as the middle of a sentence on a yaml."""
    for theirs, ours in (
        ("Input should be", "it should be"),
        ("a valid array", "a list"),
        ("an object", "a mapping"),
    ):
        sentence = sentence.replace(theirs, ours)
    return sentence[0].lower() + sentence[1:]


def _without_details(error: Exception) -> str:
    return re.sub(r"\n\s*(full_key|reference_type|object_type)[:=].*", "", str(error)).strip()


def groups(own_file: Path) -> dict[str, str | None]:
    """The config groups that a command's yaml names in its defaults list, with their choices."""
    entries = [entry for entry in load(own_file).get("defaults", []) if isinstance(entry, dict)]
    named = {group: choice for entry in entries for group, choice in entry.items()}
    return {group: named[group] for group in named if not group.startswith("override ")}


def _all_keys(conf: Path, name: str) -> list[str]:
    """Every key and group that a command takes, dotted, whichever choices are made."""
    own_file = conf / f"{name}.yaml"
    keys = {*flat("", load(own_file))}
    for group in groups(own_file):
        keys.add(group)
        for path in (conf / group).rglob("*"):
            if path.is_dir():
                keys.add(path.relative_to(conf).as_posix())
            elif path.suffix == ".yaml":
                keys |= {*flat(package(conf, path), load(path))}
    return sorted(key for key in keys if not key.startswith("hydra"))


def package(conf: Path, file: Path) -> str:
    """Where in the configuration the keys of a group's file stand, dotted; empty for its top."""
    first_line = file.read_text(encoding="utf-8").partition("\n")[0]
    if first_line == "# @package _global_":
        return ""
    return file.parent.relative_to(conf).as_posix().replace("/", ".")


def load(file: Path) -> dict[str, Any]:
    """A yaml's content, its interpolations as they stand."""
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    return content or {}


def flat(path: str, node: Any) -> Iterable[str]:
    """The keys of a yaml's content, dotted, all below a path; Hydra's own are left out."""
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in _HYDRAS_OWN or key == "defaults":
            continue
        full = f"{path}.{key}" if path else str(key)
        yield full
        yield from flat(full, value)
