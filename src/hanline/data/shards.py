"""Shards: parts of one set that are made apart, on any machines, and read together.

A shard is an LMDB set. What it is a part of stands in its ``provenance.json``.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hanline.data.dataset_writer import PROVENANCE
from hanline.errors import HanlineError


@dataclass(frozen=True)
class Shard:
    """One of the parts into which a set is cut.

    Args:
        number: which one, from 0.
        of: how many there are.
        key: the command line's key for the number; with an s, it is that for how many there are.
        command: the words behind ``hanline`` that make the shards of this set, without their
            number and their place.

    Raises:
        HanlineError: there is no such shard.
    """

    number: int
    of: int
    key: str
    command: Sequence[str]

    def __post_init__(self) -> None:
        if self.of < 1:
            raise HanlineError(f"{self.key}s is {self.of}: a set has at least one shard")
        if not 0 <= self.number < self.of:
            raise HanlineError(
                f"{self.key} is {self.number}: it takes 0 to {self.of - 1}, since {self.key}s is "
                f"{self.of}"
            )

    def path(self, folder: Path) -> Path:
        """Where the shard is or will be, in the folder of its set."""
        return folder / f"shard-{self.number:05d}-of-{self.of:05d}"

    def part(self, samples: int) -> range:
        """Which of a set's samples the shard has; the sizes of shards differ by one at most.

        Raises:
            HanlineError: a shard would have none.
        """
        if samples < self.of:
            raise HanlineError(
                f"{self.key}s is {self.of}, but the set has only {samples} samples: a shard has at "
                "least one"
            )
        return range(samples * self.number // self.of, samples * (self.number + 1) // self.of)

    def note(self, facts: dict[str, Any]) -> dict[str, Any]:
        """What a shard's ``provenance.json`` has under ``shard``.

        Args:
            facts: what decides the whole set, in JSON's types.
        """
        return {**asdict(self), "set": facts}

    def exists_matching(self, folder: Path, facts: dict[str, Any]) -> bool:
        """Whether the shard is in a folder already.

        Raises:
            HanlineError: the folder holds another set, whole or in shards.
        """
        if (folder / "data.mdb").exists():
            raise HanlineError(f"{folder} is a whole set: choose another folder for its shards")
        path = self.path(folder)
        others = (file.parent for file in folder.glob(f"*/{PROVENANCE}") if file.parent != path)
        # One other tells of them all, since each was held against one.
        notes = ((other, note) for other in others if (note := read_note(other)))
        own = read_note(path)
        for other, note in [*([(path, own)] if own else []), *islice(notes, 1)]:
            _refuse_unlike("the shard to make", self.note(facts), other, note)
        return path.exists()


def digest(facts: dict[str, Any]) -> str:
    """A hash of what decides a set."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_note(path: Path) -> dict[str, Any] | None:
    """What a set notes of itself as a shard; None where it is none."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        provenance = json.loads((path / PROVENANCE).read_text(encoding="utf-8"))
        note: dict[str, Any] = provenance.get("shard", {})
        return note if {"number", "of", "key", "command", "set"} <= note.keys() else None
    return None


def complete(root: Path, paths: Sequence[Path]) -> Sequence[Path]:
    """Hand back the sets of a folder, once it is sure that no shard of one is missing or too many.

    Args:
        root: the folder. A shard that is given by its own path is taken alone.
        paths: the sets below it; those that are no shards are passed over.

    Raises:
        HanlineError: a shard is missing or there twice, or shards of different sets lie together.
    """
    first: dict[Path | str, tuple[Path, dict[str, Any]]] = {}
    sets: dict[str, dict[int, Path]] = {}
    for path in paths:
        note = read_note(path)
        if note is None or path == root:
            continue
        name = digest(note["set"])
        for group in (path.parent, name):
            _refuse_unlike(*first.setdefault(group, (path, note)), path, note)
        there = sets.setdefault(name, {})
        if there.setdefault(note["number"], path) != path:
            raise HanlineError(
                f"shard {note['number']} of {note['of']} is there twice: remove "
                f"{there[note['number']]} or {path}"
            )
    for name, there in sets.items():
        path, note = first[name]
        missing = [str(number) for number in range(note["of"]) if number not in there]
        if missing:
            raise HanlineError(
                f"of the {note['of']} shards of {path.parent}, counted from 0, "
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Copy them "
                f"there, or make them: {_command(note, missing, path.parent)}"
            )
    return paths


def _refuse_unlike(
    path: Path | str, note: dict[str, Any], other_path: Path, other: dict[str, Any]
) -> None:
    """Refuse two shards that are not of one set, or not of one way to cut it."""
    facts, other_facts = note["set"], other["set"]
    if facts != other_facts:
        names = dict.fromkeys([*facts, *other_facts])
        differing = [name for name in names if facts.get(name) != other_facts.get(name)]
        raise HanlineError(
            f"{path} and {other_path} are shards of different sets, which differ in "
            f"{', '.join(differing)}: a folder is for the shards of one set"
        )
    if note["of"] != other["of"]:
        raise HanlineError(
            f"{path} and {other_path} are shards of one set, but cut into {note['of']} and into "
            f"{other['of']} parts: keep those of one kind"
        )


def _command(note: dict[str, Any], numbers: list[str], folder: Path) -> str:
    name, *settings = note["command"]
    sweep = ["-m"] if len(numbers) > 1 else []
    where = [f"output={folder}", f"{note['key']}={','.join(numbers)}"]
    return shlex.join(["hanline", name, *sweep, *settings, *where])
