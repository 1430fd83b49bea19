"""One face of a font file, and which characters it has."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont
from PIL import ImageFont

from hanline.errors import HanlineError

_MAX_USES = 16
"""Code points of one glyph. One with more is a box or blank for all that the font lacks."""
_LONGEST_EMPTY = 12
"""Bytes of an outline that may be empty."""


@dataclass(frozen=True)
class Font:
    """One face of a font file.

    It pickles as its path and index only, so that it is cheap to send to a worker.

    Attributes:
        path: the file.
        index: which face of the file; 0 except in a collection.
    """

    path: Path
    index: int = 0

    @property
    def name(self) -> str:
        """The name that messages use."""
        return f"{self.path.name}#{self.index}" if self.index else self.path.name

    @cached_property
    def characters(self) -> frozenset[str]:
        """The characters that it has: those with a glyph of their own that leaves ink.

        White space needs no ink. They are read from the file at the first access.
        """
        with TTFont(self.path, fontNumber=self.index, lazy=True) as font:
            return frozenset(_drawn_characters(font))

    def can_draw(self, text: str) -> bool:
        """Return whether it has every character of the text, none as an empty box."""
        return self.characters.issuperset(text)

    def digest(self) -> str:
        """Return a hash of the file's content and the index."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(str(self.index).encode())
        return digest.hexdigest()

    def load(self, size: int) -> ImageFont.FreeTypeFont:
        """Return the font, ready to render. Each process keeps those that it used last.

        Args:
            size: pixels per em.

        Raises:
            HanlineError: the file cannot be read.
        """
        return _load(self.path, self.index, size)

    def __reduce__(self) -> tuple[type["Font"], tuple[Path, int]]:
        return Font, (self.path, self.index)


def _drawn_characters(font: TTFont) -> Iterator[str]:
    """Return the characters with a glyph of their own that leaves ink."""
    short = _short_glyphs(font)
    cmap = font.getBestCmap()  # without what the font maps to its .notdef
    if short is None or cmap is None:
        return
    uses = Counter(cmap.values())
    glyphs = font.getGlyphSet()
    for code_point, glyph in cmap.items():
        character = chr(code_point)
        if not character.isspace():
            if uses[glyph] > _MAX_USES:
                continue
            if glyph in short:
                pen = BoundsPen(glyphs)
                glyphs[glyph].draw(pen)
                if pen.bounds is None:
                    continue
        yield character


def _short_glyphs(font: TTFont) -> set[str] | None:
    """Return the glyphs whose outline may be empty, by its bytes; None if the font has no outlines.

    Drawing every outline would take seconds per font. Only the few short ones can be empty.
    """
    order = font.getGlyphOrder()
    for table in ("CFF ", "CFF2"):
        if table in font:
            outlines = font[table].cff.topDictIndex[0].CharStrings
            return {glyph for glyph in order if len(outlines[glyph].bytecode) <= _LONGEST_EMPTY}
    if "glyf" in font:
        starts = font["loca"]
        return {
            glyph for i, glyph in enumerate(order) if starts[i + 1] - starts[i] <= _LONGEST_EMPTY
        }
    return None


# A Korean face takes about a megabyte in each size.
@lru_cache(maxsize=192)
def _load(path: Path, index: int, size: int) -> ImageFont.FreeTypeFont:
    try:
        # The basic layout gives the same on every machine; Raqm is not on all of them.
        return ImageFont.truetype(path, size, index, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise HanlineError(
            f"synthesis.fonts: expected {path} to be a font ({error}). Remove it, or add it to "
            "synthesis.exclude_fonts"
        ) from error
