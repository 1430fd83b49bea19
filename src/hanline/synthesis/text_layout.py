"""Letters placed on a line by their own widths."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from hanline.synthesis.fonts import Font


@dataclass(frozen=True)
class TextLayout:
    """A text laid out on a line, not yet drawn. All in pixels; the origin is the baseline's start.

    Attributes:
        pieces: what is drawn in one go, each with the x at which it starts.
        left, top, right, bottom: a box around all ink, all letter widths and the line's own height.
    """

    font: Font
    size: int
    pieces: list[tuple[str, float]]
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
        """The box drawn: an ``L`` image, 0 where there is no ink.

        Args:
            stroke: what is added all around the strokes, at most what it was laid out with.
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
        """The box drawn without a stroke, each letter moved to the nearest whole pixel.

        Several times as fast as :meth:`mask`, for those who draw letters large and then make the
        line smaller: letters are drawn once and kept.
        """
        mask = Image.new("L", (self.width, self.height))
        for piece, x in self.pieces:
            glyph, left, top = _glyph(self.font, self.size, piece)
            mask.paste(255, (round(x) + left - self.left, top - self.top), glyph)
        return mask


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
        space_width: how wide a space is, 1 being the font's own.
        stroke: pixels that are added all around the strokes.
        line_top: pixels from the top of the line down to the baseline, which the box holds even
            where no letter reaches as high.
    """
    placed = []
    x = 0.0
    left, top, right, bottom = 0.0, -line_top, 0.0, 0.0
    for piece in pieces:
        width, box = _measures(font, size, piece)
        if piece == " ":
            width *= space_width
        else:
            placed.append((piece, x))
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
        math.floor(left),
        math.floor(top),
        # A thickened letter between two pixels can come out a pixel further right.
        math.ceil(right) + (stroke > 0),
        math.ceil(bottom),
    )


# Measuring a letter takes half as long as drawing it, and few letters make up most of a text.
@lru_cache(maxsize=32768)
def _measures(font: Font, size: int, piece: str) -> tuple[float, tuple[float, float, float, float]]:
    """How far a piece takes the line on, and the box around its ink, from the baseline's start."""
    loaded = font.load(size)
    return loaded.getlength(piece), loaded.getbbox(piece, anchor="ls")


# A letter takes a kilobyte or two, so this is about a hundred megabytes where it is full.
@lru_cache(maxsize=65536)
def _glyph(font: Font, size: int, piece: str) -> tuple[Image.Image, int, int]:
    """A piece drawn, and where its left upper corner lies from the baseline's start."""
    left, top, right, bottom = _measures(font, size, piece)[1]
    box = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    glyph = Image.new("L", (max(1, box[2] - box[0]), max(1, box[3] - box[1])))
    ImageDraw.Draw(glyph).text(
        (-box[0], -box[1]), piece, fill=255, font=font.load(size), anchor="ls"
    )
    return glyph, box[0], box[1]
