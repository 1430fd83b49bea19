"""RSS and Atom feeds."""

import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from parsel import Selector
from scrapy import Request
from scrapy.http import Response

from hanline.errors import HanlineError
from hanline_crawler.clock import published_in_feed, utc
from hanline_crawler.decoding import absolute_address, valid_references
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.items import Headline, Page
from hanline_crawler.spiders.headline_spider import HeadlineSpider, UnreadableError


class Feed(NamedTuple):
    """A feed, and what its headlines are filed under."""

    url: str
    publisher: str
    section: str


class RssSpider(HeadlineSpider):
    """Headlines of feeds: RSS 0.9 to 2.0 and Atom.

    Args:
        feeds: their addresses, with commas between.
        feeds_file: a UTF-8 file of feeds, one a line: the address, and after tabs the publisher and
            the section. Without either the setting ``RSS_FEEDS``.
    """

    name = "rss"
    suffix = ".xml"

    def __init__(self, feeds: str = "", feeds_file: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._named = feeds
        self._file = feeds_file

    def streams(self) -> list[str]:
        """Return the feeds' addresses."""
        self._feeds = {feed.url: feed for feed in self._read_feeds()}
        wrong = [url for url in self._feeds if urlsplit(url).scheme not in ("http", "https")]
        if wrong:
            raise HanlineError(f"no addresses of feeds: {', '.join(wrong)}")
        self.hosts = {urlsplit(url).hostname or "" for url in self._feeds}
        return list(self._feeds)

    def _read_feeds(self) -> list[Feed]:
        feeds = [
            Feed(url.strip(), urlsplit(url.strip()).hostname or "", "")
            for url in self._named.split(",")
            if url.strip()
        ]
        if self._file:
            try:
                lines = Path(self._file).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise HanlineError(f"cannot read the feeds file {self._file}: {error}") from error
            for line in lines:
                url, *rest = (part.strip() for part in line.split("\t"))
                if url and not url.startswith("#"):
                    publisher, section = [*rest, "", ""][:2]
                    feeds.append(Feed(url, publisher or urlsplit(url).hostname or "", section))
        if not feeds and not self._named and not self._file:
            listed = self.settings["RSS_FEEDS"]
            try:  # a string where it comes from the command line
                listed = json.loads(listed) if isinstance(listed, str) else listed
                feeds = [Feed(**feed) for feed in listed]
            except (TypeError, ValueError) as error:
                raise HanlineError(
                    f"RSS_FEEDS must be a list of dicts of url, publisher and section: {error}"
                ) from error
        if not feeds:
            raise HanlineError("there are no feeds: name them with -a feeds=URL,URL")
        return feeds

    def request(self, stream: str, number: int, following: dict[str, Any] | None) -> Request:
        """Return the request for a feed."""
        return Request(
            stream,
            headers={"Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9"},
        )

    def page(self, response: Response, stream: str, number: int) -> Page:
        """Read a feed's entries."""
        document = Selector(text=valid_references(self.text(response)), type="xml")
        if not document.xpath(
            "/*[local-name()='rss' or local-name()='feed' or local-name()='RDF']"
        ):
            raise UnreadableError(
                ExitStatus.LAYOUT_CHANGED, "the answer is not a feed", again=False
            )
        feed = self._feeds[stream]
        now = utc(self.run.clock.now())
        headlines = []
        nameless = 0
        for entry in document.xpath("//*[local-name()='item' or local-name()='entry']"):
            title = _text(entry, "title")
            if not title:
                nameless += 1
                continue
            address = _text(entry, "link") or _atom_link(entry)
            dates = (_text(entry, name) for name in ("pubDate", "published", "updated", "date"))
            headlines.append(
                Headline(
                    headline=title,
                    section=feed.section,
                    publisher=feed.publisher,
                    url=absolute_address(response.url, address),
                    article_id=_text(entry, "guid") or _text(entry, "id"),
                    published=next((published_in_feed(date) for date in dates if date), None),
                    crawled=now,
                    source="rss",
                )
            )
        dropped = {"no title in the entry": nameless} if nameless else {}
        return Page(stream, number, headlines, None, dropped=dropped)


def _text(entry: Selector, name: str) -> str:
    # A feed may say media:title before its title, of a picture.
    path = f"*[local-name()='{name}'][not(starts-with(namespace-uri(), 'http://search.yahoo'))]"
    found = entry.xpath(f"string({path}[normalize-space()][1])").get()
    return (found or "").strip()


def _atom_link(entry: Selector) -> str:
    path = "*[local-name()='link'][not(@rel) or @rel='alternate']/@href"
    return (entry.xpath(path).get() or "").strip()
