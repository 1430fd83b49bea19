"""One day of ``hanline update``: its steps, each of which is done once whatever ends the program.

A step ends with its file ``<step>.json`` in the day's folder, which appears whole or not at all.
What a step writes before that is replaced, or gone on with, when the step is done again.

Over 300 lines: the steps of one day, which share its folder and its record.
"""

import hashlib
import json
import logging
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.override_parser.types import Quote, QuotedString

from hanline.daily.child import run_command
from hanline.daily.comparing import ReadDataset, describe, readings
from hanline.daily.paired import Gain, paired_gain
from hanline.daily.real_lines import RealLine, new_lines, write_lines
from hanline.errors import HanlineError
from hanline.formats.model_card import model_card
from hanline.formats.record import build
from hanline.formats.registry import load_model
from hanline.formats.safetensors import Safetensors
from hanline.inference.reader import Reader
from hanline.metrics.base import Metric
from hanline.pretrained.model_registry import CARD, MODEL, About, ModelRegistry
from hanline.system.files import write_text
from hanline.text.crawled import ALL_HEADLINES
from hanline.training.run_folder import sole_run

logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")
DAYS, DATA, OUTCOME = "days", "data", "outcome"
TODAY, FIXED = "today", "fixed"
# Fewer new headlines, or real lines, wait for the next day.
FEWEST = 10
# Scrapy's crawl of Hanline: every page was read; some could not be read, and the rest is stored.
_CRAWLED = (0, 7)


@dataclass(frozen=True)
class Plan:
    """The keys of ``conf/update.yaml`` that a day works by."""

    crawl: Sequence[str]
    headlines: Path
    real: Path | None
    check_labels: bool
    fixed: Path | None
    guards: dict[str, Path]
    metric: Metric
    most_lost: float
    held_out: float
    compared_lines: int
    new_lines: int
    share_new: float
    share_real: float
    training: Sequence[str]
    rendering: Sequence[str]
    minutes: float


class Day:
    """A day of the registry.

    Args:
        registry: where the models are.
        name: the day's, and its model's.
        plan: what to work by.
    """

    def __init__(self, registry: ModelRegistry, name: str, plan: Plan) -> None:
        self.registry = registry
        self.name = name
        self.plan = plan
        self.folder = registry.folder / DAYS / name
        self.log = self.folder / "log.txt"

    def run(self) -> dict[str, Any]:
        """Do the steps that are not done.

        Returns:
            The outcome: ``promoted``, ``why``, and what the day had.

        Raises:
            HanlineError: a step failed. The model in use is the former one.
        """
        ended_before = self.folder / f"{OUTCOME}.json"
        if ended_before.is_file():
            # A model that was rolled back since then is not put in use again.
            return read_json(ended_before)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._step("crawl", self._crawl)
        headlines = self._step("headlines", self._take_headlines)
        real = self._step("real", self._take_real)
        decision = self._step("decision", lambda: self._decide(headlines, real))
        if decision["promoted"]:
            self.registry.use(self.name, decision["why"])
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        outcome = self._step(
            OUTCOME, lambda: {**decision, "headlines": headlines, "real": real, "ended": ended}
        )
        self._clean_up()
        return outcome

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        file = self.folder / f"{name}.json"
        if file.is_file():
            return read_json(file)
        result = work()
        write_text(file, json.dumps(result, ensure_ascii=False, indent=2) + "\n")
        return result

    def _crawl(self) -> dict[str, Any]:
        if not self.plan.crawl:
            return {}
        try:
            status = subprocess.run(list(self.plan.crawl), check=False).returncode
        except OSError as error:
            raise HanlineError(
                f"crawl=[{', '.join(self.plan.crawl)}]: expected a command that can be run, but "
                f"{error.strerror}. Correct it"
            ) from error
        if status not in _CRAWLED:
            raise HanlineError(
                f"crawl=[{', '.join(self.plan.crawl)}]: expected the exit status 0 or 7, not "
                f"{status}. See what it printed, and run hanline update again"
            )
        return {"status": status}

    # --- new text ------------------------------------------------------------------------------

    def _take_headlines(self) -> dict[str, Any]:
        """Divide the headlines into training, choosing and comparing."""
        file = self.plan.headlines / ALL_HEADLINES
        every = _lines(file) if file.is_file() else []
        earlier = [day for day in self._other_days() if (day / "headlines.json").is_file()]
        seen = {line for day in earlier for line in _lines(day / "new.txt")}
        new = [line for line in dict.fromkeys(every) if line not in seen]
        if len(new) < FEWEST:
            new = []
        choose, today, train = divided(new, self.plan.held_out, str)
        held = {
            line
            for day in earlier
            for name in ("choose.txt", "today.txt")
            for line in _lines(day / name)
        }
        held |= {*choose, *today}
        known_words = {word for line in seen for word in line.split()}
        known_characters = {character for line in seen for character in line}
        words = dict.fromkeys(word for line in new for word in line.split())
        characters = dict.fromkeys(character for line in new for character in line)
        for name, lines in {
            "new": new,
            "choose": choose,
            "today": today,
            "new_train": train,
            "train": [line for line in dict.fromkeys(every) if line not in held],
        }.items():
            write_text(self.folder / f"{name}.txt", "".join(f"{line}\n" for line in lines))
        return {
            "all": len(every),
            "new": len(new),
            "new_words": [word for word in words if word not in known_words][:1000],
            "new_characters": "".join(c for c in characters if c not in known_characters),
        }

    def _take_real(self) -> dict[str, Any]:
        """Divide the new real lines in the same way, into LMDB datasets."""
        if self.plan.real is None:
            return {"new": 0, "left_out": {}, "refused": {}}
        seen = {
            key
            for day in self._other_days()
            if (day / "real.json").is_file() and (day / "real_keys.txt").is_file()
            for key in _lines(day / "real_keys.txt")
        }
        reader = None
        if self.plan.check_labels:
            reader = Reader(self.registry.model_file(self._parent()), precision="32-true")
        found = new_lines(self.plan.real, seen, reader)
        lines = found.lines if len(found.lines) >= FEWEST else []
        choose, today, train = divided(lines, self.plan.held_out, _picture)
        for path, part in (
            (self.folder / "choose" / "real", choose),
            (self.folder / "today" / "real", today),
            (self.registry.folder / DATA / "real" / self.name, train),
        ):
            # A dataset of a step that was not ended may be of other lines.
            shutil.rmtree(path, ignore_errors=True)
            if part:
                write_lines(part, path)
        keys = "".join(f"{line.key}\n" for line in lines)
        write_text(self.folder / "real_keys.txt", keys)
        for name, problem in found.refused.items():
            logger.warning("real lines of %s are left out: %s", name, problem)
        return {
            "new": len(lines),
            "left_out": dict(found.left_out),
            "refused": found.refused,
        }

    def _other_days(self) -> list[Path]:
        days = self.registry.folder / DAYS
        return sorted(path for path in days.iterdir() if path.is_dir() and path.name != self.name)

    # --- the candidate ------------------------------------------------------------------------

    def _decide(self, headlines: dict[str, Any], real: dict[str, Any]) -> dict[str, Any]:
        if not headlines["new"] and not real["new"]:
            refused = "".join(f"; {name}: {why}" for name, why in real["refused"].items())
            return {"promoted": False, "why": f"nothing is new{refused}"}
        parent = self._step("parent", lambda: {"model": self.registry.in_use()})["model"]
        self._step("render", lambda: self._render(headlines))
        trained = self._step("train", lambda: self._train(parent, headlines, real))
        if not trained["kept"]:
            return {
                "promoted": False,
                "why": f"no state of the training read {FIXED} within {self.plan.most_lost} of "
                "before",
            }
        self._register(parent, trained["kept"], headlines, real)
        return self._step("compare", lambda: self._compare(parent))

    def _parent(self) -> str:
        file = self.folder / "parent.json"
        return str(read_json(file)["model"]) if file.is_file() else self.registry.in_use()

    def _fixed(self) -> Path:
        return self.plan.fixed or self.registry.folder / DATA / FIXED

    def _render(self, headlines: dict[str, Any]) -> dict[str, Any]:
        """Render the fixed dataset, and the lines of the new headlines."""
        if self.plan.fixed is None:
            self._synthesize(self._fixed(), self.plan.compared_lines, "corpus=embedded")
        if headlines["new"]:
            for part, held, count in (
                ("choose", "choose", self.plan.compared_lines),
                ("today", "today", self.plan.compared_lines),
                ("new_train", "choose", self.plan.new_lines),
            ):
                self._synthesize(
                    self.folder / part / "lines",
                    count,
                    "corpus=files",
                    f"corpus.files=[{quoted(self.folder / 'new_train.txt')}]",
                    f"corpus.validation_files=[{quoted(self.folder / f'{held}.txt')}]",
                    training=part == "new_train",
                )
        return {}

    def _synthesize(self, path: Path, count: int, *corpus: str, training: bool = False) -> None:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [
            "lmdb",
            f"output={quoted(path)}",
            *self.plan.rendering,
            *corpus,
            f"part={'train' if training else 'validation'}",
            f"samples={count}",
            # Other pictures of the same text each day.
            f"seed={int(_hashed(f'{self.name} {path.parent.name}')[:6], 16)}",
        ]
        run_command("synthesize", words, self.log)

    def _train(
        self, parent: str, headlines: dict[str, Any], real: dict[str, Any]
    ) -> dict[str, Any]:
        """Fine-tune from the parent, or go on with it.

        Returns:
            ``kept``: the best state within the bound, or None; and the command's ``words``.
        """
        run = self.folder / "run"
        limit = timedelta(minutes=self.plan.minutes)
        hours, seconds = divmod(limit.seconds, 3600)
        time = f"{limit.days:02d}:{hours:02d}:{seconds // 60:02d}:{seconds % 60:02d}"
        mixed = []
        if headlines["new"]:
            lines = self.folder / "new_train" / "lines"
            mixed.append(f"{{dir: {quoted(lines)}, share: {self.plan.share_new}}}")
        real_lines = self.registry.folder / DATA / "real"
        if real_lines.is_dir() and any(real_lines.iterdir()):
            mixed.append(f"{{dir: {quoted(real_lines)}, share: {self.plan.share_real}}}")
        words = [
            *self.plan.training,
            *self.plan.rendering,
            f"finetune_from={quoted(self.registry.model_file(parent))}",
            *self._corpus(),
            f"data.mix=[{', '.join(mixed)}]",
            f"data.validation.dir={quoted(self.folder / 'choose')}",
            f"guard.dataset={quoted(self._fixed())}",
            f"guard.most_lost={self.plan.most_lost}",
            f"guard.metric={self.plan.metric.name}",
            f"trainer.max_time='{time}'",
            f"hydra.run.dir={quoted(run)}",
        ]
        if (run / "last.ckpt").is_file():
            run_command("train", [f"resume={quoted(run / 'last.ckpt')}"], self.log)
        else:
            with sole_run(run):
                # A kill before the first last.ckpt may leave another state.
                for file in run.glob("*.ckpt"):
                    file.unlink()
            run_command("train", words, self.log)
        best = run / "best_guarded.ckpt"
        return {
            "kept": str(best.relative_to(self.folder)) if best.is_file() else None,
            "words": words,
        }

    def _corpus(self) -> list[str]:
        if not _lines(self.folder / "train.txt"):
            return ["corpus=embedded"]
        words = ["corpus=files", f"corpus.files=[{quoted(self.folder / 'train.txt')}]"]
        if _lines(self.folder / "choose.txt"):
            # Else a share of the headlines would be kept out of training.
            words.append(f"corpus.validation_files=[{quoted(self.folder / 'choose.txt')}]")
        return words

    def _register(
        self, parent: str, kept: str, headlines: dict[str, Any], real: dict[str, Any]
    ) -> None:
        if self.registry.has(self.name):
            return
        file = self.folder / kept
        model = load_model(file)
        assert model.spec is not None
        recognizer = build(model.spec, model.state, {}, file)
        about = About(
            self.name,
            datetime.now(UTC).isoformat(timespec="seconds"),
            [parent, *self.registry.about(parent).parents],
            "hanline train " + " ".join(read_json(self.folder / "train.json")["words"]),
            {
                "headlines": headlines["all"],
                "new headlines": headlines["new"],
                "new real lines": real["new"],
            },
            why="not compared yet",
        )

        def write(folder: Path) -> None:
            Safetensors().save(folder / MODEL, recognizer, model.history)
            card = model_card(self.name, Safetensors.title, model.spec or {}, model.history)
            (folder / CARD).write_text(card, encoding="utf-8", newline="\n")

        self.registry.add(about, write)

    # --- the comparison -----------------------------------------------------------------------

    def _compare(self, parent: str) -> dict[str, Any]:
        """Compare the candidate with its parent, and decide."""
        datasets = {TODAY: self.folder / "today", FIXED: self._fixed(), **self.plan.guards}
        metric = self.plan.metric
        gains: dict[str, Gain] = {}
        read: dict[str, ReadDataset] = {}
        before: dict[str, dict[str, float]] = {}
        for name, place in datasets.items():
            old = readings(self.registry.model_file(parent), place)
            read[name] = readings(self.registry.model_file(self.name), place)
            before[name] = old.metrics
            gains[name] = paired_gain(metric, old.labels, old.texts, read[name].texts)
        promoted, why = judged(gains, metric, self.plan.most_lost)
        self.registry.note(
            replace(
                self.registry.about(self.name),
                metrics={name: one.metrics for name, one in read.items()},
                promoted=promoted,
                why=why,
                details={"before": before},
            )
        )
        return {
            "promoted": promoted,
            "why": why,
            "metric": metric.name,
            "parent": parent,
            "gains": {name: asdict(gain) for name, gain in gains.items()},
        }

    def _clean_up(self) -> None:
        """Remove what the day needs no more."""
        for file in (self.folder / "run").glob("*.ckpt"):
            file.unlink()
        shutil.rmtree(self.folder / "new_train", ignore_errors=True)


def judged(gains: dict[str, Gain], metric: Metric, most_lost: float) -> tuple[bool, str]:
    """Return whether a candidate is promoted, and why.

    It is if today's dataset is read better, with its whole interval above 0, and no other dataset
    is read worse than ``most_lost``.
    """
    worse = [
        f"{name} is worse: {describe(gain, metric.name)}"
        for name, gain in gains.items()
        if name != TODAY and gain.gain < -most_lost
    ]
    today = describe(gains[TODAY], metric.name)
    if worse:
        return False, "; ".join(worse)
    if not gains[TODAY].is_better:
        return False, f"{TODAY} is not surely better: {today}"
    return True, f"{TODAY} is better: {today}; nothing else lost more than {most_lost:g}"


def divided(
    items: Sequence[_Item], held_out: float, key: Callable[[_Item], str]
) -> tuple[list[_Item], list[_Item], list[_Item]]:
    """Divide items into those to choose by, to compare by, and to train on.

    Items of one key stay together, and the parts depend on the keys alone.

    Args:
        items: in any order, which each part keeps.
        held_out: the share of the first two parts together.
        key: what an item is, as text.
    """
    keys = sorted({key(item) for item in items}, key=_hashed)
    count = max(2, round(held_out * len(keys))) if len(keys) > 2 else 0
    held = keys[:count]
    choose, today = {*held[0::2]}, {*held[1::2]}
    return (
        [item for item in items if key(item) in choose],
        [item for item in items if key(item) in today],
        [item for item in items if key(item) not in choose | today],
    )


def read_json(file: Path) -> dict[str, Any]:
    """Return the content of a step's file.

    Raises:
        HanlineError: it is damaged.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        problem = "it is not a mapping"
    except (OSError, ValueError, RecursionError) as error:
        problem = str(error)
    raise HanlineError(f"{file} is damaged: {problem}. Remove it, and its step is done again")


def quoted(path: Path) -> str:
    """Return a path as a value of the command line, whatever its characters."""
    return str(QuotedString(str(path), Quote.single).with_quotes())


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line]


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _picture(line: RealLine) -> str:
    return hashlib.sha256(line.image).hexdigest()
