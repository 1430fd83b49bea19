"""The base of all spiders: streams of pages, read one page after the other."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.http import Response
from scrapy.settings import BaseSettings
from scrapy.spidermiddlewares.httperror import HttpError
from twisted.python.failure import Failure
from w3lib.encoding import http_content_type_encoding

from hanline.errors import HanlineError
from hanline_crawler.crawl_run import CrawlRun
from hanline_crawler.decoding import decoded
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.items import Page
from hanline_crawler.middlewares import QuotaSpent, RobotsRefusal

logger = logging.getLogger(__name__)

ALLOWED_WAYS = (
    "Allowed ways to headlines are the News Search Open API (scrapy crawl naver_api) and the "
    "publishers' RSS feeds (scrapy crawl rss). Whoever has the site's permission says so with "
    "-s ROBOTSTXT_OBEY=False"
)

# Scrapy merges the command line's settings once more after a spider has had its say.
_ABOVE_THE_COMMAND_LINE = 50


class StartError(HanlineError):
    """Something that the spider needs before it can ask for anything is not there.

    Args:
        status: the exit status for it.
        message: The fault, and what to do.
    """

    def __init__(self, status: ExitStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreadableError(Exception):
    """An answer that cannot be what the site meant to say.

    Args:
        status: the exit status for it.
        message: The fault.
        again: whether asking again may help.
    """

    def __init__(self, status: ExitStatus, message: str, again: bool) -> None:
        super().__init__(message)
        self.status = status
        self.again = again


class HeadlineSpider(Spider):
    """Reads streams of pages: sections, queries or feeds, each page leading to the next.

    A spider says which streams there are, how a page of one is asked for, and how it is read.

    Attributes:
        hosts: the hosts that redirects may lead to.
        suffix: of a page that is kept for inspection.
    """

    hosts: set[str]
    suffix = ".html"
    run: CrawlRun

    @classmethod
    def update_settings(cls, settings: BaseSettings) -> None:
        """Make the User-Agent and the job folder what the settings mean."""
        super().update_settings(settings)
        contact = settings.get("CONTACT")
        if contact:
            agent = f"{settings['USER_AGENT']} (+{contact})"
            settings.set("USER_AGENT", agent, priority=_ABOVE_THE_COMMAND_LINE)
        # Scrapy's job folder would keep requests in files that a killed run leaves in pieces; the
        # job here is this project's own (hanline_crawler.job).
        settings.set("HEADLINES_JOB", settings.get("JOBDIR"), priority=_ABOVE_THE_COMMAND_LINE)
        settings.set("JOBDIR", None, priority=_ABOVE_THE_COMMAND_LINE)

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        spider = super().from_crawler(crawler, *args, **kwargs)
        assert cls.name is not None
        spider.run = CrawlRun(crawler.settings, cls.name)
        return spider

    def streams(self) -> Sequence[str]:
        """Return the names of the streams, in the order of their headlines.

        Raises:
            HanlineError: an argument or a setting is wrong.
        """
        raise NotImplementedError

    def request(self, stream: str, number: int, following: dict[str, Any] | None) -> Request:
        """Return the request for a page.

        Args:
            stream: the stream.
            number: the page's number, from 1.
            following: what the page before it said of this one; None for the first.
        """
        raise NotImplementedError

    def page(self, response: Response, stream: str, number: int) -> Page:
        """Read an answer.

        Raises:
            UnreadableError: The answer is not a page of the site.
        """
        raise NotImplementedError

    async def start(self) -> AsyncIterator[Request]:
        """Ask for each stream's first page, or for the one after the last that was kept."""
        try:
            streams = self.streams()
            self.run.open(streams)
        except HanlineError as error:
            self.run.fail(getattr(error, "status", ExitStatus.USAGE), str(error))
            return
        if not self.settings["CONTACT"]:
            self.logger.warning(
                "CONTACT is empty: set it to a mail address or a page, so that the sites' "
                "operators can reach whoever crawls"
            )
        for stream in streams:
            position = self.run.job.position(stream)
            if not position.ended:
                yield self._ask(stream, position.number + 1, position.next)

    def _ask(self, stream: str, number: int, following: dict[str, Any] | None) -> Request:
        return self.request(stream, number, following).replace(
            callback=self._read,
            errback=self._lost,
            cb_kwargs={"stream": stream, "number": number},
        )

    def _read(self, response: Response, stream: str, number: int) -> Iterator[Page | Request]:
        try:
            page = self.page(response, stream, number)
        except UnreadableError as error:
            assert response.request is not None
            again = None
            if error.again:
                again = get_retry_request(response.request, spider=self, reason=str(error))
            if again is not None:
                yield again
            else:
                self.keep_and_fail(error.status, str(error), response, stream, number)
            return
        yield page
        if page.next is not None:
            yield self._ask(stream, number + 1, page.next)

    def keep_and_fail(
        self, status: ExitStatus, what: str, response: Response, stream: str, number: int
    ) -> None:
        """Record a failure, and keep the page that shows it."""
        try:
            kept = self.run.keep_for_inspection(stream, number, response.body, self.suffix)
        except HanlineError as error:
            self.run.fail(status, f"{what}; the page is not kept: {error}", stream, number)
            return
        self.run.fail(status, f"{what}; the page is kept as {kept}", stream, number)

    def _lost(self, failure: Failure) -> None:
        if not self.crawler.crawling or self.run.ending:
            return  # nothing is lost: the job folder goes on here
        error = failure.value
        if isinstance(error, RobotsRefusal):
            if not any(each.status == ExitStatus.ROBOTS_REFUSED for each in self.run.failures):
                self.run.fail(ExitStatus.ROBOTS_REFUSED, f"{error}. {ALLOWED_WAYS}")
            return
        request: Request = failure.request  # type: ignore[attr-defined]
        stream, number = request.cb_kwargs["stream"], request.cb_kwargs["number"]
        if isinstance(error, QuotaSpent):
            self.run.fail(ExitStatus.QUOTA_SPENT, str(error), stream, number)
            return
        what = f"status {error.response.status}" if isinstance(error, HttpError) else repr(error)
        self.run.fail(ExitStatus.PAGES_LOST, f"the page could not be read: {what}", stream, number)

    def text(self, response: Response) -> str:
        """Return an answer's text, whatever its headers say."""
        header = (response.headers.get("Content-Type") or b"").decode("latin-1")
        return decoded(response.body, http_content_type_encoding(header))
