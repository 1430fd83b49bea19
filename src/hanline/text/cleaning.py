"""One form for every text: what is trained on, what is crawled and what is compared."""

import re
import unicodedata

_WHITE_SPACE = re.compile(r"\s+")


def normalize(text: str) -> str:
    """The text in NFC, without control and format characters, its white space single spaces."""
    spaced = _WHITE_SPACE.sub(" ", unicodedata.normalize("NFC", text))
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf")).strip()
