"""Who may ask the review's server, and how much a request may bring."""

import asyncio
import hmac
import json
from collections.abc import Collection
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bodies that may be under way at once, as a multiple of the largest one.
_BODIES = 4
# Seconds without a byte of a body after which its request ends.
_PATIENCE = 30.0
# Seconds in which the rest of a refused body is thrown away: whoever still sends sees no answer.
_DRAIN = 3.0
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Guard:
    """Let requests through that know the token, name this server, and are not too large.

    The token is in the address (``?token=…``), in the header ``Authorization: Bearer …``, or in the
    cookie that the first page sets.

    Args:
        app: the application behind.
        token: the secret.
        hosts: the names, with port, by which this server may be called. A page of another site
            that has its name resolved to this machine is refused by them.
        cookie: the name of the cookie.
        largest: the most bytes of a body.
    """

    def __init__(
        self, app: ASGIApp, token: str, hosts: Collection[str], cookie: str, largest: int
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._cookie = cookie
        self._largest = largest
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks WebSocket
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        length = headers.get("content-length", "")
        if not refusal and length.isdecimal() and int(length) > self._largest:
            refusal = 413, self._too_large()
        has_body = length not in ("", "0") or "transfer-encoding" in headers
        if refusal:
            # To ask for a body would have it sent, if the sender waits for that.
            if has_body and "expect" not in headers:
                await _drain(receive)
            await _answer(send, *refusal)
            return
        # A body of unknown length may be the largest.
        reserved = (int(length) if length.isdecimal() else self._largest) if has_body else 0
        if self._under_way + reserved > _BODIES * self._largest:
            await _answer(send, 503, "too many uploads at once; try again in 1 s", retry=True)
            return
        self._under_way += reserved
        try:
            await self._pass_on(scope, receive, send)
        finally:
            self._under_way -= reserved

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return 421, f"this server is not {host or 'without a name'}; hosts=[…] adds names"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return 403, "a page of another site may not ask this server"
        if headers.get("sec-fetch-site", "none") == "cross-site" and scope["method"] != "GET":
            return 403, "a page of another site may not ask this server"
        if not self._knows_token(scope, headers):
            return (
                401,
                "the token is missing or wrong: open the address that hanline review printed",
            )
        return None

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given.append(bearer.strip())
        try:
            cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        if self._cookie in cookies:
            given.append(cookies[self._cookie].value)
        token = self._token.encode()
        return any(hmac.compare_digest(one.encode(), token) for one in given)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on; answer for the application if its body is too large or stops."""
        received, begun, ended, refused = 0, False, False, ""

        async def counted() -> Message:
            nonlocal received, ended, refused
            if refused:
                return {"type": "http.disconnect"}
            if ended:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), _PATIENCE)
            except TimeoutError:
                refused = "408 the request stopped before its end"
                return {"type": "http.disconnect"}
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                ended = not message.get("more_body", False)
            if received > self._largest:
                refused = f"413 {self._too_large()}"
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            nonlocal begun
            if refused:
                return
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", []), *_SECURITY]
            await send(message)

        try:
            await self._app(scope, counted, guarded)
        except Exception:
            # To the framework a refused request is a client that left; the answer follows below.
            if not refused:
                raise
        if refused and not begun:
            if refused.startswith("413"):
                await _drain(receive)
            await _answer(send, int(refused[:3]), refused[4:])

    def _too_large(self) -> str:
        return f"a request has at most {self._largest / 2**20:g} MiB; upload_mb=… sets it"


async def _drain(receive: Receive) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN):
            while (await receive()).get("more_body", False):
                pass


async def _answer(send: Send, status: int, detail: str, retry: bool = False) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *_SECURITY,
    ]
    if retry:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
