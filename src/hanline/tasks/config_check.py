"""Whether a configuration can be meant: every key known, every value of its type."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from rapidfuzz import process

from hanline.errors import HanlineError

_HYDRAS_OWN = {"_target_", "_partial_", "_convert_", "_recursive_"}


def check_config(config: DictConfig, own_file: Path, settings: type) -> None:
    """Refuse keys that nothing reads and values that their reader does not take.

    A node with ``_target_`` is held against the signature of what it builds, the rest of the
    configuration against a dataclass.

    Args:
        config: the composed configuration.
        own_file: the command's own yaml, which names its groups.
        settings: a dataclass of the keys that belong to no group.

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
    groups = {group.split("@")[0] for group in _groups(own_file)}
    own = {key: value for key, value in values.items() if key not in groups}
    known = {field.name: field.type for field in fields(settings)}
    _check_keys("", own, known, other_known=groups)
    for key, value in own.items():
        _check_value(key, value, get_type_hints(settings)[key])
    for group in groups & set(values):
        _check_node(group, values[group])


def explain(error: Exception, conf: Path, name: str) -> str:
    """Hydra's and OmegaConf's errors about a configuration, with the nearest valid words."""
    message = re.sub(r"\n\s*(full_key|reference_type|object_type)[:=].*", "", str(error)).strip()
    key = re.search(r"Could not (?:override|append|delete)[^']*'([^']+)'", message)
    if key:
        near = nearest(key[1].split("@")[0], _all_keys(conf, name))
        return f"there is no key {key[1]!r} for this command{near}; --help lists them all"
    missing = re.search(r"Could not (?:find|load) '([^']+)'", message)
    if missing:
        group, _, choice = missing[1].rpartition("/")
        choices = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if choices and group:
            near = nearest(choice, choices)
            return f"{group} has no choice {choice!r}{near}; there are: {', '.join(choices)}"
        groups = _group_folders(conf)
        return f"there is no config group {group or choice!r}{nearest(group or choice, groups)}"
    if error.__cause__ and not isinstance(error.__cause__, HydraException):
        message = f"{message} ({error.__cause__})"
    return message


def nearest(word: str, known: Iterable[str]) -> str:
    """The known words nearest to a word, as the middle of a sentence; empty if none is near."""
    found = [match for match, _, _ in process.extract(word, list(known), limit=3, score_cutoff=60)]
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _check_node(path: str, node: Any) -> None:
    """Check what a group's file builds; a mapping without a target holds several such nodes."""
    if not isinstance(node, Mapping):
        return
    target = node.get("_target_")
    if target is None:
        for key, value in node.items():
            _check_node(f"{path}.{key}", value)
        return
    known = _parameters(path, target)
    given = {key: value for key, value in node.items() if key not in _HYDRAS_OWN}
    if known is not None:
        _check_keys(path, given, known)
    for key, value in given.items():
        here = f"{path}.{key}"
        if isinstance(value, Mapping) and "_target_" in value:
            _check_node(here, value)
        elif known is not None:
            _check_value(here, value, known[key])


def _parameters(path: str, target: str) -> dict[str, Any] | None:
    """The parameters of a target with their types; None where it takes any keyword."""
    try:
        called = get_object(target)
    except Exception as error:
        raise HanlineError(f"{path}._target_: cannot import {target}: {error}") from error
    signature = inspect.signature(called)
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return None
    function = called.__init__ if inspect.isclass(called) else called
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    return {name: hints.get(name, Any) for name in signature.parameters}


def _check_keys(
    path: str, given: Mapping[str, Any], known: Iterable[str], other_known: Iterable[str] = ()
) -> None:
    known = set(known)
    for key in given:
        if key not in known:
            full = f"{path}.{key}" if path else key
            near = nearest(key, known | set(other_known))
            raise HanlineError(
                f"there is no key {full!r}{near}; {path or 'this command'} takes: "
                f"{', '.join(sorted(known | set(other_known)))}"
            )


def _check_value(path: str, value: Any, hint: Any) -> None:
    if is_dataclass(hint) and isinstance(value, Mapping):
        _check_keys(path, value, [field.name for field in fields(hint)])
    try:
        config = None if is_dataclass(hint) else ConfigDict(arbitrary_types_allowed=True)
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=config)
    except (PydanticUserError, TypeError):
        return  # A type of another library that a yaml cannot express anyway.
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
        raise HanlineError(
            f"{path} is {value!r}: {_lower(first['msg'])}"
            + (f" (at {where})" if where and isinstance(value, list | Mapping) else "")
            + _nearest_choice(value, first)
        ) from error


def _nearest_choice(value: Any, error: Any) -> str:
    if error["type"] != "literal_error":
        return ""
    return nearest(str(value), re.findall(r"'([^']+)'", error["ctx"]["expected"]))


def _lower(sentence: str) -> str:
    sentence = sentence.replace("Input should be", "it should be")
    return sentence[0].lower() + sentence[1:]


def _groups(own_file: Path) -> list[str]:
    """The config groups that a command's yaml names in its defaults list."""
    defaults: Any = OmegaConf.to_container(OmegaConf.load(own_file)).get("defaults", [])  # type: ignore[union-attr]
    return [next(iter(entry)) for entry in defaults if isinstance(entry, dict)]


def _group_folders(conf: Path) -> list[str]:
    return sorted(path.relative_to(conf).as_posix() for path in conf.rglob("*") if path.is_dir())


def _all_keys(conf: Path, name: str) -> list[str]:
    """Every key and group that a command takes, dotted, whichever choices are made."""
    keys = [*_flat("", OmegaConf.to_container(OmegaConf.load(conf / f"{name}.yaml")))]
    for group in _groups(conf / f"{name}.yaml"):
        keys.append(group)
        for file in (conf / group).rglob("*.yaml"):
            inner = file.parent.relative_to(conf).as_posix().replace("/", ".")
            keys += _flat(inner, OmegaConf.to_container(OmegaConf.load(file)))
        keys += [
            path.relative_to(conf).as_posix() for path in (conf / group).rglob("*") if path.is_dir()
        ]
    return sorted({key for key in keys if "defaults" not in key and not key.startswith("hydra")})


def _flat(path: str, node: Any) -> Iterable[str]:
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in _HYDRAS_OWN:
            continue
        full = f"{path}.{key}" if path else str(key)
        yield full
        yield from _flat(full, value)
