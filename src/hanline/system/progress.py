"""Show progress: a bar on a terminal, plain lines in a log."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 10.0


class Advance(Protocol):
    """A function that counts items as done."""

    def __call__(self, count: int = 1, /) -> None: ...


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show how far a piece of work is.

    Args:
        what: the work, in a word or two: ``drawing words``.
        total: how many items there are.
        done: how many of them an earlier run has done.

    Yields:
        A function to call with the number of items that have been done since the last call.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total, completed=done)
            yield lambda count=1: bar.advance(task, count)
        return

    started = last_line = time.monotonic()
    position = done

    def advance(count: int = 1) -> None:
        nonlocal position, last_line
        position += count
        now = time.monotonic()
        if now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            rate = (position - done) / (now - started)
            logger.info("%s: %d of %d, %.0f a second", what, position, total, rate)

    yield advance
    seconds = time.monotonic() - started
    logger.info("%s: %d of %d, %.1f seconds", what, position, total, seconds)
