"""The look of a headline on television: plain letters on a plain ground."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageColor

from hanline.errors import HanlineError
from hanline.synthesis.fonts import Font
from hanline.synthesis.text_layout import TextLayout, lay_out
from hanline.synthesis.validation import Range, check_colors, check_number, check_range


@dataclass(frozen=True)
class BroadcastRenderer:
    """Draws a text in one colour on another, in an image that grows as wide as the text needs.

    What is a range is drawn anew for each image. All lengths are shares of the image height or of
    the font size, so that ``height`` alone decides the resolution. Nothing is ever cut off: a text
    that would be too high is drawn smaller.

    Attributes:
        height: the height of every image, in pixels.
        font_size: pixels per em, as a share of the height.
        full_height: the share of images, from 0 to 1, whose text is as high as ``edge`` lets it
            be, whatever ``font_size`` says.
        tilt: the most by which a text is turned either way, in degrees.
        tilt_probability: the share of texts that are turned, of those short enough.
        tilt_below: a text of this many characters or more is never turned: it would have to be
            tiny.
        letter_width: how wide the letters are, 1 being the font's own width.
        spacing: what is added between two letters, as a share of the font size; negative brings
            them closer.
        bold: the share of images whose strokes are thickened.
        thickness: what is added to the thickness of those, as a share of the font size.
        edge: the least free room above and below, as a share of the height.
        margin: the free room to the left and to the right, each, as a share of the height.
        shift: how far from the middle the text may stand, 0 not at all, 1 up to the edge.
        text_color, background_color: a colour between the first and the second is taken.
        light_on_dark: the share of images whose two colours are exchanged.
    """

    height: int
    font_size: Range
    full_height: float
    tilt: float
    tilt_probability: float
    tilt_below: int
    letter_width: Range
    spacing: Range
    bold: float
    thickness: Range
    edge: float
    margin: Range
    shift: float
    text_color: Sequence[str]
    background_color: Sequence[str]
    light_on_dark: float

    def __post_init__(self) -> None:
        check_number("height", self.height, 8)
        check_range("font_size", self.font_size, 0.1, 2)
        check_number("full_height", self.full_height, 0, 1)
        check_number("tilt", self.tilt, 0, 45)
        check_number("tilt_probability", self.tilt_probability, 0, 1)
        check_range("letter_width", self.letter_width, 0.1, 10)
        check_range("spacing", self.spacing, -0.5, 10)
        check_number("bold", self.bold, 0, 1)
        check_range("thickness", self.thickness, 0, 0.5)
        check_number("edge", self.edge, 0, 0.4)
        check_range("margin", self.margin, 0)
        check_number("shift", self.shift, 0, 1)
        check_number("light_on_dark", self.light_on_dark, 0, 1)
        check_colors("text_color", self.text_color)
        check_colors("background_color", self.background_color)
        if _contrast(self.text_color, self.background_color) < _LEAST_CONTRAST:
            raise HanlineError(
                f"synthesis.renderer.text_color is {list(self.text_color)} and background_color "
                f"{list(self.background_color)}: they come so close that a text could not be read"
            )

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """See :class:`hanline.synthesis.base.Renderer`."""
        rng = random.Random(seed)
        letters = self._letters(text, font, rng)
        text_color = _color_between(self.text_color, rng)
        background_color = _color_between(self.background_color, rng)
        if rng.random() < self.light_on_dark:
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
        return image

    def _letters(self, text: str, font: Font, rng: random.Random) -> Image.Image:
        """The text as an ``L`` mask, as high as there is room for at most."""
        room = self.height - 2 * self._edge
        size = round(self.height * rng.uniform(*self.font_size))
        if rng.random() < self.full_height:
            size = math.ceil(room / _CAPITAL)
        turned = rng.random() < self.tilt_probability and len(text) < self.tilt_below
        angle = rng.uniform(-self.tilt, self.tilt) if turned else 0.0
        letter_width = rng.uniform(*self.letter_width)
        spacing = rng.uniform(*self.spacing)
        thickness = rng.uniform(*self.thickness) if rng.random() < self.bold else 0.0

        while size > 0:
            stroke = thickness * size / 2
            line = lay_out(text, font, size, spacing * size, 1.0, stroke, line_top=_CAPITAL * size)
            needed = _highest(line, letter_width, angle)
            if needed <= room:
                return _shaped(line.mask(stroke), letter_width, angle)
            size = min(size - 1, int(size * room / needed))
        raise HanlineError(
            f"{text!r} has no room in an image {self.height} px high when turned by "
            f"{angle:.0f} degrees: lower synthesis.renderer.tilt or tilt_below"
        )

    @property
    def _edge(self) -> int:
        return round(self.height * self.edge)


# How high capitals and digits are, in nearly all fonts, as a share of the font size. A line is
# taken to be at least as high, so that a hyphen, a comma and a quotation mark stay as small as they
# are and where they are.
_CAPITAL = 0.72
# Between 0 and 255.
_LEAST_CONTRAST = 40


def _highest(line: TextLayout, letter_width: float, angle: float) -> float:
    """How high the line is at most once it is shaped, to be known before it is drawn."""
    if not angle:
        return line.height
    radians = math.radians(abs(angle))
    turned = line.width * letter_width * math.sin(radians) + line.height * math.cos(radians)
    # Pillow rounds the turned box outwards above and below, and its width has been rounded.
    return turned + 2.5


def _shaped(mask: Image.Image, letter_width: float, angle: float) -> Image.Image:
    width = max(1, round(mask.width * letter_width))
    if width != mask.width:
        mask = mask.resize((width, mask.height), Image.Resampling.BICUBIC)
    if angle:
        mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    return mask


def _color_between(ends: Sequence[str], rng: random.Random) -> tuple[int, ...]:
    share = rng.random()
    first, second = map(_rgb, ends)
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def _is_grey(color: tuple[int, ...]) -> bool:
    return len(set(color)) == 1


def _contrast(text: Sequence[str], background: Sequence[str]) -> float:
    """How far apart, of 255, the lightness of a text and of its ground can come."""
    text_light = sorted(_lightness(color) for color in text)
    background_light = sorted(_lightness(color) for color in background)
    return max(text_light[0] - background_light[-1], background_light[0] - text_light[-1])


def _lightness(color: str) -> float:
    """ITU-R BT.601 luma."""
    red, green, blue = _rgb(color)
    return 0.299 * red + 0.587 * green + 0.114 * blue


@lru_cache(maxsize=64)
def _rgb(color: str) -> tuple[int, ...]:
    return ImageColor.getrgb(color)
