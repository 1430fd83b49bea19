"""Downloader middlewares: robots.txt, pauses, redirects and the search API's quota."""

import asyncio
import logging
import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Self
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.robotstxt import ProtegoRobotParser, RobotParser

from hanline_crawler.pipelines import run_of

logger = logging.getLogger(__name__)


class RobotsRefusal(IgnoreRequest):
    """robots.txt refuses the request, or nobody can say that it allows it."""


class ObeyRobots:
    """Asks a site's robots.txt before anything else, as RFC 9309 says.

    Scrapy's own goes ahead where robots.txt answers with a server error or not at all; the RFC
    (2.3.1.4) says that then nothing may be fetched. Switched off with ``ROBOTSTXT_OBEY=False``.
    """

    def __init__(self, crawler: Crawler) -> None:
        if not crawler.settings.getbool("ROBOTSTXT_OBEY"):
            raise NotConfigured
        self._crawler = crawler
        self._user_agent: str = crawler.settings["USER_AGENT"]
        self._rules: dict[str, asyncio.Future[RobotParser]] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        """Let a request through, or raise RobotsRefusal."""
        if request.meta.get("dont_obey_robotstxt"):
            return
        address = urlsplit(request.url)
        robots = f"{address.scheme}://{address.netloc}/robots.txt"
        if robots not in self._rules:
            self._rules[robots] = asyncio.get_running_loop().create_future()
            try:
                self._rules[robots].set_result(await self._read(robots))
            except RobotsRefusal as refusal:
                self._rules[robots].set_exception(refusal)
        rules = await asyncio.shield(self._rules[robots])
        if not rules.allowed(request.url, self._user_agent):
            raise RobotsRefusal(f"{robots} refuses {self._user_agent!r}")

    async def _read(self, robots: str) -> RobotParser:
        request = Request(
            robots, priority=1000, meta={"dont_obey_robotstxt": True}, callback=NO_CALLBACK
        )
        try:
            response = await self._crawler.engine.download_async(request)
        except Exception as error:
            raise RobotsRefusal(f"{robots} could not be read: {error or type(error)}") from error
        if response.status >= 500 or response.status == 429:
            raise RobotsRefusal(f"{robots} could not be read: status {response.status}")
        body = response.body if response.status < 300 else b""  # 4xx: there are no rules
        return ProtegoRobotParser.from_crawler(self._crawler, body)


class PoliteRetries(RetryMiddleware):
    """Asks again after a fault, and leaves the whole host alone meanwhile.

    The pause is what ``Retry-After`` asks for, or else grows twofold with each attempt. A host
    that asks for more than ``RETRY_AFTER_MAX`` seconds is asked no more in this run.
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        middleware = super().from_crawler(crawler)
        settings = crawler.settings
        middleware._first_pause = settings.getfloat("RETRY_BACKOFF")
        middleware._longest_pause = settings.getfloat("RETRY_BACKOFF_MAX")
        middleware._longest_wait = settings.getfloat("RETRY_AFTER_MAX")
        middleware._not_before = {}
        return middleware

    _first_pause: float
    _longest_pause: float
    _longest_wait: float
    _not_before: dict[str, float]

    async def process_request(self, request: Request) -> None:
        """Wait until the host may be asked again."""
        if run_of(self.crawler).ending:
            raise IgnoreRequest("the run is ending")
        host = urlsplit(request.url).netloc
        while (left := self._not_before.get(host, 0.0) - time.monotonic()) > 0:
            if left > self._longest_wait:
                raise IgnoreRequest(
                    f"{host} asks to be left alone for {left:.0f} seconds, more than "
                    f"RETRY_AFTER_MAX ({self._longest_wait:.0f})"
                )
            if not self.crawler.crawling:  # Ctrl-C must not wait for the end of a pause
                raise IgnoreRequest("the run was interrupted")
            await asyncio.sleep(min(left, 0.2))

    def process_response(self, request: Request, response: Response) -> Request | Response:  # type: ignore[override]
        """Ask again where the status says that it may help."""
        asked = retry_after(response)
        if asked is not None:
            self._pause(request, asked)
        again = super().process_response(request, response)
        if isinstance(again, Request) and asked is None:
            self._pause(request, self._back_off(request))
        return again

    def process_exception(  # type: ignore[override]
        self, request: Request, exception: Exception
    ) -> Request | Response | None:
        """Ask again after a broken connection or a time-out."""
        again = super().process_exception(request, exception)
        if isinstance(again, Request):
            self._pause(request, self._back_off(request))
        return again

    def _back_off(self, request: Request) -> float:
        doubled = self._first_pause * 2.0 ** request.meta.get("retry_times", 0)
        # Spread, so that clients that failed together do not come back together.
        return min(doubled, self._longest_pause) * random.uniform(0.75, 1.25)

    def _pause(self, request: Request, seconds: float) -> None:
        host = urlsplit(request.url).netloc
        until = time.monotonic() + seconds
        self._not_before[host] = max(until, self._not_before.get(host, 0.0))
        logger.info("leaving %s alone for %.1f seconds", host, seconds)


def retry_after(response: Response) -> float | None:
    """Return the seconds that a 429 or 503 asks to wait (RFC 9110, 10.2.3), or None."""
    if response.status not in (429, 503):
        return None
    value = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):  # not a date
        return None


class RedirectRefusal(IgnoreRequest):
    """A redirect leads to a host that this spider has no business with."""


class RedirectsWithinHosts(RedirectMiddleware):
    """Follows redirects only to the spider's own hosts and to those in ``REDIRECT_HOSTS``.

    Scrapy's offsite filter drops such a request without a word to the spider, and a page would be
    missing that nobody knows of.
    """

    def process_response(self, request: Request, response: Response) -> Request | Response:  # type: ignore[override]
        """Follow a redirect, or raise RedirectRefusal."""
        result = super().process_response(request, response)
        if isinstance(result, Request):
            host = urlsplit(result.url).hostname
            allowed = {
                *getattr(self.crawler.spider, "hosts", ()),
                *self.crawler.settings.getlist("REDIRECT_HOSTS"),
            }
            if host not in allowed:
                raise RedirectRefusal(f"redirected to another host: {result.url}")
        return result


class QuotaSpent(IgnoreRequest):
    """The day's calls of a search API key are used up."""


class ApiQuota:
    """Counts the search API's calls, over all runs of a day, and makes none too many."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._quota = crawler.settings.getint("NAVER_API_DAILY_CALLS")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build the part from its crawler, as Scrapy asks."""
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        """Count a call, or raise QuotaSpent."""
        key = request.meta.get("api_key")
        if key is None:
            return
        run = run_of(self._crawler)
        client = sha256(key.encode()).hexdigest()[:16]  # the key itself is nobody's business
        if not run.store.count_api_call(run.clock.today(), client, self._quota):
            raise QuotaSpent(
                f"the day's {self._quota:,} calls of this key are used up. "
                "The next day begins at midnight in Korea."
            )
