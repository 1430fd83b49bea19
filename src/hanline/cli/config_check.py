"""Checks of a configuration before the work: each key is known, each value has its type."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from hanline import configs
from hanline.cli.renamed import new_key
from hanline.cli.suggestions import all_keys, hint_for_key, nearest, owners, without_details
from hanline.errors import HanlineError


def check_config(config: DictConfig, own_file: Path, settings: type) -> None:
    """Refuse unknown keys and values of a wrong type.

    A node with ``_target_`` is held against the signature of its target, a group without a target
    against its own files, and all other keys against a dataclass.

    Args:
        config: the composed configuration.
        own_file: the command's own yaml, which names its groups.
        settings: a dataclass of the keys that belong to no group. A field that has a group's name
            is a dataclass of keys that the command adds to those of the group.

    Raises:
        HanlineError: the message names the key, the expected values, and the nearest known ones.
    """
    try:
        values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise HanlineError(
            f"{key}: expected a value. Give it one, as in {key}=…; --help explains it"
        ) from error
    except OmegaConfBaseException as error:
        raise HanlineError(f"{error.full_key}: {without_details(error)}") from error
    parts = set(configs.command_groups(own_file))
    own = {key: value for key, value in values.items() if key not in parts}
    hints = get_type_hints(settings)
    _check_keys("", own, hints, own_file, other_known=parts)
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


def _check_node(path: str, node: Any, own_file: Path) -> None:
    """Check what a group's file builds. A mapping without a target holds nodes and plain values."""
    if not isinstance(node, Mapping):
        raise HanlineError(_no_node(path, node, own_file))
    target = node.get("_target_")
    if target is None:
        plain = _plain_values(path)
        for key, value in node.items():
            here = f"{path}.{key}"
            if here in plain:
                _check_value(here, value, plain[here])
            else:
                _check_node(here, value, own_file)
        return
    parameters = _parameters(path, target)
    given = {key: value for key, value in node.items() if key not in configs.HYDRA_KEYS}
    if parameters is None:
        hints = {}
    else:
        # The code itself hands in what has no default and is not given.
        keys = [key for key, p in parameters.items() if key in given or p.default is not p.empty]
        _check_keys(path, given, keys, own_file)
        hints = {key: parameter.annotation for key, parameter in parameters.items()}
    for key, value in given.items():
        here = f"{path}.{key}"
        if (isinstance(value, Mapping) and _holds_nodes(value)) or _is_group(here):
            _check_node(here, value, own_file)
        elif key in hints:
            _check_value(here, value, hints[key])


def _holds_nodes(value: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a node with a target, or has only such nodes in it."""
    return "_target_" in value or (
        bool(value) and all(isinstance(v, Mapping) and _holds_nodes(v) for v in value.values())
    )


def _plain_values(path: str) -> dict[str, Any]:
    """Return the type of each value in the files of a group that has no target, by dotted key."""
    found: dict[str, Any] = {}
    for file in configs.group_files(path.replace(".", "/")):
        place = configs.package(file)
        for key, value in configs.load(file).items():
            if place == path and key != "defaults" and not isinstance(value, Mapping):
                known = isinstance(value, bool | int | float | str) and "${" not in str(value)
                found[f"{path}.{key}"] = type(value) if known else Any
    return found


def _no_node(path: str, value: Any, own_file: Path) -> str:
    if _is_group(path):
        group = path.replace(".", "/")
        known = configs.choices(group)
        return (
            f"{path}={_shown(value)}: expected keys of its own{nearest(str(value), known)}. "
            f"Choose it as {group}=…, where … is one of {', '.join(known)}"
        )
    keys = all_keys(own_file)
    if path in keys:
        return f"{path}={_shown(value)}: expected keys of its own. To leave it out, write ~{path}"
    hint = hint_for_key(path, own_file)
    return f"{path!r}: expected a key of this command{hint}. --help lists all keys"


def _is_group(path: str) -> bool:
    return any((folder / path.replace(".", "/")).is_dir() for folder in configs.folders())


def _parameters(path: str, target: str) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a target with their types; None if it takes any keyword."""
    try:
        called = get_object(target)
    except Exception as error:
        # Whatever the module raises while it is imported.
        reason = str(error).splitlines()[0].rstrip(":")
        raise HanlineError(
            f"{path}._target_={target}: expected an importable name ({reason})"
        ) from error
    return _keywords(called)


def _keywords(called: Any) -> dict[str, inspect.Parameter] | None:
    """Return the keywords of a class or function, with those that ``**kwargs`` hands on.

    A class hands them on to the class that it inherits from, a function to the class that it
    returns. None if neither says which keywords there are.
    """
    found: dict[str, inspect.Parameter] = {}
    functions = _initializers(called) if inspect.isclass(called) else [called]
    for function in functions:
        hints = _hints(function)
        parameters = inspect.signature(function).parameters.values()
        own = {
            p.name: p.replace(annotation=hints.get(p.name, Any))
            for p in list(parameters)[inspect.isclass(called) :]
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        found = own | found
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return found
        returned = hints.get("return")
        if not inspect.isclass(called) and inspect.isclass(returned):
            inherited = _keywords(returned)
            return None if inherited is None else inherited | found
    return None


def _initializers(called: type) -> list[Any]:
    """Return each ``__init__`` along a class's bases, its own first."""
    return [base.__init__ for base in called.__mro__ if "__init__" in vars(base)]  # type: ignore[misc]


def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _check_keys(
    path: str,
    given: Iterable[str],
    known: Iterable[str],
    own_file: Path | None = None,
    other_known: Iterable[str] = (),
) -> None:
    below = f"{path}." if path else ""
    takes = sorted({*known, *other_known})
    for key in given:
        if key not in takes:
            full = below + key
            now = new_key(full, [below + other for other in takes])
            hint = f", and its name is {now} now" if now else ""
            hint = hint or (owners(full, own_file) if own_file and path else "")
            hint = hint or nearest(full, [below + other for other in takes])
            raise HanlineError(
                f"{full!r}: expected a key of {path or 'this command'}{hint}. "
                f"It takes {', '.join(takes) or 'no keys'}"
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
        # As JSON: its types are those of a yaml. Strictly "no" is not a bool there, while a list
        # is a tuple. A merely convertible value would reach its reader unconverted.
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
            f"{where}={_shown(wrong)}: {_in_words(first['msg'])}{_hint(where, wrong, first)}"
        ) from error


def _hint(path: str, value: Any, error: Any) -> str:
    if error["type"] == "literal_error":
        return nearest(str(value), re.findall(r"'([^']+)'", error["ctx"]["expected"]))
    if error["type"] == "string_type" and isinstance(value, int | float):
        return f". Quote it twice: {path}='\"{value}\"'"
    return ""


def _in_words(sentence: str) -> str:
    """Return pydantic's sentence on a JSON value in the words of a yaml."""
    for theirs, ours in (
        ("Input should be", "expected"),
        ("a valid array", "a list"),
        ("an object", "a mapping"),
    ):
        sentence = sentence.replace(theirs, ours)
    return sentence[0].lower() + sentence[1:]


def _shown(value: Any) -> str:
    """Return a value as a yaml has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
