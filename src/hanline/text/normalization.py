"""Normalize texts for training, crawling and comparison to one form."""

import re
import unicodedata

_WHITE_SPACE = re.compile(r"\s+")


def normalize(text: str) -> str:
    """Return the text in Unicode's NFC, without control and format characters.

    Each run of white space becomes one space. The ends have none.
    """
    spaced = _WHITE_SPACE.sub(" ", unicodedata.normalize("NFC", text))
    if not spaced.isprintable():  # rare, and quicker than a look at each character
        kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf"))
        spaced = _WHITE_SPACE.sub(" ", "".join(kept))
    return spaced.strip()
