"""The registry of models: a folder that people can read, and which of its models is in use.

::

    in-use.json              which model is in use, and which were before
    2026-03-02/              a model, under its name
        model.safetensors    its weights, and model.json beside them
        about.json           parents, data, command, metrics, whether it was promoted, and why
        card.md              the model card

A model appears whole or not at all, and ``in-use.json`` is replaced in one step. So whatever ends
a program, the registry is whole.

Over 300 lines: all reading and writing of one folder, so that it stays whole.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from hanline.errors import HanlineError
from hanline.system.files import replacing

FOLDER_VARIABLE = "HANLINE_MODELS"
SHIPPED, IN_USE = "shipped", "in-use"
SHIPPED_FILE = Path(__file__).parent / "headline.safetensors"
_POINTER, _ABOUT, CARD, MODEL = "in-use.json", "about.json", "card.md", "model.safetensors"
# Folders that begin so are not complete, or are being removed.
_ASIDE = "."
_NAME = re.compile(r"[\w][\w.-]{0,99}")


@dataclass(frozen=True)
class About:
    """The facts about a model of the registry.

    Attributes:
        name: its name.
        made: when, as ISO 8601 in UTC.
        parents: the models that it was trained from, the nearest first.
        command: what made it.
        data: what it was trained on, by name.
        metrics: by dataset, then by metric, in the metrics' units.
        promoted: whether it was put in use when it was made.
        why: the reason for that.
        details: more facts, for the page.
    """

    name: str
    made: str
    parents: list[str] = field(default_factory=list)
    command: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    promoted: bool = False
    why: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Use:
    """One entry of ``in-use.json``: a model, since when it is in use, and why."""

    model: str
    since: str
    why: str


class ModelRegistry:
    """The models of one folder.

    Args:
        folder: the folder. None: the environment's ``HANLINE_MODELS``, else ``models`` in the
            user's data folder for Hanline.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        named = folder or os.environ.get(FOLDER_VARIABLE)
        if named:
            self.folder = Path(named).expanduser().absolute()
        else:
            self.folder = platformdirs.user_data_path("hanline", appauthor=False) / "models"

    def names(self) -> list[str]:
        """Return the names of all models, the oldest first; the shipped one is not among them."""
        if not self.folder.is_dir():
            return []
        found = [
            path.name
            for path in self.folder.iterdir()
            if is_name(path.name) and (path / _ABOUT).is_file() and (path / MODEL).is_file()
        ]
        return sorted(found, key=lambda name: (self.about(name).made, name))

    def has(self, name: str) -> bool:
        """Return whether a name is a model here; the shipped one and the one in use always are."""
        return name in (SHIPPED, IN_USE) or (
            is_name(name) and (self.folder / name / _ABOUT).is_file()
        )

    def in_use(self) -> str:
        """Return the name of the model in use; ``shipped`` if none has been put in use.

        Raises:
            HanlineError: ``in-use.json`` is damaged, or names a model that is not there.
        """
        uses = self.uses()
        if not uses:
            return SHIPPED
        name = uses[-1].model
        if name == IN_USE or not self.has(name):
            raise HanlineError(
                f"{self.folder / _POINTER}: expected the name of a model in its last entry, not "
                f"{name!r}. Put one in use with hanline models rollback NAME"
            )
        return name

    def uses(self) -> list[Use]:
        """Return which models were in use, the present one last.

        Raises:
            HanlineError: ``in-use.json`` is damaged.
        """
        pointer = self.folder / _POINTER
        if not pointer.is_file():
            return []
        try:
            entries = json.loads(pointer.read_text(encoding="utf-8"))
            if not isinstance(entries, list):
                raise TypeError("it is not a list")
            return [Use(str(e["model"]), str(e["since"]), str(e["why"])) for e in entries]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise HanlineError(
                f"{pointer} is damaged: expected a list of models with since and why. Put one in "
                "use after removing the file, with hanline models rollback NAME"
            ) from error

    def model_file(self, name: str) -> Path:
        """Return the file of a model's weights.

        Raises:
            HanlineError: there is no such model.
        """
        if name == IN_USE:
            name = self.in_use()
        if name == SHIPPED:
            return SHIPPED_FILE
        self._check(name)
        return self.folder / name / MODEL

    def about(self, name: str) -> About:
        """Return the facts about a model.

        Raises:
            HanlineError: there is no such model, or its ``about.json`` is damaged.
        """
        if name == IN_USE:
            name = self.in_use()
        if name == SHIPPED:
            return About(SHIPPED, "", why="it comes with Hanline")
        self._check(name)
        file = self.folder / name / _ABOUT
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            known = {key: content[key] for key in About.__dataclass_fields__ if key in content}
            about = About(**(known | {"name": name, "made": str(content["made"])}))
            _check_types(about)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise HanlineError(
                f"{file} is damaged ({error}): expected what hanline update wrote. Remove the "
                f"folder {file.parent}, unless the model is in use"
            ) from error
        return about

    def add(self, about: About, write: Callable[[Path], None]) -> Path:
        """Add a model; its folder appears whole or not at all.

        Args:
            about: the facts about it.
            write: writes ``model.safetensors`` and ``card.md`` into the folder that it is given.

        Returns:
            The model's folder. A model that is there already is left unchanged.

        Raises:
            HanlineError: the name cannot be one.
        """
        if not is_name(about.name):
            raise HanlineError(
                f"{about.name!r}: expected a model's name of letters, digits, dots, dashes and "
                f"underscores, other than {SHIPPED} and {IN_USE}. Choose another"
            )
        place = self.folder / about.name
        if self.has(about.name):
            return place
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f"{_ASIDE}{about.name}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir()
            write(aside)
            text = json.dumps(asdict(about), ensure_ascii=False, indent=2) + "\n"
            (aside / _ABOUT).write_text(text, encoding="utf-8", newline="\n")
            aside.rename(place)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return place

    def note(self, about: About) -> None:
        """Replace the facts about a model."""
        self._check(about.name)
        self._write_json(self.folder / about.name / _ABOUT, asdict(about))

    def use(self, name: str, why: str) -> None:
        """Put a model in use, in one step; nothing changes if it is in use already.

        Raises:
            HanlineError: there is no such model.
        """
        if name != SHIPPED:
            self._check(name)
        uses = self.uses()
        if uses and uses[-1].model == name:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_json(
            self.folder / _POINTER, [asdict(use) for use in [*uses, Use(name, now, why)]]
        )

    def roll_back(self, to: str | None = None) -> str:
        """Put the parent of the model in use back in use, or the model of a name.

        Returns:
            The name of the model that is in use now.

        Raises:
            HanlineError: there is no such model, or the model in use has no parent.
        """
        if to is None:
            now = self.in_use()
            parents = self.about(now).parents
            if not parents:
                raise HanlineError(
                    f"hanline models rollback: expected a model with a parent in use, but {now} "
                    "has none. Name the model: hanline models rollback NAME"
                )
            to = parents[0]
        elif to == IN_USE:
            to = self.in_use()
        self.use(to, "rolled back by hand")
        return to

    def remove_old(self, keep: int) -> list[str]:
        """Remove the oldest models, but never the one in use nor its parent.

        Args:
            keep: how many of the newest stay.

        Returns:
            The names of those that were removed.
        """
        now = self.in_use()
        kept = {now, *self.about(now).parents[:1], *self.names()[-keep:]}
        removed = [name for name in self.names() if name not in kept]
        for name in removed:
            # Renamed first: a folder that is partly removed is not a model.
            aside = self.folder / f"{_ASIDE}{name}.removed"
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / name).rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        return removed

    def _check(self, name: str) -> None:
        if not self.has(name):
            listed = ", ".join([SHIPPED, *self.names()])
            raise HanlineError(
                f"{name}: expected the name of a model in {self.folder}. There are: {listed}"
            )

    @staticmethod
    def _write_json(path: Path, content: Any) -> None:
        with replacing(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
            json.dump(content, file, ensure_ascii=False, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())


def is_name(name: str) -> bool:
    """Return whether a text can be the name of a model in the registry."""
    return bool(_NAME.fullmatch(name)) and name not in (SHIPPED, IN_USE)


def _check_types(about: About) -> None:
    expected = (
        (about.parents, list),
        (about.data, dict),
        (about.metrics, dict),
        (about.details, dict),
        (about.why, str),
        (about.command, str),
    )
    for value, type_ in expected:
        if not isinstance(value, type_):
            raise TypeError(f"{value!r} is not of the type {type_.__name__}")
    if not all(isinstance(values, dict) for values in about.metrics.values()):
        raise TypeError("metrics are not by dataset")
