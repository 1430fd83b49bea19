"""The parts of a reading: where each character and each word is, and what else they may be."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from statistics import median
from typing import Any

from hanline.models.stage import Letter

# How wide characters are, as shares of a Hangul syllable.
_SPACE, _NARROW, _WIDE = 0.3, 0.55, 1.0


@dataclass(frozen=True)
class Part:
    """A character or a word of a reading.

    Attributes:
        text: the character or the word.
        left, right: where it begins and ends, in pixels of the image that was given, as a person
            sees it: turned as its EXIF data say.
        confidence: the probability of the character; of a word, the product of its characters'.
        alternatives: of a character, the two most probable others with their probabilities.
    """

    text: str
    left: float
    right: float
    confidence: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Parts:
    """The parts of a reading.

    Attributes:
        characters: one for each character of the text, spaces included.
        deskewed: the line was turned level before it was read. Then the places are those of the
            level line, stretched to the width of the image that was given.
        size: width and height of the image that was given, in pixels.
    """

    characters: tuple[Part, ...]
    deskewed: bool = False
    size: tuple[int, int] = (0, 0)

    @property
    def words(self) -> list[Part]:
        """The words: what spaces separate."""
        return [_joined(word) for word in self.letters]

    @property
    def letters(self) -> list[list[Part]]:
        """The characters of each word."""
        words: list[list[Part]] = [[]]
        for part in self.characters:
            if part.text.isspace():
                words.append([])
            else:
                words[-1].append(part)
        return [word for word in words if word]

    def stretched(self, size: tuple[int, int]) -> "Parts":
        """Return the parts of a level line as those of the image that it was turned from."""
        factor = size[0] / self.size[0]
        moved = (
            replace(part, left=part.left * factor, right=part.right * factor)
            for part in self.characters
        )
        return Parts(tuple(moved), True, size)

    def as_record(self) -> dict[str, Any]:
        """Return plain values for JSON; places in pixels."""
        return {
            "deskewed": self.deskewed,
            "characters": [
                _as_record(part)
                | {"alternatives": [{"text": t, "confidence": p} for t, p in part.alternatives]}
                for part in self.characters
            ],
            "words": [_as_record(word) for word in self.words],
        }


def located(letters: Sequence[Letter], scale: float, size: tuple[int, int]) -> tuple[Part, ...]:
    """Give letters, of which a model knows the middles, their left and right ends.

    The way between the middles of two letters is shared out by how wide characters of their kinds
    usually are. The spaces between them have their share too, wherever the model wrote them.

    Args:
        letters: of one line, in the order of the text.
        scale: the pixels of the image that was given in the whole width that the model saw.
        size: width and height of the image that was given, in pixels.
    """
    widths = [_usual_width(letter.character) for letter in letters]
    inked = [i for i, letter in enumerate(letters) if not letter.character.isspace()]
    # Attention may look back; the ends of the characters are in the order of the text.
    middles = list(accumulate((letter.middle * scale for letter in letters), max))
    ends: list[tuple[float, float]] = [(middle, middle) for middle in middles]
    units = []
    for one, other in pairwise(inked):
        between = widths[one] / 2 + sum(widths[one + 1 : other]) + widths[other] / 2
        unit = (middles[other] - middles[one]) / between
        units.append(unit)
        edge = middles[one] + unit * widths[one] / 2
        ends[one] = (ends[one][0], edge)
        for space in range(one + 1, other):
            ends[space] = (edge, edge + unit * widths[space])
            edge = ends[space][1]
        ends[other] = (edge, ends[other][1])
    # A line of one letter has no distances; most letters are about as high as their image.
    unit = median(units) if units else min(size)
    if inked:
        first, last = inked[0], inked[-1]
        ends[first] = (middles[first] - unit * widths[first] / 2, ends[first][1])
        ends[last] = (ends[last][0], middles[last] + unit * widths[last] / 2)
    return tuple(
        Part(
            letter.character,
            min(max(left, 0.0), float(size[0])),
            min(max(right, 0.0), float(size[0])),
            letter.confidence,
            letter.alternatives,
        )
        for letter, (left, right) in zip(letters, ends, strict=True)
    )


def _usual_width(character: str) -> float:
    if character.isspace():
        return _SPACE
    wide = unicodedata.east_asian_width(character) in "WF"
    return _WIDE if wide else _NARROW


def _joined(parts: Sequence[Part]) -> Part:
    confidence = 1.0
    for part in parts:
        confidence *= part.confidence
    text = "".join(part.text for part in parts)
    return Part(text, parts[0].left, parts[-1].right, confidence)


def _as_record(part: Part) -> dict[str, Any]:
    return {
        "text": part.text,
        "left": round(part.left, 2),
        "right": round(part.right, 2),
        "confidence": part.confidence,
    }
