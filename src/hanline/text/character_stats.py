"""Kinds of characters, to find those rendered too seldom or misread too often."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from hanline.text.corpus import EMBEDDED, read_headlines

FREQUENT = "frequent syllables"
RARE = "rare syllables"
CLASSES = (FREQUENT, RARE, "digits", "Latin", "Hanja", "spaces", "signs")


@cache
def character_class(character: str) -> str:
    """Return the one of :data:`CLASSES` that a character is in.

    A syllable is frequent if the embedded headlines have it at least three times.
    """
    if "가" <= character <= "힣":
        return FREQUENT if _occurrences()[character] >= 3 else RARE
    if character.isspace():
        return "spaces"
    if character.isascii() and character.isalnum():
        return "digits" if character.isdigit() else "Latin"
    if unicodedata.name(character, "").startswith("CJK UNIFIED"):
        return "Hanja"
    return "signs"


def count_classes(texts: Iterable[str]) -> dict[str, int]:
    """Return the number of characters of each class in texts."""
    counts = Counter(character_class(c) for text in texts for c in text)
    return {name: counts[name] for name in CLASSES}


@cache
def _occurrences() -> Counter[str]:
    return Counter(c for headline in read_headlines([EMBEDDED]) for c in headline)
