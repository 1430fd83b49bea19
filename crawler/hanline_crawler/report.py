"""The report of a run: a table, and the same as JSON."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.output import write_lines
from hanline_crawler.store import Counts


@dataclass(frozen=True)
class Failure:
    """Something that a run could not do.

    Attributes:
        status: what the exit status says of it.
        what: in words, and what to do.
        stream: the section, query or feed; None where it concerns the whole run.
        page: the page's number in its stream.
    """

    status: ExitStatus
    what: str
    stream: str | None = None
    page: int | None = None


@dataclass
class Report:
    """A run's result.

    Attributes:
        spider: the spider's name.
        day: the date of the day's files.
        started, ended: ISO 8601 in UTC, by the crawl's clock.
        streams: what became of the headlines, by section, query or feed, those of an interrupted
            run's earlier parts too.
        failures: what this process could not do.
        interrupted: whether Ctrl-C or SIGTERM ended it.
        files: what was written.
    """

    spider: str
    day: str
    started: str
    ended: str
    streams: dict[str, Counts]
    failures: list[Failure]
    interrupted: bool
    files: list[Path]

    @property
    def exit_status(self) -> ExitStatus:
        """Return the least status of the failures; without any, interrupted or complete."""
        if self.failures:
            return min(failure.status for failure in self.failures)
        return ExitStatus.INTERRUPTED if self.interrupted else ExitStatus.COMPLETE

    def total(self) -> Counts:
        """Return the sum over all streams."""
        total = Counts()
        for counts in self.streams.values():
            total.add(counts)
        return total

    def as_json(self) -> dict[str, Any]:
        """Return the report in JSON's types."""
        return {
            "spider": self.spider,
            "day": self.day,
            "started": self.started,
            "ended": self.ended,
            "exit_status": int(self.exit_status),
            "outcome": self.exit_status.name.lower(),
            "total": asdict(self.total()),
            "sections": {stream: asdict(counts) for stream, counts in self.streams.items()},
            "failures": [
                {**asdict(failure), "status": failure.status.name.lower()}
                for failure in self.failures
            ],
            "files": [path.name for path in self.files],
        }

    def write(self, path: Path) -> Path:
        """Write the JSON.

        Raises:
            HanlineError: the file cannot be written.
        """
        return write_lines(path, [json.dumps(self.as_json(), ensure_ascii=False, indent=2)])

    def show(self, console: Console) -> None:
        """Print the table."""
        reasons = sorted(self.total().dropped)
        table = Table(title=f"{self.spider}, {self.day}")
        table.add_column("section")
        heads = ["pages", "headlines", "new", "repeats", "near repeats"]
        for head in heads + [f"dropped: {reason}" for reason in reasons]:
            table.add_column(head, justify="right")
        for stream, counts in self.streams.items():
            table.add_row(stream, *_cells(counts, reasons))
        table.add_section()
        table.add_row("all", *_cells(self.total(), reasons), style="bold")
        console.print(table)
        for line, count in Counter(_line(failure) for failure in self.failures).items():
            text = line if count == 1 else f"{line} ({count} times)"
            console.print(text, style="red", markup=False, soft_wrap=True)
        console.print(f"outcome: {self.exit_status.name.lower().replace('_', ' ')}")


def _cells(counts: Counts, reasons: list[str]) -> list[str]:
    numbers = [counts.pages, counts.headlines, counts.new, counts.repeats, counts.near]
    return [
        f"{number:,}" for number in numbers + [counts.dropped.get(reason, 0) for reason in reasons]
    ]


def _line(failure: Failure) -> str:
    where = f"{failure.stream}, page {failure.page}: " if failure.stream else ""
    return where + failure.what
