"""Checks of a configuration before the work: each key is known, each value has its type."""

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

from hanline import configs
from hanline.cli.model_presets import STAGES_PRESET, named_presets
from hanline.cli.renamed import new_choice, new_key
from hanline.errors import HanlineError


def literal(argument: str, settings: type) -> str:
    """Quote the value of an argument of the command line if Hydra would misread it.

    Hydra's grammar has no Hangul, no brackets and no second ``=``, which names of files may have.
    A folder or a choice may be named 2024, which Hydra takes for a number.

    Args:
        settings: a dataclass of the command's own keys. Those of type ``str`` take any text.
    """
    key, equals, value = argument.partition("=")
    if not equals or key.startswith("-"):
        return argument
    parsed = _parsed(argument)
    if parsed is None:
        return f"{key}={_quoted(value)}"
    hints = get_type_hints(settings)
    # A key that is neither the command's own nor inside a group is the name of a group.
    text = hints[key] in (str, str | None) if key in hints else "." not in key
    if text and not parsed.is_sweep_override():
        not_text = bool | int | float if key in hints else bool | int | float | None
        if isinstance(parsed.value(), not_text):
            return f"{key}={_quoted(value)}"
    return argument


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
        raise HanlineError(f"{error.full_key}: {_without_details(error)}") from error
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


def explain(error: Exception, name: str) -> str:
    """Return the message for an error of Hydra or OmegaConf, with the nearest valid words."""
    message = _without_details(error)
    if isinstance(error, OverrideParseException):
        reason = message.partition("\nSee https")[0].rpartition("\n")[2].strip(" ^")
        return f"{error.override!r}: expected key=value or group=choice" + (
            f" ({reason})" if reason else ""
        )
    there = re.search(r"An item is already at '([^']+)'", message)
    if there:
        return f"+{there[1]}: expected a new key, but it exists. Write it without +"
    key = re.search(r"Could not (?:override|append|delete)[^']*'([^']+)'", message)
    if key:
        own_file = configs.command_file(name)
        path = key[1].split("@")[0]
        return (
            f"{key[1]!r}: expected a key of this command{_hint_for_key(path, own_file)}. "
            "--help lists all keys"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_choice(*error.missing_cfg_file.rpartition("/")[::2], error.options or ())
    if error.__cause__ and not isinstance(error.__cause__, HydraException):
        message = f"{message} ({error.__cause__})"
    return message


def _no_choice(group: str, choice: str, options: Iterable[str]) -> str:
    inner = configs.inner_groups(group) if group else []
    names = [option for option in options if option not in inner and not option.startswith("_")]
    if not group or not names:
        known = configs.all_groups()
        return f"{group or choice!r}: expected a config group{nearest(group or choice, known)}"
    now = new_choice(group, choice)
    if now:
        return f"{group}={choice}: expected its new name. Write {now}"
    # All combinations of stages would bury the names.
    shown = [*named_presets(), STAGES_PRESET] if group == "model" else names
    message = (
        f"{group}={choice}: expected another choice{nearest(choice, names)}. "
        f"There are: {', '.join(shown)}"
    )
    if group.startswith("hydra/"):
        extra = "launchers" if group == "hydra/launcher" else "sweep"
        message += f'. Hydra\'s plugins are installed apart, as with pip install ".[{extra}]"'
    return message


def _hint_for_key(key: str, own_file: Path) -> str:
    """Return what an unknown key may have been meant as, as the middle of a sentence."""
    known = all_keys(own_file)
    now = new_key(key, known)
    return f", and its name is {now} now" if now else _owners(key, own_file) or nearest(key, known)


def _owners(key: str, own_file: Path) -> str:
    """Return the choices that have a key, as the middle of a sentence; "" if none has it.

    Such a key is correct, but belongs to a choice that has not been made.
    """
    owners = [
        f"{configs.group_of(file)}={file.stem}"
        for group in configs.command_groups(own_file)
        for file in configs.group_files(group)
        # Experiments have keys of all groups.
        if (place := configs.package(file)) and key in configs.flat(place, configs.load(file))
    ]
    return f" in this composition (it belongs to {' or '.join(owners)})" if owners else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known words nearest to a word, as the middle of a sentence; "" if none is near."""
    found = process.extract(word, sorted(known), scorer=_nearness, limit=3, score_cutoff=60)
    return f" (did you mean {' or '.join(match for match, _, _ in found)}?)" if found else ""


def _nearness(word: str, known: str, *, score_cutoff: float | None = None) -> float:
    """Return how near two words are, from 0 to 100. A key is near to its own last part, too."""
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
        return value  # The user means Hydra's own syntax: Hydra names the error.
    quoted: str = QuotedString(value, Quote.single).with_quotes()
    return quoted


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
    hint = _hint_for_key(path, own_file)
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
            hint = hint or (_owners(full, own_file) if own_file and path else "")
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


def _without_details(error: Exception) -> str:
    return re.sub(r"\n\s*(full_key|reference_type|object_type)[:=].*", "", str(error)).strip()


def all_keys(own_file: Path) -> list[str]:
    """Return each key and group that a command takes, dotted, whichever choices are made."""
    keys = {*configs.flat("", configs.load(own_file))}
    for group in configs.command_groups(own_file):
        keys |= {group, *configs.all_groups(group)}
        for file in configs.group_files(group):
            keys |= {*configs.flat(configs.package(file), configs.load(file))}
    return sorted(key for key in keys if not key.startswith("hydra"))
