"""The messages of Hydra's errors, and what a wrong word may have been meant as."""

import re
from collections.abc import Iterable
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from rapidfuzz import fuzz, process

from hanline import configs
from hanline.cli.model_presets import STAGES_PRESET, named_presets
from hanline.cli.renamed import new_choice, new_key


def explain(error: Exception, name: str) -> str:
    """Return the message for an error of Hydra or OmegaConf, with the nearest valid words."""
    message = without_details(error)
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
            f"{key[1]!r}: expected a key of this command{hint_for_key(path, own_file)}. "
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


def hint_for_key(key: str, own_file: Path) -> str:
    """Return what an unknown key may have been meant as, as the middle of a sentence."""
    known = all_keys(own_file)
    now = new_key(key, known)
    return f", and its name is {now} now" if now else owners(key, own_file) or nearest(key, known)


def owners(key: str, own_file: Path) -> str:
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


def all_keys(own_file: Path) -> list[str]:
    """Return each key and group that a command takes, dotted, whichever choices are made."""
    keys = {*configs.flat("", configs.load(own_file))}
    for group in configs.command_groups(own_file):
        keys |= {group, *configs.all_groups(group)}
        for file in configs.group_files(group):
            keys |= {*configs.flat(configs.package(file), configs.load(file))}
    return sorted(key for key in keys if not key.startswith("hydra"))


def without_details(error: Exception) -> str:
    """Return the message of an error without OmegaConf's lines for its developers."""
    return re.sub(r"\n\s*(full_key|reference_type|object_type)[:=].*", "", str(error)).strip()
