"""The item pipelines: clean a page's headlines, and keep the page."""

import sqlite3
from typing import Self

from scrapy.crawler import Crawler
from scrapy.exceptions import DropItem

from hanline_crawler.crawl_run import CrawlRun
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.items import Page


class CleanHeadlinesPipeline:
    """Cleans the headlines, and drops those that are no use."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        return cls(crawler)

    def process_item(self, item: Page) -> Page:
        """Clean one page's headlines."""
        clean = run_of(self._crawler).cleaning
        kept = []
        for headline in item.headlines:
            cleaned = clean(headline.headline)
            if cleaned.dropped:
                item.dropped[cleaned.dropped] = item.dropped.get(cleaned.dropped, 0) + 1
            else:
                headline.headline = cleaned.text
                kept.append(headline)
        item.headlines = kept
        return item


class StorePagePipeline:
    """Puts the page into the job folder.

    Repeats are not looked for here but when the run ends: which of two headlines came first must
    follow from the order of sections and pages, not from which answer the network brought first.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        return cls(crawler)

    def process_item(self, item: Page) -> Page:
        """Keep one page."""
        for headline in item.headlines:  # also where cleaning is switched off
            headline.headline = " ".join(headline.headline.splitlines())
        run = run_of(self._crawler)
        if run.ending:
            raise DropItem("the run is ending", log_level="DEBUG")
        try:
            run.job.keep(item)
        except sqlite3.Error as error:
            run.fail(
                ExitStatus.DEFECT,
                f"cannot keep the page in {run.job.folder}: {error}. Free space, and run the same "
                "command again: it goes on here.",
                item.stream,
                item.number,
            )
            run.ending = True
            raise DropItem("it cannot be kept", log_level="DEBUG") from None
        return item


def run_of(crawler: Crawler) -> CrawlRun:
    """Return the run of a crawler's spider."""
    run = getattr(crawler.spider, "run", None)
    if not isinstance(run, CrawlRun):
        raise TypeError(f"{crawler.spider} is not a headline spider: it has no run")
    return run
