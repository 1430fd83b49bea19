"""Headlines as broadcasts, pages and captures show them: every setting a source of variety."""

import io
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from hanline.errors import HanlineError
from hanline.raster import open_raster
from hanline.synthesis.backgrounds import BACKGROUNDS, Plate, background
from hanline.synthesis.fonts import Font
from hanline.synthesis.text_layout import TextLayout, lay_out
from hanline.synthesis.validation import Range, check_number, check_range


@dataclass(frozen=True)
class VariedRenderer:
    """Draws a line of text in one of very many looks; ``conf/synthesis/renderer`` has each key.

    Whatever is drawn, all of the text is inside the image, and nothing else that could be read.
    What is a range is drawn anew for each image; what ends in -ed or is called a share is the
    share of images, from 0 to 1, that the effect befalls.
    """

    height: int
    font_size: Range
    full_height: float
    letter_width: Range
    spacing: Range
    word_gap: Range
    emboldened: float
    thickness: Range
    slanted: float
    slant: Range
    margin: Range
    widely_margined: float
    wide_margin: Range
    turned: float
    turn: float
    waved: float
    wave: float
    tapered: float
    taper: float
    backgrounds: Mapping[str, float]
    light_on_dark: float
    least_contrast: int
    graded: float
    outlined: float
    shadowed: float
    blurred: float
    blur: Range
    strongly_blurred: float
    strong_blur: Range
    rescaled: float
    rescale: Range
    noisy: float
    noise: Range
    compressed: float
    quality: Range
    colored: float

    def __post_init__(self) -> None:
        check_number("height", self.height, 16)
        check_range("font_size", self.font_size, 0.2, 2)
        check_range("letter_width", self.letter_width, 0.2, 3)
        check_range("spacing", self.spacing, -0.3, 3)
        check_range("word_gap", self.word_gap, 0.3, 5)
        check_range("thickness", self.thickness, 0, 0.3)
        check_range("slant", self.slant, -0.5, 0.5)
        check_range("margin", self.margin, 0, 50)
        check_range("wide_margin", self.wide_margin, 0, 50)
        check_number("turn", self.turn, 0, 15)
        check_number("wave", self.wave, 0, 0.5)
        check_number("taper", self.taper, 0, 0.5)
        check_number("least_contrast", self.least_contrast, 20, 255)
        check_range("blur", self.blur, 0, 0.15)
        check_range("strong_blur", self.strong_blur, 0, 0.15)
        check_range("rescale", self.rescale, 0.1, 1)
        check_range("noise", self.noise, 0, 100)
        check_range("quality", self.quality, 1, 95)
        for field in fields(self):
            if field.type is float and field.name not in ("turn", "wave", "taper"):
                check_number(field.name, getattr(self, field.name), 0, 1)
        weights = self.backgrounds.values()
        if self.backgrounds.keys() - BACKGROUNDS.keys() or not any(weights) or min(weights) < 0:
            raise HanlineError(
                f"synthesis.renderer.backgrounds is {dict(self.backgrounds)}: it takes a weight of "
                f"at least 0 for each of {', '.join(BACKGROUNDS)}, not all of them 0"
            )

    def aspect(self, text: str, font: Font, seed: int) -> float:
        """The width of what :meth:`render` draws, as a multiple of its height, without drawing."""
        plan = self._plan(text, font, random.Random(seed))
        return plan.width / self.height

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """See :class:`hanline.synthesis.base.Renderer`."""
        rng = random.Random(seed)
        plan = self._plan(text, font, rng)
        noise = np.random.default_rng(rng.getrandbits(64))
        ink = self._ink(plan, rng)
        picture = self._compose(plan, ink, rng, noise)
        image = self._degrade(picture, plan, rng, noise)
        return self._in_color(image, rng) if rng.random() < self.colored else image

    def _plan(self, text: str, font: Font, rng: random.Random) -> "_Plan":
        """Where the letters stand; all that decides the width is drawn here."""
        # Room for the outline and for what Pillow rounds outwards.
        room = self.height - 2 * _EDGE
        size = self.height * rng.uniform(*self.font_size)
        if rng.random() < self.full_height:
            size = room / _CAPITAL
        letter_width = rng.uniform(*self.letter_width)
        spacing = rng.uniform(*self.spacing)
        word_gap = rng.uniform(*self.word_gap)
        thickness = rng.uniform(*self.thickness) if rng.random() < self.emboldened else 0.0
        slant = rng.uniform(*self.slant) if rng.random() < self.slanted else 0.0
        # Letters are drawn in one size and made smaller then: a hundred fonts stay loaded in one.
        drawn = self.height
        stroke = thickness * drawn / 2
        line = lay_out(
            text, font, drawn, spacing * drawn, word_gap, stroke, line_top=_CAPITAL * drawn
        )
        size = min(size, drawn * room / line.height)
        width = max(1, round(line.width * size / drawn * letter_width))
        height = min(room, max(1, round(line.height * size / drawn)))
        lean = math.ceil(abs(slant) * height)
        widest = self.wide_margin if rng.random() < self.widely_margined else self.margin
        left, right = (round(self.height * rng.uniform(*widest)) for _ in range(2))
        return _Plan(line, stroke, size, (width, height), slant, lean, left + 1, right + 1)

    def _ink(self, plan: "_Plan", rng: random.Random) -> np.ndarray:
        """How much of each pixel is text: float32 (H, W), 0 to 1."""
        drawn = plan.line.mask(plan.stroke) if plan.stroke else plan.line.whole_pixel_mask()
        line = drawn.resize(plan.letters, Image.Resampling.BILINEAR)
        if plan.lean:
            # x in the source for each x, y in the result; the top leans right where slant > 0.
            offset = 0.0 if plan.slant < 0 else -plan.slant * line.height
            line = line.transform(
                (line.width + plan.lean, line.height),
                Image.Transform.AFFINE,
                (1, plan.slant, offset, 0, 1, 0),
                Image.Resampling.BILINEAR,
            )
        slack = self.height - 2 * _EDGE - line.height
        rows, bend = self._bend(plan, line.height, slack, rng)
        free = slack - bend
        top = _EDGE + bend / 2 + free * rng.random()
        canvas = Image.new("L", (plan.width, self.height))
        row = round(top)
        canvas.paste(line, (plan.left, row))
        ink = np.asarray(canvas, dtype=np.float32) / 255
        if rows is None:
            return ink
        # A bent line may have no room left for what rounding moved it by.
        rows = _Rows(rows.shift + np.float32(top - row), rows.shrink)
        return _moved(ink, rows, row + line.height / 2)

    def _bend(
        self, plan: "_Plan", height: int, slack: int, rng: random.Random
    ) -> tuple["_Rows | None", float]:
        """How each column is moved and shrunk, and how much height that takes at most."""
        turn = rng.uniform(-self.turn, self.turn) if rng.random() < self.turned else 0.0
        waves = rng.random() < self.waved
        amplitude = rng.uniform(0, self.wave) * height if waves else 0.0
        period = self.height * rng.uniform(2, 12)
        phase = rng.uniform(0, 2 * math.pi)
        taper = rng.uniform(-self.taper, self.taper) if rng.random() < self.tapered else 0.0
        slope = math.tan(math.radians(turn))
        needed = abs(slope) * plan.width + 2 * amplitude
        if not needed and not taper:
            return None, 0.0
        # What has no room is done by less, never cut off.
        share = min(1.0, slack / needed) if needed else 1.0
        columns = np.arange(plan.width, dtype=np.float32)
        middle = plan.width / 2
        shift = slope * (columns - middle) + amplitude * np.sin(
            columns * (2 * math.pi / period) + phase
        )
        shrink = (
            1 - taper * (columns / plan.width)
            if taper > 0
            else 1 + taper * (1 - columns / plan.width)
        )
        return _Rows(share * shift, shrink), share * needed

    def _compose(
        self, plan: "_Plan", ink: np.ndarray, rng: random.Random, noise: np.random.Generator
    ) -> np.ndarray:
        """Text on its ground: float32 (H, W), 0 to 255."""
        outlined = rng.random() < self.outlined
        contrast = rng.uniform(self.least_contrast, 255)
        dark = rng.uniform(0, 255 - contrast)
        light = dark + contrast
        text, ground = (light, dark) if rng.random() < self.light_on_dark else (dark, light)
        names = sorted(self.backgrounds)
        (name,) = rng.choices(names, [self.backgrounds[n] for n in names])
        plate = Plate(plan.left, plan.width - plan.right)
        picture = background(name, ink.shape, ground, text, outlined, plate, rng, noise)
        if outlined:
            wide = np.maximum.reduce([_shifted(ink, dx, dy) for dx, dy in _AROUND])
            rim = text + rng.uniform(0.6, 1) * (ground - text)
            picture += wide * (rim - picture)
        elif rng.random() < self.shadowed:
            dx, dy = rng.randint(-3, 3), rng.randint(1, 3)
            # Never near the text's own shade, or it would thicken the strokes.
            shade = max((ground + text) / 2, ground - 90) if ground > text else max(0, ground - 40)
            picture += rng.uniform(0.3, 0.9) * _shifted(ink, dx, dy) * (shade - picture)
        color: Any = text
        if rng.random() < self.graded:
            towards = text + rng.uniform(0, 0.45) * (ground - text)
            ramp = np.linspace(text, towards, ink.shape[0], dtype=np.float32)[:, None]
            color = ramp if rng.random() < 0.5 else ramp[::-1]
        picture += ink * (color - picture)
        return picture

    def _degrade(
        self, picture: np.ndarray, plan: "_Plan", rng: random.Random, noise: np.random.Generator
    ) -> Image.Image:
        """What cameras, encoders and screens do to it: an ``L`` image."""
        size = plan.size
        if rng.random() < self.noisy:
            sigma = rng.uniform(*self.noise)
            picture = picture + noise.standard_normal(picture.shape, dtype=np.float32) * sigma
        image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        strongly = rng.random() < self.strongly_blurred
        if strongly or rng.random() < self.blurred:
            radius = size * rng.uniform(*(self.strong_blur if strongly else self.blur))
            image = image.filter(ImageFilter.GaussianBlur(radius))
        if rng.random() < self.rescaled:
            factor = max(rng.uniform(*self.rescale), min(1.0, _LEAST_EM / size))
            small = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
            method = rng.choice(
                [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST]
            )
            image = image.resize(small, Image.Resampling.BILINEAR).resize(
                (image.width, image.height), method
            )
        if rng.random() < self.compressed:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=round(rng.uniform(*self.quality)))
            image = open_raster(file.getvalue())
            image.load()
        return image

    def _in_color(self, image: Image.Image, rng: random.Random) -> Image.Image:
        """Between two colours that are as far apart in lightness as black and white nearly are."""
        dark = tuple(rng.randrange(0, 90) for _ in range(3))
        light = tuple(rng.randrange(165, 256) for _ in range(3))
        return ImageOps.colorize(image, dark, light)


# Pixels above and below that no letter reaches.
_EDGE = 1
# How high capitals and digits are, in nearly all fonts, as a share of the font size.
_CAPITAL = 0.72
# Pixels per em below which dense syllables run together.
_LEAST_EM = 13
# The pixels around one, for an outline.
_AROUND = [(dx, dy) for dx in (-2, 0, 2) for dy in (-2, 0, 2)] + [(-1, 0), (1, 0), (0, 1), (0, -1)]


@dataclass(frozen=True)
class _Plan:
    """The letters and the room beside them, in pixels.

    Attributes:
        line, stroke: the letters as they are drawn.
        size: pixels per em in the image.
        letters: width and height that the line is made to have.
        slant, lean: how far it leans, for each pixel of its height and in all.
        left, right: the free room.
    """

    line: TextLayout
    stroke: float
    size: float
    letters: tuple[int, int]
    slant: float
    lean: int
    left: int
    right: int

    @property
    def width(self) -> int:
        return self.left + self.letters[0] + self.lean + self.right


@dataclass(frozen=True)
class _Rows:
    """For each column, how many pixels it is moved down, and to what share of its height."""

    shift: np.ndarray
    shrink: np.ndarray


def _moved(ink: np.ndarray, rows: _Rows, middle: float) -> np.ndarray:
    """Columns moved and shrunk around a middle line."""
    height = ink.shape[0]
    target = np.arange(height, dtype=np.float32)[:, None]
    source = (target - middle - rows.shift) / rows.shrink + middle
    below = np.floor(source).astype(np.intp)
    share = source - below
    inside = (below >= 0) & (below < height - 1)
    below = below.clip(0, height - 2)
    columns = np.arange(ink.shape[1])
    moved = ink[below, columns] * (1 - share) + ink[below + 1, columns] * share
    moved *= inside
    return moved.astype(np.float32)


def _shifted(ink: np.ndarray, dx: int, dy: int) -> np.ndarray:
    shifted = np.zeros_like(ink)
    height, width = ink.shape
    shifted[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = ink[
        max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
    ]
    return shifted
