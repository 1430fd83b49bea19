"""Scrapy's extensions: the progress of a run and its end."""

import logging
import sqlite3
import sys
import time
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from scrapy import Spider, signals
from scrapy.crawler import Crawler
from twisted.python.failure import Failure

from hanline.errors import HanlineError
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.items import Page
from hanline_crawler.pipelines import run_of

logger = logging.getLogger(__name__)
EXIT_STATUS = "hanline_crawler/exit_status"


class EndOfRun:
    """Settles the pages when the spider closes, writes the files and prints the table."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        crawler.signals.connect(self._spider_error, signal=signals.spider_error)
        crawler.signals.connect(self._item_error, signal=signals.item_error)
        crawler.signals.connect(self._spider_closed, signal=signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        return cls(crawler)

    def _spider_error(self, failure: Failure) -> None:
        run_of(self._crawler).fail(ExitStatus.DEFECT, f"the spider failed: {failure.value!r}")

    def _item_error(self, item: Any, failure: Failure) -> None:
        stream, number = getattr(item, "stream", None), getattr(item, "number", None)
        run_of(self._crawler).fail(
            ExitStatus.DEFECT, f"the page was not kept: {failure.value!r}", stream, number
        )

    def _spider_closed(self, spider: Spider, reason: str) -> None:
        run = run_of(self._crawler)
        status = min((failure.status for failure in run.failures), default=ExitStatus.DEFECT)
        try:
            if run.opened:
                report = run.end(interrupted=reason == "shutdown")
                # Where nobody looks at a terminal no row need be folded.
                report.show(Console(width=None if sys.stdout.isatty() else 160))
                status = report.exit_status
        except HanlineError as error:
            logger.error("%s", error)
            status = ExitStatus.DEFECT
        except sqlite3.Error as error:
            logger.error(
                "cannot write the store in %s: %s. No page is lost: free space, and run the same "
                "command again.",
                run.folder,
                error,
            )
            status = ExitStatus.DEFECT
        except Exception:
            logger.exception("the run could not be ended; its pages are kept in the job folder")
            status = ExitStatus.DEFECT
        finally:
            run.close()
            self._crawler.stats.set_value(EXIT_STATUS, int(status))


class ProgressOfRun:
    """Shows how far the run is: plain lines in a log, on a terminal a bar.

    The bar counts sections, queries or feeds that have been read to their end: how many pages they
    have nobody knows before.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._seconds = crawler.settings.getfloat("PROGRESS_SECONDS")
        self._pages = self._headlines = 0
        self._last_line = time.monotonic()
        console = Console(stderr=True)
        self._line: Progress | None = None
        if console.is_terminal:
            self._line = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=console,
            )
        crawler.signals.connect(self._opened, signal=signals.spider_opened)
        crawler.signals.connect(self._page, signal=signals.item_scraped)
        # Before the end of the run prints its table: receivers are called in the order in which
        # they were connected, and settings name this extension first.
        crawler.signals.connect(self._closed, signal=signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        return cls(crawler)

    def _opened(self) -> None:
        if self._line is not None:
            self._task = self._line.add_task("starting", total=None)
            self._line.start()

    def _page(self, item: Page) -> None:
        self._pages += 1
        self._headlines += item.read
        text = f"{self._pages:,} pages, {self._headlines:,} headlines, {item.stream}"
        if self._line is not None:
            job = run_of(self._crawler).job
            self._line.update(
                self._task,
                description=f"{text} page {item.number}",
                total=len(job.streams),
                completed=sum(job.position(stream).ended for stream in job.streams),
            )
        elif time.monotonic() - self._last_line >= self._seconds:
            self._last_line = time.monotonic()
            logger.info("%s page %d", text, item.number)

    def _closed(self) -> None:
        if self._line is not None:
            self._line.stop()
        logger.info("%d pages, %d headlines in this run", self._pages, self._headlines)
