"""Addresses of articles on Naver News."""

import re

_ARTICLE = re.compile(r"/article/(\d{3})/(\d{10})")


def article_id(address: str) -> str | None:
    """Return the office and article number, ``001/0012345678``, or None for another address."""
    match = _ARTICLE.search(address)
    return f"{match[1]}/{match[2]}" if match else None
