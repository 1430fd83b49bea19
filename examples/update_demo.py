"""Some days of ``hanline update`` on a news site of this machine.

``python examples/update_demo.py`` shows it.
On each day the site is crawled, sixty of the day's captions come as real labelled lines, as someone
would have corrected them with ``hanline review``, and the reader is updated. The table compares it
with the reader that is never updated.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from crawl_demo import FIRST_DAY, control, crawl, running_server
from hanline.daily.comparing import readings
from hanline.pretrained import SHIPPED, model_path
from hanline.pretrained.model_registry import ModelRegistry
from hanline.synthesis.fonts import bundled_files
from news_site.news import News


@dataclass(frozen=True)
class Size:
    """How much a day takes.

    Attributes:
        pages: of each section of the site.
        steps: of the training.
        learning_rate: its highest.
        minutes: the longest that the training takes.
        new_lines: rendered lines of the day's headlines.
        compared: lines to compare by.
        real: real lines of a day.
    """

    pages: int = 3
    steps: int = 50
    learning_rate: float = 0.0001
    minutes: float = 2.0
    new_lines: int = 400
    compared: int = 120
    real: int = 60


def main() -> int:
    """Do some days and print their table.

    Returns:
        0, or 1 if a crawl or an update failed.
    """
    parser = argparse.ArgumentParser(description="Days of the news site, and a reader after each.")
    parser.add_argument("--days", default="1,4,6", help="which days of the site, in their order")
    parser.add_argument("--poisoned", type=int, default=0, help="a day with shifted labels")
    parser.add_argument("--folder", help="where to put the files; a temporary one without it")
    options = parser.parse_args()
    days = [int(day) for day in options.days.split(",")]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        rows = run_days(days, Path(options.folder or temporary).resolve(), Size(), options.poisoned)
    print(table(rows))
    print(f"in {(time.monotonic() - began) / 60:.1f} minutes")
    return 0 if len(rows) == len(days) else 1


def run_days(
    days: Sequence[int], folder: Path, size: Size, poisoned: int = 0
) -> list[dict[str, Any]]:
    """Crawl and update on each day.

    Args:
        days: of the site, from 1.
        folder: where the files go.
        size: how much a day takes.
        poisoned: a day whose real lines have the labels of the line after; 0 for none.

    Returns:
        A row of the table for each day that was done.
    """
    rows: list[dict[str, Any]] = []
    with running_server() as address:
        for day in days:
            date = (FIRST_DAY + timedelta(days=day - 1)).isoformat()
            control(address, day=day, pages=size.pages, robots="allow")
            print(f"\nDay {day} of the site, {date}", flush=True)
            status = crawl(
                "naver_section",
                NAVER_NEWS_URL=address,
                HEADLINES_FOLDER=folder / "headlines",
                HEADLINES_CLOCK=f"{date}T09:00:00+09:00",
                CONTACT="demo@localhost",
                DOWNLOAD_DELAY=0,
                AUTOTHROTTLE_ENABLED=False,
                LOG_LEVEL="WARNING",
            )
            if status:
                print(f"the crawl ended with {status}", file=sys.stderr)
                return rows
            captions(folder, date, day, size.real, shifted=day == poisoned)
            if hanline("update", *update_words(folder, date, size)):
                return rows
            rows.append(row(ModelRegistry(folder / "models"), day, date))
            print(table(rows), flush=True)
    return rows


def captions(folder: Path, date: str, day: int, count: int, shifted: bool) -> None:
    """Render captions of the day in the site's font, with their text as ``gt.txt``."""
    font = next(path for path in bundled_files() if path.name == News(day).caption_font)
    place = folder / "real" / date
    hanline(
        "synthesize",
        "folder",
        f"output={place}",
        "renderer=broadcast",
        "corpus=files",
        f"corpus.files=[{folder / 'headlines' / f'{date}.new.txt'}]",
        "corpus.min_words=1",
        "corpus.max_words=5",
        f"max_label_length={40}",
        f"synthesis.fonts=[{font}]",
        f"seed={day}",
        f"samples={count}",
    )
    if shifted:
        gt = place / "gt.txt"
        rows = [line.split("\t") for line in gt.read_text(encoding="utf-8").splitlines()]
        labels = [label for _, label in rows]
        moved = zip(rows, labels[1:] + labels[:1], strict=True)
        text = "".join(f"{name}\t{label}\n" for (name, _), label in moved)
        gt.write_text(text, encoding="utf-8", newline="\n")


def update_words(folder: Path, date: str, size: Size) -> list[str]:
    """Return the words of ``hanline update`` for a day."""
    training = [
        "experiment=adapt",
        "data.batch_size=16",
        f"trainer.max_steps={size.steps}",
        f"trainer.val_check_interval={size.steps // 2}",
        "scheduler.warmup_steps=5",
        f"optimizer.lr={size.learning_rate}",
        "logger=none",
        "~callbacks.reading_grid",
    ]
    return [
        f"registry={folder / 'models'}",
        f"headlines={folder / 'headlines'}",
        f"real={folder / 'real'}",
        f"day={date}",
        f"minutes={size.minutes}",
        f"new_lines={size.new_lines}",
        f"compared_lines={size.compared}",
        f"training=[{','.join(training)}]",
        "rendering=[renderer=varied,corpus.min_words=1,corpus.max_words=5,max_label_length=60,"
        "synthesis.fonts=bundled]",
    ]


def hanline(command: str, *words: str) -> int:
    """Run a command of Hanline, and return its exit status."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    program = [sys.executable, "-m", "hanline.cli.main", command, *words]
    return subprocess.run(program, env=environment, check=False).returncode


def row(registry: ModelRegistry, day: int, date: str) -> dict[str, Any]:
    """Return what the table shows of a day."""
    folder = registry.folder / "days" / date
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"day": day, "promoted": outcome["promoted"], "why": outcome["why"]}
    if (folder / "today").is_dir():
        now = readings(registry.model_file("in-use"), folder / "today")
        never = readings(model_path(SHIPPED), folder / "today")
        found |= {"never updated": never.metrics["cer"], "in use": now.metrics["cer"]}
        for name in ("before", "after"):
            found[f"fixed {name}"] = outcome.get("gains", {}).get("fixed", {}).get(name)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Render the days: the character error rates on the day's new text, and the outcome."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    lines = ["", "CER in % on the day's new text, and on the fixed dataset:"]
    lines.append(f"{'day':>4}{'never updated':>15}{'in use':>8}{'fixed':>16}  outcome")
    for one in rows:
        fixed = f"{number(one.get('fixed before'))} → {number(one.get('fixed after'))}"
        lines.append(
            f"{one['day']:>4}{number(one.get('never updated')):>15}{number(one.get('in use')):>8}"
            f"{fixed:>16}  {'promoted' if one['promoted'] else 'kept'}: {one['why']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
