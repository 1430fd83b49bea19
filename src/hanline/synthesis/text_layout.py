"""Lay out letters on a line: their places and their ink."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from hanline.synthesis.fonts import Font
from hanline.synthesis.outlines import Outlines, outlines, rim

CAPITAL_HEIGHT = 0.72
"""The height of capitals and digits in nearly all fonts, as a share of the font size.

A line is at least as high: so a hyphen, a comma and a quotation mark keep their size and place.
"""
_INK = 64
"""A share of 255. Lighter ink is the soft edge of a letter, less than half a pixel wide."""
_IS_INK = [255 * (shade >= _INK) for shade in range(256)]


@dataclass(frozen=True)
class TextLayout:
    """A text laid out on a line, not yet rendered.

    All lengths are in pixels, from the start of the baseline.

    Attributes:
        font, size: the font, and pixels per em.
        pieces: the strings rendered in one call, each with the x at which it starts.
        numbers: which of the pieces that were laid out each one is: spaces are left out.
        left, top, right, bottom: a box around all ink, all letter widths and the line's own height.
    """

    font: Font
    size: int
    pieces: list[tuple[str, float]]
    numbers: list[int]
    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def mask(self, stroke: float) -> Image.Image:
        """Render the box: an ``L`` image, 0 where there is no ink.

        Args:
            stroke: pixels added all around the strokes, at most those it was laid out with.
        """
        font = self.font.load(self.size)
        mask = Image.new("L", (self.width, self.height))
        draw = ImageDraw.Draw(mask)
        for piece, x in self.pieces:
            draw.text(
                (x - self.left, -self.top),
                piece,
                fill=255,
                font=font,
                anchor="ls",
                stroke_width=stroke,
            )
        return mask

    def whole_pixel_mask(self) -> Image.Image:
        """Render the box without a stroke, each letter moved to the nearest whole pixel.

        Several times as fast as :meth:`mask`, since letters are rendered once and kept. Use it to
        render letters large and then make the line smaller.
        """
        mask = Image.new("L", (self.width, self.height))
        for piece, x in self.pieces:
            glyph, left, top = _glyph(self.font, self.size, piece)
            mask.paste(255, (round(x) + left - self.left, top - self.top), glyph)
        return mask

    def outlines(self, stroke: float, upright: bool) -> Outlines:
        """Return where the ink of each piece is in the box.

        Args:
            stroke: as for :meth:`mask`.
            upright: True is faster, and exact unless the line is slanted, turned or bent later.
        """
        letters = []
        for number, (piece, x) in zip(self.numbers, self.pieces, strict=True):
            if upright:
                left, top, points = _corners(self.font, self.size, piece)
            else:
                left, top, points = _rim(self.font, self.size, piece)
            letters.append((number, points, x + left - self.left, top - self.top))
        return outlines(letters, stroke)


def lay_out(
    pieces: Iterable[str],
    font: Font,
    size: int,
    spacing: float,
    space_width: float,
    stroke: float,
    line_top: float,
) -> TextLayout:
    """Place pieces of text one after the other.

    Args:
        pieces: letters, or words with the spaces between them.
        font: the font.
        size: pixels per em.
        spacing: pixels between two pieces; negative brings them closer.
        space_width: the width of a space, as a multiple of the font's own.
        stroke: pixels added all around the strokes.
        line_top: pixels from the top of the line down to the baseline. The box holds them even if
            no letter reaches as high.
    """
    placed = []
    numbers = []
    x = 0.0
    left, top, right, bottom = 0.0, -line_top, 0.0, 0.0
    for number, piece in enumerate(pieces):
        width, box = _measures(font, size, piece)
        if piece == " ":
            width *= space_width
        else:
            placed.append((piece, x))
            numbers.append(number)
            left = min(left, x + box[0] - stroke)
            top = min(top, box[1] - stroke)
            right = max(right, x + box[2] + stroke)
            bottom = max(bottom, box[3] + stroke)
        right = max(right, x + width)
        x += width + spacing
    return TextLayout(
        font,
        size,
        placed,
        numbers,
        math.floor(left),
        math.floor(top),
        # A thickened letter between two pixels can come out a pixel further right.
        math.ceil(right) + (stroke > 0),
        math.ceil(bottom),
    )


# Measuring a letter takes half as long as drawing it, and few letters make up most of a text.
@lru_cache(maxsize=32768)
def _measures(font: Font, size: int, piece: str) -> tuple[float, tuple[float, float, float, float]]:
    """Return a piece's advance, and the box around its ink, from the start of the baseline."""
    loaded = font.load(size)
    return loaded.getlength(piece), loaded.getbbox(piece, anchor="ls")


# A letter takes a kilobyte or two: about a hundred megabytes if it is full.
@lru_cache(maxsize=65536)
def _glyph(font: Font, size: int, piece: str) -> tuple[Image.Image, int, int]:
    return _rendered(font, size, piece)


def _rendered(font: Font, size: int, piece: str) -> tuple[Image.Image, int, int]:
    """Render a piece; return it and its left upper corner, from the start of the baseline."""
    left, top, right, bottom = _measures(font, size, piece)[1]
    box = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    glyph = Image.new("L", (max(1, box[2] - box[0]), max(1, box[3] - box[1])))
    ImageDraw.Draw(glyph).text(
        (-box[0], -box[1]), piece, fill=255, font=font.load(size), anchor="ls"
    )
    return glyph, box[0], box[1]


# Pillow's own box of a piece reaches as far as its advance, so that only a picture has the ink's.
@lru_cache(maxsize=65536)
def _corners(font: Font, size: int, piece: str) -> tuple[int, int, np.ndarray]:
    """Return the left upper corner of a piece's picture, and two corners of its ink from there."""
    glyph, left, top = _rendered(font, size, piece)
    box = glyph.point(_IS_INK).getbbox()
    if box is None:
        return left, top, np.zeros((0, 2), dtype=np.int16)
    return left, top, np.array([box[:2], (box[2] - 1, box[3] - 1)], dtype=np.int16)


# About a kilobyte a letter.
@lru_cache(maxsize=32768)
def _rim(font: Font, size: int, piece: str) -> tuple[int, int, np.ndarray]:
    """Return the left upper corner of a piece's picture, and its outermost pixels from there."""
    glyph, left, top = _rendered(font, size, piece)
    return left, top, rim(np.asarray(glyph) >= _INK)
