"""``hanline update``: trains on new text, compares, and promotes the model if it is better."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig
from pydantic import ConfigDict

from hanline.cli.hydra_app import plain, run
from hanline.daily.day import DAYS, FIXED, OUTCOME, TODAY, Day, Plan
from hanline.daily.history_page import write_history
from hanline.errors import HanlineError
from hanline.metrics.registry import reading_metrics
from hanline.pretrained.model_registry import ModelRegistry, is_name
from hanline.text.crawled import headlines_folder

LOCK = ".update.lock"


@dataclass
class Guarded:
    """An entry of ``guards``."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    dir: str


@dataclass
class Shares:
    """The keys below ``shares``."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    new: float
    real: float


@dataclass
class Settings:
    """The keys of ``conf/update.yaml``."""

    registry: str | None
    day: str | None
    crawl: list[str]
    headlines: str | None
    real: str | None
    check_labels: bool
    fixed: str | None
    guards: list[Guarded]
    metric: str
    most_lost: float
    held_out: float
    compared_lines: int
    new_lines: int
    shares: Shares
    training: list[str]
    rendering: list[str]
    minutes: float
    keep: int


def main() -> None:
    """Compose the configuration and do the day."""
    run("update", Settings, update)


def update(config: DictConfig) -> None:
    """End the days that were begun, then do today's; print what became of each.

    Raises:
        HanlineError: a step failed, or another update is at work. The model in use stays.
    """
    settings = plain(config)
    plan = plan_of(settings)
    registry = ModelRegistry(settings["registry"])
    name = settings["day"] or datetime.now().date().isoformat()
    if not is_name(name) or name == DAYS:
        raise HanlineError(
            f"day={name}: expected a name of letters, digits, dots, dashes and underscores. Write "
            "it as 2026-03-02"
        )
    with sole_update(registry.folder):
        try:
            for day in [*begun(registry, name), name]:
                _do(Day(registry, day, plan))
            for removed in registry.remove_old(settings["keep"]):
                print(f"removed: {removed}")
            print(f"in use: {registry.in_use()}; the history is {write_history(registry)}")
        except OSError as error:
            raise HanlineError(
                f"{error.filename or registry.folder}: cannot be written or read: "
                f"{error.strerror or error}. The model in use is {registry.in_use()} as before. "
                "Free space, or correct the path, and run the same command again: it goes on there"
            ) from error
        except HanlineError as error:
            raise HanlineError(
                f"{error}\nThe model in use is {registry.in_use()}. Run the same command again to "
                "go on where it ended"
            ) from error


def _do(day: Day) -> None:
    outcome: dict[str, Any] = day.run()
    verdict = "promoted" if outcome["promoted"] else "kept the former model"
    print(f"{day.name}: {verdict}, since {outcome['why']}")


def begun(registry: ModelRegistry, today: str) -> list[str]:
    """Return the days that were begun and not ended, without today."""
    days = registry.folder / DAYS
    if not days.is_dir():
        return []
    return sorted(
        path.name
        for path in days.iterdir()
        if path.is_dir() and path.name != today and not (path / f"{OUTCOME}.json").is_file()
    )


@contextmanager
def sole_update(folder: Path) -> Iterator[None]:
    """Keep other updates of a registry out while this one lasts.

    Raises:
        HanlineError: another one is at work, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HanlineError(
            f"registry={folder}: expected a registry that no other hanline update is at work in. "
            "Wait for its end"
        ) from error
    except OSError as error:
        raise HanlineError(
            f"registry={folder}: expected a folder that can be written ({error.strerror}). Name "
            "another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def plan_of(settings: dict[str, Any]) -> Plan:
    """Return what a day works by.

    Raises:
        HanlineError: a value is out of range.
    """
    metrics = reading_metrics()
    guards = {entry["name"]: Path(entry["dir"]).absolute() for entry in settings["guards"]}
    new, real = settings["shares"]["new"], settings["shares"]["real"]
    for key, wrong, rule in (
        ("metric", settings["metric"] not in metrics, f"one of {', '.join(metrics)}"),
        ("most_lost", not 0 <= settings["most_lost"] < 1000, "at least 0, in the metric's unit"),
        ("held_out", not 0 < settings["held_out"] <= 0.5, "above 0 and at most 0.5"),
        ("compared_lines", settings["compared_lines"] < 1, "at least 1"),
        ("new_lines", settings["new_lines"] < 1, "at least 1"),
        ("shares", not (new > 0 and real > 0 and new + real < 1), "shares above 0, below 1 in sum"),
        ("minutes", not 0 < settings["minutes"] < 10**5, "above 0"),
        ("keep", settings["keep"] < 1, "at least 1"),
        (
            "guards",
            len(guards) < len(settings["guards"]) or {TODAY, FIXED} & set(guards),
            f"each name once, and not {TODAY} or {FIXED}",
        ),
    ):
        if wrong:
            raise HanlineError(f"{key}={settings[key]}: expected {rule}. Correct it")

    def place(key: str) -> Path | None:
        return Path(settings[key]).absolute() if settings[key] else None

    return Plan(
        crawl=settings["crawl"],
        headlines=place("headlines") or headlines_folder(),
        real=place("real"),
        check_labels=settings["check_labels"],
        fixed=place("fixed"),
        guards=guards,
        metric=metrics[settings["metric"]],
        most_lost=settings["most_lost"],
        held_out=settings["held_out"],
        compared_lines=settings["compared_lines"],
        new_lines=settings["new_lines"],
        share_new=new,
        share_real=real,
        training=settings["training"],
        rendering=settings["rendering"],
        minutes=settings["minutes"],
    )


if __name__ == "__main__":
    main()
