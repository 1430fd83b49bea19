"""A headline on television: plain letters on a plain background."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from PIL import Image, ImageColor

from hanline.errors import HanlineError
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.fonts import Font
from hanline.synthesis.outlines import Outlines
from hanline.synthesis.text_layout import CAPITAL_HEIGHT, TextLayout, lay_out
from hanline.synthesis.validation import Range, check_colors, check_number, check_range

_MIN_CONTRAST = 40
"""Between text and background, of 255."""


@dataclass(frozen=True)
class BroadcastRenderer(Renderer):
    """Render a text in one color on another; the picture is as wide as the text needs.

    The attributes are the keys of ``conf/renderer/broadcast.yaml``, which explains each. Lengths
    are shares of the height or of the font size, so that ``height`` alone decides the resolution.
    Nothing is cut off: a text that would be too high is rendered smaller.
    """

    version: ClassVar[int] = 1

    height: int
    font_size: Range
    full_height_probability: float
    rotation_degrees: float
    rotation_probability: float
    rotation_below_characters: int
    letter_width: Range
    spacing: Range
    bold_probability: float
    bold_thickness: Range
    edge: float
    margin: Range
    shift: float
    text_color: Sequence[str]
    background_color: Sequence[str]
    light_on_dark_probability: float

    def __post_init__(self) -> None:
        check_number("height", self.height, 8)
        check_range("font_size", self.font_size, 0.1, 2)
        check_number("full_height_probability", self.full_height_probability, 0, 1)
        check_number("rotation_degrees", self.rotation_degrees, 0, 45)
        check_number("rotation_probability", self.rotation_probability, 0, 1)
        check_range("letter_width", self.letter_width, 0.1, 10)
        check_range("spacing", self.spacing, -0.5, 10)
        check_number("bold_probability", self.bold_probability, 0, 1)
        check_range("bold_thickness", self.bold_thickness, 0, 0.5)
        check_number("edge", self.edge, 0, 0.4)
        check_range("margin", self.margin, 0)
        check_number("shift", self.shift, 0, 1)
        check_number("light_on_dark_probability", self.light_on_dark_probability, 0, 1)
        check_colors("text_color", self.text_color)
        check_colors("background_color", self.background_color)
        if _contrast(self.text_color, self.background_color) < _MIN_CONTRAST:
            raise HanlineError(
                f"renderer.text_color={list(self.text_color)}: expected a lightness at least "
                f"{_MIN_CONTRAST} of 255 away from renderer.background_color="
                f"{list(self.background_color)}. Make one of the two darker or lighter"
            )

    def draw(self, text: str, font: Font, seed: int) -> Rendering:
        """See :class:`hanline.synthesis.base.Renderer`."""
        rng = random.Random(seed)
        line = self._line(text, font, rng)
        letters = line.mask()
        text_color = _color_between(self.text_color, rng)
        background_color = _color_between(self.background_color, rng)
        if rng.random() < self.light_on_dark_probability:
            text_color, background_color = background_color, text_color

        left = round(self.height * rng.uniform(*self.margin))
        right = round(self.height * rng.uniform(*self.margin))
        middle = (self.height - letters.height) / 2
        away = (middle - self._edge) * self.shift
        top = round(middle + rng.uniform(-away, away))

        size = (left + letters.width + right, self.height)
        if _is_grey(text_color) and _is_grey(background_color):
            image = Image.new("L", size, background_color[0])
            image.paste(text_color[0], (left, top), letters)
        else:
            image = Image.new("RGB", size, background_color)
            image.paste(text_color, (left, top), letters)
        return Rendering(image, lambda: line.outlines().moved(left, top).boxes(len(text)))

    def _line(self, text: str, font: Font, rng: random.Random) -> "_Line":
        """Choose the letters' shape, and make them as large as there is room for."""
        room = self.height - 2 * self._edge
        size = round(self.height * rng.uniform(*self.font_size))
        if rng.random() < self.full_height_probability:
            size = math.ceil(room / CAPITAL_HEIGHT)
        turns = rng.random() < self.rotation_probability
        turns = turns and len(text) < self.rotation_below_characters
        angle = rng.uniform(-self.rotation_degrees, self.rotation_degrees) if turns else 0.0
        letter_width = rng.uniform(*self.letter_width)
        spacing = rng.uniform(*self.spacing)
        bold = rng.random() < self.bold_probability
        thickness = rng.uniform(*self.bold_thickness) if bold else 0.0

        while size > 0:
            stroke = thickness * size / 2
            top = CAPITAL_HEIGHT * size
            layout = lay_out(text, font, size, spacing * size, 1.0, stroke, line_top=top)
            line = _Line(layout, stroke, letter_width, angle)
            needed = line.max_height()
            if needed <= room:
                return line
            size = min(size - 1, int(size * room / needed))
        raise HanlineError(
            f"renderer.rotation_degrees={self.rotation_degrees}: expected room for {text!r} in a "
            f"picture {self.height} px high, turned by {angle:.0f} degrees. Lower it, or "
            "renderer.rotation_below_characters"
        )

    @property
    def _edge(self) -> int:
        return round(self.height * self.edge)


@dataclass(frozen=True)
class _Line:
    """A line of letters, and how it is shaped.

    Attributes:
        layout: the letters.
        stroke: pixels added all around the strokes.
        letter_width: the width of the letters, as a multiple of the font's own.
        angle: how far the line is turned counterclockwise, in degrees.
    """

    layout: TextLayout
    stroke: float
    letter_width: float
    angle: float

    @property
    def width(self) -> int:
        """The width before it is turned."""
        return max(1, round(self.layout.width * self.letter_width))

    def max_height(self) -> float:
        """Return a bound on the height of the mask, without rendering it."""
        if not self.angle:
            return self.layout.height
        radians = math.radians(abs(self.angle))
        wide = self.layout.width * self.letter_width * math.sin(radians)
        # Pillow rounds the turned box outwards above and below, and its width has been rounded.
        return wide + self.layout.height * math.cos(radians) + 2.5

    def mask(self) -> Image.Image:
        """Render the line: an ``L`` image, 0 where there is no ink."""
        mask = self.layout.mask(self.stroke)
        if self.width != mask.width:
            mask = mask.resize((self.width, mask.height), Image.Resampling.BICUBIC)
        if self.angle:
            mask = mask.rotate(self.angle, Image.Resampling.BICUBIC, expand=True)
        return mask

    def outlines(self) -> Outlines:
        """Return where the letters are in the mask: the same steps as for it."""
        letters = self.layout.outlines(self.stroke, upright=not self.angle)
        letters = letters.affine(self.width / self.layout.width, 0, 0, 1)
        if self.angle:
            width, height = self.width, self.layout.height
            radians = math.radians(self.angle)
            cos, sin = math.cos(radians), math.sin(radians)
            # Pillow turns around the middle, and grows the image to whole pixels on every side.
            letters = letters.moved(-width / 2, -height / 2).affine(cos, sin, -sin, cos)
            reach_x = (abs(cos) * width + abs(sin) * height) / 2
            reach_y = (abs(cos) * height + abs(sin) * width) / 2
            letters = letters.moved(_half_size(width, reach_x), _half_size(height, reach_y))
        return letters


def _half_size(size: int, reach: float) -> float:
    """Return half of what ``size`` pixels become if they reach so far from their middle."""
    return (math.ceil(size / 2 + reach) - math.floor(size / 2 - reach)) / 2


def _color_between(ends: Sequence[str], rng: random.Random) -> tuple[int, ...]:
    share = rng.random()
    first, second = map(_rgb, ends)
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def _is_grey(color: tuple[int, ...]) -> bool:
    return len(set(color)) == 1


def _contrast(text: Sequence[str], background: Sequence[str]) -> float:
    """Return how far apart, of 255, a text and its background are at least in lightness."""
    text_light = sorted(_lightness(color) for color in text)
    background_light = sorted(_lightness(color) for color in background)
    return max(text_light[0] - background_light[-1], background_light[0] - text_light[-1])


def _lightness(color: str) -> float:
    """Return the luma of a color, ITU-R BT.601, 0 to 255."""
    red, green, blue = _rgb(color)
    return 0.299 * red + 0.587 * green + 0.114 * blue


@lru_cache(maxsize=64)
def _rgb(color: str) -> tuple[int, ...]:
    return ImageColor.getrgb(color)
