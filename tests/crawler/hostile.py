"""Hostile answers of a news site, and a server on this machine that gives them.

Every answer follows from a seed, so that a failure can be shown again.
"""

import gzip
import json
import random
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MEGABYTE = 1024 * 1024
CHARSETS = [
    "utf-8", "euc-kr", "utf-16", "utf-7", "shift_jis", "idna", "punycode", "undefined", "rot13",
    "zlib", "base64", "unicode_escape", "raw_unicode_escape", "mbcs", "no-such-charset", "\x00", "",
]  # fmt: skip
FRAGMENTS = [
    b"<", b">", b"&", b"&#0;", b"&#xD800;", b"&#1114112;", b"<![CDATA[", b"]]>", b"<!--", b"-->",
    b"<?xml version='1.0' encoding='utf-16'?>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;",
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xa1", b"\\ud800", b"\\u0000",
    b'"', b"'", b"{", b"}", b"[", b"]", b"null", b"-1", b"1e999", b"NaN", b"9" * 5000,
    b"http://[", b"javascript:alert(1)", b"file:///etc/passwd", b"../../../outside", b"\r\n", b"\t",
    "\u202e\u200b\U0001f525".encode(), b"(" * 3000, "（［【".encode() * 500,
    b"99999999999999999999\xec\x9d\xbc\xec\xa0\x84", b"Mon, 99 Foo 99999 99:99:99 +9999",
    b"xmlns:a='urn:a'", b"%00", b"..%2f..%2f",
]  # fmt: skip


@dataclass
class Answer:
    """One answer of the hostile server.

    Attributes:
        name: A name for the fault.
        body: its bytes.
        content_type: the header; None leaves it out.
        status: the HTTP status.
        headers: more headers. ``Content-Length`` there replaces the true one.
        endless: seconds for which ``body`` is sent again and again.
        drip: seconds between two bytes.
    """

    name: str
    body: bytes
    content_type: str | None = "text/html; charset=UTF-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: float = 0.0
    drip: float = 0.0


class HostileServer(ThreadingHTTPServer):
    """Gives each path its answer.

    A section's list gets the next of ``later``. A path without an answer is redirected to itself.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HostileHandler)
        self.answers: dict[str, Answer] = {}
        self.later: Iterator[Answer] = iter(())
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Return the server's address, ``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """Ignore clients that go away: they should."""


class HostileHandler(BaseHTTPRequestHandler):
    """Answers one connection, and closes it."""

    server: HostileServer

    def do_GET(self) -> None:
        """Give the path's answer."""
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path)
        if self.path.startswith("/section/template/"):
            answer = next(self.server.later, None)
        if answer is None:
            answer = Answer("loop", b"", status=302, headers={"Location": self.path})
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        if answer.endless:
            headers = {"Connection": "close", **answer.headers}
        if answer.content_type is not None:
            headers["Content-Type"] = answer.content_type
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        until = time.monotonic() + answer.endless
        while answer.endless and time.monotonic() < until:
            self.wfile.write(answer.body)
        if answer.drip:
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                time.sleep(answer.drip)
        elif not answer.endless:
            self.wfile.write(answer.body)

    def log_message(self, format, *args) -> None:
        """Write nothing."""


def mutated(rng: random.Random, base: bytes) -> bytes:
    """Change some places of a document: bytes, fragments, cuts and repeats."""
    body = bytearray(base)
    for _ in range(rng.choice((1, 2, 5, 20))):
        start = rng.randrange(len(body) + 1)
        length = min(len(body) - start, rng.choice((0, 1, 2, 10, 200)))
        kind = rng.randrange(6)
        if kind == 0:
            body[start : start + length] = rng.randbytes(length)
        elif kind == 1:
            body[start:start] = rng.choice(FRAGMENTS)
        elif kind == 2:
            del body[start : start + length]
        elif kind == 3:
            body[start:start] = body[start : start + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            values = list(re.finditer(rb"(?<=[>'\"])[^<>'\"]+(?=[<'\"])", body))
            if values:
                value = rng.choice(values)
                body[value.start() : value.end()] = rng.choice(FRAGMENTS)
        elif rng.random() < 0.3:
            del body[start:]
    return bytes(body)


def random_answers(seed: int, bases: list[tuple[bytes, str]], count: int) -> list[Answer]:
    """Mutate documents, and label some with a wrong charset or type.

    Args:
        seed: Decides all of it.
        bases: Sound documents and their content types.
        count: How many answers to make.
    """
    answers = []
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        base, content_type = rng.choice(bases)
        body = mutated(rng, base)
        kind = rng.randrange(6)
        if kind == 0:
            content_type = f"text/html; charset={rng.choice(CHARSETS)}".replace("\x00", "%00")
        elif kind == 1:
            content_type = rng.choice(["image/png", "application/octet-stream", "x", ";;=", ""])
        elif kind == 2:
            text = body.decode("utf-8", "replace")
            encoding = rng.choice(("cp949", "utf-16", "utf-7", "utf-8-sig"))
            body = text.encode(encoding, errors="replace")
        answers.append(Answer(f"mutation {seed}/{number}", body, content_type))
    return answers


def _feed(*items: str, head: str = "") -> bytes:
    return f"<?xml version='1.0'?>{head}<rss><channel>{''.join(items)}</channel></rss>".encode()


def feeds(outside: str) -> list[Answer]:
    """Make feeds that attack the reader of XML, the cleaning or the clock.

    Args:
        outside: The address of a file that nothing may read.
    """
    lol = "".join(
        f"<!ENTITY l{i} '{f'&l{i - 1};' * 10}'>" if i else "<!ENTITY l0 'lol'>" for i in range(10)
    )
    item = "<item><title>{}</title><link>{}</link><pubDate>{}</pubDate></item>".format
    date = "Mon, 02 Mar 2026 09:00:00 +0900"
    xml = "application/rss+xml"
    bodies = {
        "billion laughs": _feed(item("&l9;", "x", date), head=f"<!DOCTYPE r [{lol}]>"),
        "quadratic blowup": _feed(
            item("&a;" * 20_000, "x", date),
            head=f"<!DOCTYPE r [<!ENTITY a '{'a' * 20_000}'>]>",
        ),
        "external entity": _feed(
            item("가람 &x; 착공", "x", date), head=f"<!DOCTYPE r [<!ENTITY x SYSTEM '{outside}'>]>"
        ),
        "external DTD": _feed(
            item("가람 착공", "x", date), head=f"<!DOCTYPE r SYSTEM '{outside}'>"
        ),
        "XInclude": _feed(
            f"<i:include xmlns:i='http://www.w3.org/2001/XInclude' href='{outside}' parse='text'/>"
        ),
        "deep nesting": b"<rss>" + b"<a>" * 300_000,
        "deep title": _feed(item("<b>" * 20_000 + "제목" + "</b>" * 20_000, "x", date)),
        "many attributes": b"<rss " + b"".join(b"a%d='x' " % i for i in range(100_000)) + b"/>",
        "many items": _feed(*(item(f"제목 {i}", "x", date) for i in range(5_000))),
        "huge title": _feed(item("가" * 2_000_000, "x", date)),
        "comments in a title": _feed(item("&lt;!--" * 300_000, "x", date)),
        "nested brackets": _feed(item("(" * 300_000 + ")" * 300_000, "x", date)),
        "nested square brackets": _feed(item("[" * 300_000 + "]" * 300_000, "x", date)),
        "quotes": _feed(item("'\"" * 300_000, "x", date)),
        "dots": _feed(item(".·" * 300_000, "x", date)),
        "no host": _feed(item("가람 착공", "http://[", date)),
        "huge link": _feed(item("가람 착공", "x/" * 500_000, date)),
        "huge date": _feed(item("가람 착공", "x", "9" * 100_000)),
        "date beyond the calendar": _feed(
            item("가람 착공", "x", "Fri, 31 Dec 9999 23:59:59 -1200"),
            item("다온 착공", "x", "0001-01-01T00:00:00+23:59"),
            item("미르 착공", "x", "Mon, 01 Jan 0001 00:00:00 +2359"),
        ),
        "names of files": _feed(item("../../outside", "file:///etc/passwd", date)),
        "terminal codes": _feed(item("\u009b31m가람 [red]착공[/red] \u202e", "x", date)),
        "empty": b"",
        "NUL": b"\x00" * 1000,
        "a number": b"1",
        "not XML": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
    }
    sound = _feed(item("가람은행 착공", "x", date))
    return [
        *(Answer(name, body, xml) for name, body in bodies.items()),
        *transports(sound, xml),
        *(Answer(f"charset {c}", sound, f"text/xml; charset={c}") for c in CHARSETS if c != "\x00"),
        Answer("charset punycode, 2 MB", b"\xff" + b"a-" * MEGABYTE, "text/xml; charset=punycode"),
    ]


def transports(sound: bytes, content_type: str) -> list[Answer]:
    """Send a sound document in hostile ways."""
    packed = gzip.compress(bytes(200 * MEGABYTE), 9)
    gzipped = {"Content-Encoding": "gzip"}

    def answer(name, body=sound, **options):
        return Answer(name, body, content_type, **options)

    def redirect(name, to, status=302):
        return Answer(name, b"", status=status, headers={"Location": to})

    return [
        answer("gzip bomb", packed, headers=gzipped),
        answer("no gzip", sound, headers=gzipped),
        answer("half a gzip", gzip.compress(sound)[:-9], headers=gzipped),
        answer("unknown encoding", sound, headers={"Content-Encoding": "br, zstd, x"}),
        answer("endless", b"<item>" * 10_000, endless=20.0),
        answer("drip", sound, drip=0.2),
        answer("too long a length", sound, headers={"Content-Length": str(len(sound) + 9)}),
        answer("a terabyte announced", sound, headers={"Content-Length": str(2**40)}),
        answer("a negative length", sound, headers={"Content-Length": "-1"}),
        answer("no length at all", sound, headers={"Content-Length": "many"}),
        answer("chunks that are none", sound, headers={"Transfer-Encoding": "chunked"}),
        answer("many headers", sound, headers={f"X-{i}": "x" * 100 for i in range(90)}),
        answer("a long header", sound, headers={"X": "x" * 60_000}),
        Answer("no type", sound, None),
        redirect("redirect to itself", "?"),
        redirect("redirect to a file", "file:///etc/passwd"),
        redirect("redirect to data", "data:text/xml,<rss/>"),
        redirect("redirect to no host", "http://["),
        redirect("redirect without an address", ""),
        redirect("redirect to another host", "http://localhost:9/x"),
        redirect("redirect by 308", "http://127.0.0.1:9/x", 308),
        answer("204", b"", status=204),
        answer("status 299", status=299),
        answer("status 418", status=418),
        answer("Retry-After ²", status=503, headers={"Retry-After": "\u00b2"}),
        answer("Retry-After a date", status=503, headers={"Retry-After": "Mon, 99 Foo 0 99:99"}),
        answer("Retry-After year 1", status=503, headers={"Retry-After": "1 Jan 0001 00:00 +2359"}),
    ]


def searches() -> list[Answer]:
    """Make answers of the search API that attack the reader of JSON or the store."""
    item = {
        "title": "가람은행 <b>착공</b>",
        "originallink": "https://press.example/1",
        "link": "https://n.news.naver.com/mnews/article/001/0000000001",
        "pubDate": "Mon, 02 Mar 2026 09:00:00 +0900",
    }

    def results(*items, **fields):
        return json.dumps({"total": len(items), "start": 1, "items": items, **fields}).encode()

    bodies = {
        "deep lists": b"[" * 200_000,
        "deep objects": b'{"items":' * 200_000,
        "a number without end": b'{"total": ' + b"9" * 10_000 + b', "start": 1, "items": []}',
        "infinity": b'{"total": 1e999, "start": 1, "items": []}',
        "NaN": b'{"total": NaN, "start": 1, "items": []}',
        "items are null": results(items=None),
        "items are numbers": results(1, 2),
        "an item is a list": results([]),
        "a title is null": results({**item, "title": None}),
        "a title is an object": results({**item, "title": {"a": [1]}}),
        "half a character": results({**item, "title": "가람 \ud800 착공"}),
        "half a character in an address": results({**item, "link": "https://x/\udfff"}),
        "NUL in a title": results({**item, "title": "가람\x00은행 착공"}),
        "no host": results({**item, "originallink": "http://["}),
        "a date is a number": results({**item, "pubDate": 1e308}),
        "a start behind": results(item, total=10**9, start=-(10**9)),
        "a start far ahead": results(item, total=10**30, start=10**30),
        "many items": results(*[item] * 5_000),
        "error without a message": b"{}",
        "a string": b'"items"',
    }
    return [Answer(name, body, "application/json") for name, body in bodies.items()]
