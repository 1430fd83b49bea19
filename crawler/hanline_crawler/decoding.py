"""Bytes to text, text to JSON, links to addresses: from what a site sends, whatever it sends."""

import codecs
import json
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

# Python knows codecs that are no charsets (zlib, rot13) and some whose time grows with the square
# of the length (punycode, idna). Only these are taken from a header.
_ANNOUNCED = frozenset(
    [
        "utf-8",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "euc_kr",
        "cp949",
        "johab",
        "iso2022_kr",
        "shift_jis",
        "cp932",
        "euc_jp",
        "iso2022_jp",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
    ]
)
_LONGEST_ADDRESS = 2000
_REFERENCE = re.compile(r"&#(?:[xX]0*([0-9a-fA-F]{1,7})|0*([0-9]{1,8}))(?![0-9a-fA-F]);?")


def decoded(body: bytes, announced: str | None = None) -> str:
    """Decode a page.

    Korean sites announce UTF-8 and send EUC-KR, or announce nothing. So the bytes decide: the
    encoding wins that leaves the fewest characters unread. Of equal ones the first wins of UTF-8,
    EUC-KR and the announced one. Latin encodings read every byte and would always win; they are
    not tried.

    Args:
        body: The page as it came.
        announced: The encoding that the headers name, or None.
    """
    candidates = ["utf-8-sig", "cp949"]
    if announced and _codec(announced) in _ANNOUNCED:
        candidates.append(announced)
    best, fewest = "", len(body) + 1
    for encoding in candidates:
        text = body.decode(encoding, errors="replace")
        unread = text.count("\ufffd")
        if unread < fewest:
            best, fewest = text, unread
        if not unread:
            break
    return best


def decoded_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole_characters(text: str) -> str:
    r"""Join halves of surrogate pairs, and replace a lone one by U+FFFD.

    JSON may escape a half (``\ud800``), which neither UTF-8 nor SQLite can hold.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def valid_references(markup: str) -> str:
    """Replace references to a code that is not a character, for example ``&#xD800;``, by U+FFFD.

    libxml2 would keep them, and lxml could not make a string of the text.
    """
    return _REFERENCE.sub(_valid_reference, markup)


def absolute_address(page: str, link: str) -> str:
    """Return the address that a link on a page leads to.

    The result is empty if the link is not a web address, or has over 2,000 characters.
    """
    try:
        address = urljoin(page, whole_characters(link[: _LONGEST_ADDRESS + 1].strip()))
        is_web = urlsplit(address).scheme in ("http", "https")
    except ValueError:  # http://[
        return ""
    return address if is_web and len(address) <= _LONGEST_ADDRESS else ""


def _valid_reference(match: re.Match[str]) -> str:
    code = int(match[1], 16) if match[1] else int(match[2])
    is_character = 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return match[0] if is_character else "\ufffd"


def _codec(name: str) -> str | None:
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):  # unknown, or with a NUL in it
        return None
