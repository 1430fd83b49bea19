"""A news site on this machine: Naver's sections, search API and feeds, with invented headlines.

It behaves like the real ones. ``POST /control`` sets its news and the faults that it makes.
``GET /log`` lists the requests. ``python -m news_site`` prints its address.
"""

import contextlib
import html
import json
import re
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from news_site.news import SECTIONS, Article, News

SIDS = {str(100 + i): section for i, section in enumerate(SECTIONS)}
API_KEYS = ("demo-id", "demo-secret")
KST = timezone(timedelta(hours=9))
ROBOTS = {
    # What news.naver.com has.
    "refuse": (200, "User-agent: *\nDisallow: /\n\nUser-agent: facebookexternalhit\nAllow: /\n"),
    "allow": (200, "User-agent: *\nAllow: /\n"),
    "missing": (404, "not found"),
    "error": (503, "busy"),
}


@dataclass
class Answer:
    """An answer, before a fault changes it."""

    body: bytes
    content_type: str = "text/html; charset=UTF-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class NewsServer(ThreadingHTTPServer):
    """The server's state: the day's news, the faults to make, and what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, **control: Any) -> None:
        super().__init__(("127.0.0.1", port), NewsHandler)
        self.lock = threading.Lock()
        self.log: list[dict[str, Any]] = []
        self.control({})
        self.control(control)

    @property
    def address(self) -> str:
        """Return the server's address, ``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that go away: some are killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def control(self, options: dict[str, Any]) -> None:
        """Set what the server does; whatever is not named gets its default."""
        self.news = News(
            day=options.get("day", 1),
            pages=options.get("pages", 4),
            per_page=options.get("per_page", 36),
        )
        self.robots = options.get("robots", "refuse")
        self.latency = options.get("latency", 0.0)
        self.faults = [dict(fault) for fault in options.get("faults", [])]
        self.lists = {section: self.news.articles(section) for section in SECTIONS}
        self.log.clear()

    def next_fault(self, path: str) -> dict[str, Any] | None:
        """Return the fault to make for a path, and count it."""
        with self.lock:
            for fault in self.faults:
                if re.search(fault["path"], path) and fault.get("times", 1) != 0:
                    fault["times"] = fault.get("times", 1) - 1
                    return fault
        return None


class NewsHandler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: NewsServer

    def do_POST(self) -> None:
        """Answer ``POST /control``."""
        length = int(self.headers["Content-Length"])
        self.server.control(json.loads(self.rfile.read(length)))
        self._send(Answer(b"{}", "application/json"))

    def do_GET(self) -> None:
        """Answer everything else."""
        if self.path == "/log":
            body = json.dumps(self.server.log).encode()
            self._send(Answer(body, "application/json"))
            return
        entry = {
            "path": self.path,
            "time": time.monotonic(),
            "referer": self.headers.get("Referer"),
            "user_agent": self.headers.get("User-Agent"),
            "sent": 0,
            "status": None,
            "fault": None,
        }
        self.server.log.append(entry)
        if self.server.latency:
            time.sleep(self.server.latency)
        fault = self.server.next_fault(self.path)
        answer = self._answer(fault)
        entry["status"] = answer.status
        entry["fault"] = fault["kind"] if fault else None
        if fault is None or fault["kind"] not in _SENDING:
            self._send(answer)
        else:
            self.close_connection = True
            with contextlib.suppress(OSError):  # the client has gone, as it should
                _SENDING[fault["kind"]](self, answer, fault, entry)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log."""

    def _answer(self, fault: dict[str, Any] | None) -> Answer:
        kind = fault["kind"] if fault else None
        if fault and kind == "status":
            retry = fault.get("retry_after")
            headers = (("Retry-After", str(retry)),) if retry is not None else ()
            return Answer(b"out of order", "text/plain", fault["status"], headers)
        if fault and kind == "redirect":
            return Answer(b"", "text/plain", 302, (("Location", fault["to"]),))
        answer = self._page(kind)
        if fault and kind == "content_type":
            answer.content_type = fault["type"]
        if kind == "truncate":
            answer.body = answer.body[: len(answer.body) // 2]
        if kind == "euc_kr":
            answer.body = answer.body.decode().encode("cp949", errors="xmlcharrefreplace")
        return answer

    def _page(self, kind: str | None) -> Answer:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if address.path == "/robots.txt":
            status, text = ROBOTS[self.server.robots]
            return Answer(text.encode(), "text/plain; charset=UTF-8", status)
        if match := re.fullmatch(r"/section/(10[0-5])", address.path):
            return self._section(match[1], kind)
        if address.path == "/section/template/SECTION_ARTICLE_LIST":
            return self._more(query, kind)
        if address.path == "/v1/search/news.json":
            return self._search(query)
        if match := re.fullmatch(r"/(rss|atom|rss-euc-kr)/([a-z]+)\.xml", address.path):
            return _feed(self.server, match[1], match[2])
        return Answer(b"not found", "text/plain", 404)

    def _section(self, sid: str, kind: str | None) -> Answer:
        articles = self.server.lists[SIDS[sid]]
        block = "".join(
            self._card(article, " _SECTION_HEADLINE")
            for article in [each for each in articles if each.cluster][:10]
        )
        page = (
            "<!doctype html><html><head><meta charset='utf-8'><title>뉴스</title></head><body>"
            f"<ul class='sa_list'>{block}</ul>{self._list(articles, 0, kind)}</body></html>"
        )
        if kind == "layout":
            page = re.sub(r"\bsa_\w+", "story", page)
        return Answer(page.encode())

    def _more(self, query: dict[str, str], kind: str | None) -> Answer:
        sid = query.get("sid", "")
        if sid not in SIDS:
            return Answer(b"{}", "application/json", 400)
        fragment = ""
        referer = f"{self.server.address}/section/{sid}"
        # The real site leaves its shell empty for whoever does not come from the section's page.
        if self.headers.get("Referer") == referer and kind != "shell":
            articles = self.server.lists[SIDS[sid]]
            # The cursor is what pages: without one the number of the page changes nothing.
            start = 0
            if cursor := query.get("next"):
                ages = (self._stamp(article) for article in articles)
                start = sum(stamp >= cursor for stamp in ages)
            fragment = self._list(articles, start, kind)
        body = {
            "component": {"SECTION_ARTICLE_LIST": {"sid": sid}},
            "renderedComponent": {"SECTION_ARTICLE_LIST": fragment},
            "uhv": "0",
        }
        return Answer(
            json.dumps(body, ensure_ascii=False).encode(), "application/json; charset=UTF-8"
        )

    def _list(self, articles: list[Article], start: int, kind: str | None) -> str:
        size = self.server.news.per_page
        if kind in ("endless", "circle"):
            start = 0
        page = articles[start : start + size]
        more = start + size < len(articles)
        cursor = self._stamp(page[-1]) if page else ""
        if kind == "endless":  # always another cursor, and always the same cards
            more, cursor = True, f"{20260301000000 - len(self.server.log)}"
        if kind == "circle":  # always the same cursor
            more = True
        cards = "".join(self._card(article) for article in page)
        return (
            f"<div class='section_latest_article _CONTENT_LIST _PERSIST_META' "
            f"data-has-next='{str(more).lower()}' data-cursor-name='next' data-cursor='{cursor}'>"
            f"<ul class='sa_list'>{cards}</ul></div>"
        )

    def _stamp(self, article: Article) -> str:
        return (self.server.news.now - article.age).strftime("%Y%m%d%H%M%S")

    def _card(self, article: Article, extra: str = "") -> str:
        return (
            f"<li class='sa_item{extra}'><div class='sa_item_inner'><div class='sa_text'>"
            f"<a href='https://n.news.naver.com{article.address}' class='sa_text_title'>"
            f"<strong class='sa_text_strong'>{_escaped(article.title)}</strong></a>"
            f"<div class='sa_text_lede'>{_escaped(article.title)} 자세한 내용은 기사에</div>"
            f"<div class='sa_text_press'>{article.publisher}</div>"
            f"<div class='sa_text_datetime'><b>{_ago(article, self.server.news)}</b></div>"
            "</div></div></li>"
        )

    def _search(self, query: dict[str, str]) -> Answer:
        keys = (
            self.headers.get("X-Naver-Client-Id"),
            self.headers.get("X-Naver-Client-Secret"),
        )
        if keys != API_KEYS:
            return _api_error(401, "024", "Authentication failed")
        try:
            display, start = int(query.get("display", 10)), int(query.get("start", 1))
        except ValueError:
            return _api_error(400, "SE02", "Invalid display or start value")
        if not query.get("query"):
            return _api_error(400, "SE01", "Incorrect query request")
        if not (1 <= display <= 100 and 1 <= start <= 1000):
            return _api_error(400, "SE02", "Invalid display or start value")
        word = query["query"]
        found = [
            article
            for articles in self.server.lists.values()
            for article in articles
            if word in article.title
        ]
        found.sort(key=lambda article: article.age)
        page = found[start - 1 : start - 1 + display]
        body = {
            "lastBuildDate": format_datetime(self.server.news.now.replace(tzinfo=KST)),
            "total": len(found),
            "start": start,
            "display": len(page),
            "items": [
                {
                    "title": _escaped(article.title).replace(word, f"<b>{word}</b>"),
                    "originallink": f"https://www.press{article.office}.example{article.address}",
                    "link": f"https://n.news.naver.com{article.address}?sid=100",
                    "description": "",
                    "pubDate": _rfc_822(article, self.server.news),
                }
                for article in page
            ],
        }
        return Answer(
            json.dumps(body, ensure_ascii=False).encode(), "application/json;charset=UTF-8"
        )

    def _send(self, answer: Answer, length: int | None = None) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)


def _send_slowly(
    handler: NewsHandler, answer: Answer, fault: dict[str, Any], entry: dict[str, Any]
) -> None:
    body, answer.body = answer.body, b""
    handler._send(answer, len(body))
    pieces = 10
    size = len(body) // pieces + 1
    for i in range(pieces):
        time.sleep(fault["seconds"] / pieces)
        handler.wfile.write(body[i * size : (i + 1) * size])


def _hang(
    handler: NewsHandler, answer: Answer, fault: dict[str, Any], entry: dict[str, Any]
) -> None:
    time.sleep(fault["seconds"])


def _reset(
    handler: NewsHandler, answer: Answer, fault: dict[str, Any], entry: dict[str, Any]
) -> None:
    length, answer.body = len(answer.body), answer.body[: len(answer.body) // 2]
    handler._send(answer, length)
    handler.wfile.flush()
    # Closed with nothing lingering, the connection is reset and not ended.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def _send_far_too_much(
    handler: NewsHandler, answer: Answer, fault: dict[str, Any], entry: dict[str, Any]
) -> None:
    piece = b"<!-- nothing -->" * 4096
    handler.send_response(200)
    handler.send_header("Content-Type", answer.content_type)
    if fault.get("announced"):
        handler.send_header("Content-Length", str(fault["bytes"]))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    while entry["sent"] < fault["bytes"]:
        handler.wfile.write(piece)
        entry["sent"] += len(piece)


_SENDING = {
    "slow": _send_slowly,
    "hang": _hang,
    "reset": _reset,
    "huge": _send_far_too_much,
}


def _escaped(title: str) -> str:
    # As the site writes it: more entities than are needed.
    escaped = html.escape(title, quote=True)
    for character, entity in (
        ("…", "&hellip;"),
        ("·", "&middot;"),
        ("↑", "&uarr;"),
        ("=", "&#x3D;"),
    ):
        escaped = escaped.replace(character, entity)
    return escaped


def _ago(article: Article, news: News) -> str:
    minutes = int(article.age.total_seconds()) // 60
    if minutes < 1:
        return "방금전"
    if minutes < 60:
        return f"{minutes}분전"
    if minutes < 24 * 60:
        return f"{minutes // 60}시간전"
    if minutes < 7 * 24 * 60:
        return f"{minutes // (24 * 60)}일전"
    return (news.now - article.age).strftime("%Y.%m.%d.")


def _rfc_822(article: Article, news: News) -> str:
    moment: datetime = (news.now - article.age).replace(tzinfo=KST, microsecond=0)
    return format_datetime(moment)


def _api_error(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"errorMessage": message, "errorCode": code}).encode()
    return Answer(body, "application/json;charset=UTF-8", status)


def _feed(server: NewsServer, kind: str, section: str) -> Answer:
    articles = server.lists[section][:40]
    if kind == "atom":
        entries = "".join(
            f"<entry><title type='html'>{html.escape(_escaped(article.title))}</title>"
            f"<link rel='alternate' href='https://press.example{article.address}'/>"
            f"<id>tag:press.example,2026:{article.address}</id>"
            f"<updated>{(server.news.now - article.age).isoformat()}+09:00</updated></entry>"
            for article in articles
        )
        text = f"<feed xmlns='http://www.w3.org/2005/Atom'><title>뉴스</title>{entries}</feed>"
        declared = "<?xml version='1.0' encoding='UTF-8'?>"
        return Answer((declared + text).encode(), "application/atom+xml; charset=UTF-8")
    items = "".join(
        "<item><media:title>사진 설명</media:title>"
        f"<title><![CDATA[{_escaped(article.title)}]]></title>"
        f"<link>https://press.example{article.address}</link>"
        f"<guid isPermaLink='false'>{article.address}</guid>"
        f"<pubDate>{_rfc_822(article, server.news)}</pubDate></item>"
        for article in articles
    )
    text = (
        "<rss version='2.0' xmlns:media='http://search.yahoo.com/mrss/'><channel>"
        f"<title>뉴스</title>{items}</channel></rss>"
    )
    if kind == "rss-euc-kr":
        declared = "<?xml version='1.0' encoding='EUC-KR'?>"
        body = (declared + text).encode("cp949", errors="xmlcharrefreplace")
        return Answer(body, "text/xml")
    return Answer(
        ("<?xml version='1.0' encoding='UTF-8'?>" + text).encode(),
        "application/rss+xml; charset=UTF-8",
    )
