"""The items that the spiders yield."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Headline:
    """One headline as ``<date>.jsonl`` has it.

    Attributes:
        headline: the cleaned headline.
        section: the section's key (``politics``); for the search API, the query.
        publisher: the publisher's name; for the search API, its host.
        url: the article's address.
        article_id: the site's own: office and article number for Naver, the guid for a feed.
        published: ISO 8601 in Korean time (+09:00), or None where the site does not say.
        crawled: ISO 8601 in UTC.
        source: the spider's name.
    """

    headline: str
    section: str
    publisher: str
    url: str
    article_id: str
    published: str | None
    crawled: str
    source: str


@dataclass
class Page:
    """One answer of a site: the unit that is kept, and that an interrupted run goes on after.

    Attributes:
        stream: the row of pages that it belongs to: a section, a query or a feed.
        number: its place in the stream, from 1.
        headlines: in the page's order.
        next: what the spider needs to ask for the page after it; None after the last one.
        addresses: of all its articles, by which a list that goes in a circle is found out.
        dropped: how many of its headlines were no use, by reason.
    """

    stream: str
    number: int
    headlines: list[Headline]
    next: dict[str, Any] | None
    addresses: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Return the number of headlines on the page, dropped ones too."""
        return len(self.headlines) + sum(self.dropped.values())
