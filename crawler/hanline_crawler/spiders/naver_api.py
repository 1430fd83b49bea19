"""Naver's News Search Open API: the sanctioned way to headlines."""

import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.http import Response

from hanline.errors import HanlineError
from hanline_crawler.clock import published_in_feed, utc
from hanline_crawler.decoding import absolute_address, decoded_json, whole_characters
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.items import Headline, Page
from hanline_crawler.naver_address import article_id
from hanline_crawler.spiders.headline_spider import HeadlineSpider, StartError, UnreadableError

MOST_RESULTS = 1000  # the API's `start` goes no further
_LONGEST_MESSAGE = 200  # characters


class NaverApiSpider(HeadlineSpider):
    """Headlines that match queries, the newest first, up to a thousand a query.

    The keys are the environment's ``NAVER_CLIENT_ID`` and ``NAVER_CLIENT_SECRET``.

    Args:
        queries: what to search for, with commas between.
        queries_file: a UTF-8 file of queries, one a line; the setting ``NAVER_API_QUERIES_FILE``
            without it.
    """

    name = "naver_api"
    suffix = ".json"
    handle_httpstatus_list = [400, 401, 403, 429]

    def __init__(self, queries: str = "", queries_file: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._queries = queries
        self._queries_file = queries_file

    def streams(self) -> list[str]:
        """Return the queries."""
        self._base = self.settings["NAVER_API_URL"].rstrip("/")
        self.hosts = {urlsplit(self._base).hostname or ""}
        self._display = self.settings.getint("NAVER_API_DISPLAY")
        if not 1 <= self._display <= 100:
            raise HanlineError(
                f"NAVER_API_DISPLAY={self._display}: expected 1 to 100. Change the setting."
            )
        if self.settings["NAVER_API_SORT"] not in ("date", "sim"):
            raise HanlineError(
                f"NAVER_API_SORT={self.settings['NAVER_API_SORT']}: expected date or sim. "
                "Change the setting."
            )
        queries = self._read_queries()
        self._id = os.environ.get("NAVER_CLIENT_ID", "").strip()
        self._secret = os.environ.get("NAVER_CLIENT_SECRET", "").strip()
        if not (self._id and self._secret):
            raise StartError(
                ExitStatus.KEYS_REFUSED,
                "the search API needs keys: register an application for «검색» at "
                "https://developers.naver.com and set NAVER_CLIENT_ID and NAVER_CLIENT_SECRET",
            )
        return queries

    def _read_queries(self) -> list[str]:
        file = self._queries_file or self.settings["NAVER_API_QUERIES_FILE"]
        lines = self._queries.split(",")
        if file:
            try:
                lines += Path(file).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise HanlineError(f"cannot read the queries file {file}: {error}") from error
        queries = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not queries:
            raise HanlineError(
                "there is nothing to search for: name queries with -a queries=정부,경제 or a file "
                "of them, one a line, with -a queries_file=FILE"
            )
        return queries

    def request(self, stream: str, number: int, following: dict[str, Any] | None) -> Request:
        """Return the request for a page of a query's results."""
        query = {
            "query": stream,
            "display": self._display,
            "start": following["start"] if following else 1,
            "sort": self.settings["NAVER_API_SORT"],
        }
        return Request(
            f"{self._base}/v1/search/news.json?{urlencode(query)}",
            headers={
                "X-Naver-Client-Id": self._id,
                "X-Naver-Client-Secret": self._secret,
                "Accept": "application/json",
            },
            # An API for programs, used with a key and under its own terms: robots.txt is for
            # those who come without.
            meta={"dont_obey_robotstxt": True, "api_key": self._id},
        )

    def page(self, response: Response, stream: str, number: int) -> Page:
        """Read a page of results."""
        if response.status != 200:
            self._refused(response, stream, number)
        try:
            answer = decoded_json(self.text(response))
            total = int(answer["total"])
            results = [_result(each) for each in answer["items"]]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise UnreadableError(
                ExitStatus.PAGES_LOST,
                f"the answer is not a list of results ({error!r})",
                again=True,
            ) from error
        now = utc(self.run.clock.now())
        headlines = [
            Headline(
                headline=result.title,
                section=stream,
                publisher=(urlsplit(result.original).hostname or "").removeprefix("www."),
                url=result.link,
                article_id=article_id(result.link) or "",
                published=published_in_feed(result.date),
                crawled=now,
                source="naver_api",
            )
            for result in results
        ]
        # From what was asked for: an answer that names another start would lead in a circle.
        after = 1 + number * self._display
        more = bool(headlines) and after <= min(total, MOST_RESULTS)
        return Page(stream, number, headlines, {"start": after} if more else None)

    def _refused(self, response: Response, stream: str, number: int) -> None:
        what = f"the API answers {response.status}: {_message(self.text(response))}"
        if response.status in (401, 403):
            self.run.ending = True
            self.run.fail(
                ExitStatus.KEYS_REFUSED,
                f"{what}. Check NAVER_CLIENT_ID and NAVER_CLIENT_SECRET, and that the application "
                "may use «검색»",
            )
            raise CloseSpider("keys refused")
        if response.status == 429:
            self.run.ending = True
            self.run.fail(ExitStatus.QUOTA_SPENT, what, stream, number)
            raise CloseSpider("quota spent")
        raise UnreadableError(ExitStatus.PAGES_LOST, what, again=False)


class _Result(NamedTuple):
    title: str
    link: str
    original: str
    date: str


def _result(item: dict[str, Any]) -> _Result:
    link = absolute_address("", str(item["link"]))
    return _Result(
        title=whole_characters(str(item["title"])),
        link=link,
        original=absolute_address("", str(item.get("originallink") or "")) or link,
        date=str(item.get("pubDate", "")),
    )


def _message(text: str) -> str:
    try:
        answer = decoded_json(text)
        return f"{answer['errorMessage']} ({answer['errorCode']})"[:_LONGEST_MESSAGE]
    except (ValueError, KeyError, TypeError):
        return text[:_LONGEST_MESSAGE]
