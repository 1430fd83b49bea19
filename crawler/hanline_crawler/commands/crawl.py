"""``scrapy crawl`` with an exit status that says how the crawl went."""

import argparse
import logging

from scrapy.commands.crawl import Command as ScrapyCrawl
from scrapy.exceptions import UsageError

from hanline.cli.streams import escape_unencodable
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.extensions import EXIT_STATUS


class Command(ScrapyCrawl):
    """Scrapy's own exits with 0 even where a spider closed because of an error."""

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        """Run one spider."""
        if len(args) != 1:
            raise UsageError("name one spider; `scrapy list` says which there are")
        escape_unencodable()
        # Scrapy's log of its own parts at every start hides the crawl's messages.
        for name in ("addons", "core.engine", "crawler", "middleware", "utils.log"):
            logging.getLogger(f"scrapy.{name}").setLevel(logging.WARNING)
        process = self.crawler_process
        assert process is not None
        crawler = process.create_crawler(args[0])
        process.crawl(crawler, **opts.spargs)
        process.start()
        # Set when the spider closes: not there where Scrapy could not even start, or where a
        # second Ctrl-C cut the end short.
        status = crawler.stats.get_value(EXIT_STATUS) if not process.bootstrap_failed else None
        self.exitcode = int(ExitStatus.DEFECT if status is None else status)
