"""Shards: parts of one dataset that are made apart, on any machines, and read together.

A shard is an LMDB dataset. Its ``provenance.json`` says what it is a part of.
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
    """One of the parts into which a dataset is cut.

    Args:
        number: which one, from 0.
        of: how many there are.
        key: the command line's key for ``number``; with an s, it is that for ``of``.
        command: the words behind ``hanline`` that make the shards of this dataset, without their
            number and their folder.

    Raises:
        HanlineError: the shard does not exist.
    """

    number: int
    of: int
    key: str
    command: Sequence[str]

    def __post_init__(self) -> None:
        if self.of < 1:
            raise HanlineError(f"{self.key}s={self.of}: expected 1 or more")
        if not 0 <= self.number < self.of:
            raise HanlineError(
                f"{self.key}={self.number}: expected 0 to {self.of - 1}, since {self.key}s is "
                f"{self.of}"
            )

    def path(self, folder: Path) -> Path:
        """Return where the shard is or will be, in the folder of its dataset."""
        return folder / f"shard-{self.number:05d}-of-{self.of:05d}"

    def part(self, samples: int) -> range:
        """Return which of a dataset's samples the shard has; sizes differ by one at most.

        Raises:
            HanlineError: a shard would have none.
        """
        if samples < self.of:
            raise HanlineError(
                f"{self.key}s={self.of}: expected at most {samples}, since the dataset has only "
                "that many samples and a shard has at least one"
            )
        return range(samples * self.number // self.of, samples * (self.number + 1) // self.of)

    def metadata(self, fingerprint: dict[str, Any]) -> dict[str, Any]:
        """Return what a shard's ``provenance.json`` has under ``shard``.

        Args:
            fingerprint: what decides the whole dataset, in JSON's types.
        """
        return {**asdict(self), "set": fingerprint}

    def exists_matching(self, folder: Path, fingerprint: dict[str, Any]) -> bool:
        """Return whether the shard is in a folder already.

        Raises:
            HanlineError: the folder holds another dataset, whole or in shards.
        """
        if (folder / "data.mdb").exists():
            raise HanlineError(f"{folder} is a whole dataset: choose another folder for its shards")
        path = self.path(folder)
        others = (file.parent for file in folder.glob(f"*/{PROVENANCE}") if file.parent != path)
        # One other is enough, since each was compared with one.
        found = ((other, metadata) for other in others if (metadata := read_metadata(other)))
        own = read_metadata(path)
        for other, metadata in [*([(path, own)] if own else []), *islice(found, 1)]:
            _refuse_unlike("the shard to make", self.metadata(fingerprint), other, metadata)
        return path.exists()


def digest(fingerprint: dict[str, Any]) -> str:
    """Return a hash of what decides a dataset."""
    text = json.dumps(fingerprint, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what a dataset says of itself as a shard; None if it is none."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        provenance = json.loads((path / PROVENANCE).read_text(encoding="utf-8"))
        shard: dict[str, Any] = provenance.get("shard", {})
        return shard if {"number", "of", "key", "command", "set"} <= shard.keys() else None
    return None


def check_shards_complete(root: Path, paths: Sequence[Path]) -> Sequence[Path]:
    """Return the datasets of a folder after checking that no shard is missing or there twice.

    Args:
        root: the folder. A shard that is given by its own path is taken alone.
        paths: the datasets below it; those that are no shards are passed over.

    Raises:
        HanlineError: a shard is missing or there twice, or a folder has shards of different
            datasets.
    """
    first: dict[Path | str, tuple[Path, dict[str, Any]]] = {}
    datasets: dict[str, dict[int, Path]] = {}
    for path in paths:
        metadata = read_metadata(path)
        if metadata is None or path == root:
            continue
        name = digest(metadata["set"])
        for group in (path.parent, name):
            _refuse_unlike(*first.setdefault(group, (path, metadata)), path, metadata)
        there = datasets.setdefault(name, {})
        if there.setdefault(metadata["number"], path) != path:
            raise HanlineError(
                f"shard {metadata['number']} of {metadata['of']} is there twice: remove "
                f"{there[metadata['number']]} or {path}"
            )
    for name, there in datasets.items():
        path, metadata = first[name]
        missing = [str(number) for number in range(metadata["of"]) if number not in there]
        if missing:
            raise HanlineError(
                f"of the {metadata['of']} shards of {path.parent}, counted from 0, "
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Copy them "
                f"there, or make them: {_command(metadata, missing, path.parent)}"
            )
    return paths


def _refuse_unlike(
    path: Path | str, metadata: dict[str, Any], other_path: Path, other: dict[str, Any]
) -> None:
    """Refuse two shards that are not of one dataset, or not of one way to cut it."""
    own, others = metadata["set"], other["set"]
    if own != others:
        names = dict.fromkeys([*own, *others])
        differing = [name for name in names if own.get(name) != others.get(name)]
        raise HanlineError(
            f"{path} and {other_path} are shards of different datasets, which differ in "
            f"{', '.join(differing)}: a folder is for the shards of one dataset"
        )
    if metadata["of"] != other["of"]:
        raise HanlineError(
            f"{path} and {other_path} are shards of one dataset, but cut into {metadata['of']} "
            f"and into {other['of']} parts: keep those of one number of parts"
        )


def _command(metadata: dict[str, Any], numbers: list[str], folder: Path) -> str:
    """Return the command line that makes some shards."""
    name, *settings = metadata["command"]
    sweep = ["-m"] if len(numbers) > 1 else []
    where = [f"output={folder}", f"{metadata['key']}={','.join(numbers)}"]
    return shlex.join(["hanline", name, *sweep, *settings, *where])
