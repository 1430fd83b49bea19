"""Naver News, section by section: every page by following the cursor."""

from typing import Any
from urllib.parse import urlencode, urlsplit

from parsel import Selector
from scrapy import Request
from scrapy.http import Response

from hanline.errors import HanlineError
from hanline_crawler.clock import published_on_card, utc
from hanline_crawler.decoding import (
    absolute_address,
    decoded_json,
    valid_references,
    whole_characters,
)
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.items import Headline, Page
from hanline_crawler.naver_address import article_id
from hanline_crawler.spiders.headline_spider import HeadlineSpider, UnreadableError

SECTIONS = {
    "politics": 100,
    "economy": 101,
    "society": 102,
    "culture": 103,
    "world": 104,
    "it": 105,
}


class NaverSectionSpider(HeadlineSpider):
    """All headlines of Naver News's sections.

    Args:
        sections: their keys, with commas between; all six without it.
        pages: read no more than this many pages of each section.
    """

    name = "naver_section"

    def __init__(self, sections: str = "", pages: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sections = sections
        self._pages = pages

    def streams(self) -> list[str]:
        """Return the sections."""
        if self._pages and not (
            self._pages.isascii() and self._pages.isdigit() and int(self._pages)
        ):
            raise HanlineError(
                f"-a pages={self._pages}: expected a number, at least 1. Change or omit it."
            )
        self._base = self.settings["NAVER_NEWS_URL"].rstrip("/")
        self.hosts = {urlsplit(self._base).hostname or ""}
        names = [name.strip() for name in self._sections.split(",") if name.strip()]
        unknown = [name for name in names if name not in SECTIONS]
        if unknown:
            raise HanlineError(
                f"-a sections={self._sections}: expected some of {', '.join(SECTIONS)}. "
                f"Leave out {', '.join(unknown)}."
            )
        return list(dict.fromkeys(names)) or list(SECTIONS)

    def request(self, stream: str, number: int, following: dict[str, Any] | None) -> Request:
        """Return the request for a section's page; later ones are those of its button «더보기»."""
        section = f"{self._base}/section/{SECTIONS[stream]}"
        if following is None:
            return Request(section)
        query = {
            "sid": SECTIONS[stream],
            "sid2": "",
            "cluid": "",
            "pageNo": number,
            "date": "",
            "next": following["cursor"],
        }
        # Without the Referer the site answers 200 and an empty shell.
        return Request(
            f"{self._base}/section/template/SECTION_ARTICLE_LIST?{urlencode(query)}",
            headers={"Referer": section, "Accept": "application/json, text/html;q=0.9"},
        )

    def page(self, response: Response, stream: str, number: int) -> Page:
        """Read the cards of a page, and the cursor to the next one."""
        html = self.text(response) if number == 1 else self._fragment(response)
        document = Selector(text=valid_references(html), type="html")
        now = self.run.clock.now()
        headlines = []
        nameless = 0
        for card in document.css("li.sa_item"):
            text = "".join(card.css("strong.sa_text_strong ::text").getall()).strip()
            if not text:
                nameless += 1
                continue
            link = card.css("a.sa_text_title::attr(href)").get(default="")
            address = absolute_address(response.url, link)
            headlines.append(
                Headline(
                    headline=text,
                    section=stream,
                    publisher=_text(card.css("div.sa_text_press")),
                    url=address,
                    article_id=article_id(address) or "",
                    published=published_on_card(_text(card.css("div.sa_text_datetime > b")), now),
                    crawled=utc(now),
                    source="naver_section",
                )
            )
        if not headlines:
            # On a first page nothing else than a new layout explains it. A later one may be the
            # shell that the site answers with when it is not pleased.
            raise UnreadableError(
                ExitStatus.LAYOUT_CHANGED,
                "no headline on the page: the site's layout has changed",
                again=number > 1,
            )
        page = Page(
            stream=stream,
            number=number,
            headlines=headlines,
            next=None,
            addresses=list(dict.fromkeys(item.url for item in headlines)),
            dropped={"no headline on the card": nameless} if nameless else {},
        )
        page.next = self._next(document, page, response)
        return page

    def _fragment(self, response: Response) -> str:
        try:
            fragment = decoded_json(self.text(response))["renderedComponent"][
                "SECTION_ARTICLE_LIST"
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableError(
                ExitStatus.PAGES_LOST,
                f"the answer is not a list of articles ({error!r})",
                again=True,
            ) from error
        return whole_characters(str(fragment))

    def _next(self, document: Selector, page: Page, response: Response) -> dict[str, Any] | None:
        latest = document.css("div.section_latest_article._CONTENT_LIST")
        # Each by its name: lxml refuses to list attributes if one has a control character.
        more = latest.css("::attr(data-has-next)").get()
        cursor = latest.css("::attr(data-cursor)").get()
        if more == "false" or (self._pages and page.number >= int(self._pages)):
            return None
        if more != "true" or not cursor:
            self.keep_and_fail(
                ExitStatus.LAYOUT_CHANGED,
                "the page does not say how to go on: the site's layout has changed",
                response,
                page.stream,
                page.number,
            )
            return None
        following = {"cursor": cursor}
        circle = self._circle(page, following)
        if circle:
            self.keep_and_fail(
                ExitStatus.PAGES_LOST,
                f"the list never ends: {circle}",
                response,
                page.stream,
                page.number,
            )
            return None
        return following

    def _circle(self, page: Page, following: dict[str, Any]) -> str | None:
        job = self.run.job
        if job.led_to(page.stream, following):
            return f"the cursor {following['cursor']} has been there before"
        stale = self.settings.getint("SECTION_STALE_PAGES")
        if not job.fresh(page.stream, page.addresses) and job.stale_pages(page.stream) + 1 >= stale:
            return f"{stale} pages in a row had no article that is new to the section"
        most = self.settings.getint("SECTION_PAGES_MAX")
        if page.number >= most:
            return f"there are more than {most} pages (SECTION_PAGES_MAX)"
        return None


def _text(found: Any) -> str:
    return " ".join("".join(found.css("::text").getall()).split())
