"""Headlines as broadcasts, web pages and screen captures show them, in many variations.

Over 300 lines: the effects draw from one random series, so their order decides every picture.
"""

import io
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from hanline.raster import open_raster
from hanline.synthesis.backgrounds import BACKGROUNDS, Plate, background
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.fonts import Font
from hanline.synthesis.outlines import Outlines
from hanline.synthesis.text_layout import CAPITAL_HEIGHT, TextLayout, lay_out
from hanline.synthesis.validation import Range, check_number, check_range, check_weights
from hanline.synthesis.warps import Bend, shifted

_EDGE = 1
"""Pixels above and below that no letter reaches."""
_MIN_EM = 13
"""Pixels per em below which dense syllables run together."""
_AROUND = [(dx, dy) for dx in (-2, 0, 2) for dy in (-2, 0, 2)] + [(-1, 0), (1, 0), (0, 1), (0, -1)]
"""Offsets at which an outline adds ink around a pixel."""


@dataclass(frozen=True)
class VariedRenderer(Renderer):
    """Render a line of text with many independent effects.

    The attributes are the keys of ``conf/renderer/varied.yaml``, which explains each. All of the
    text is inside the picture, and nothing else in it can be read.
    """

    version: ClassVar[int] = 1

    height: int
    font_size: Range
    full_height_probability: float
    letter_width: Range
    spacing: Range
    word_gap: Range
    bold_probability: float
    bold_thickness: Range
    slant_probability: float
    slant: Range
    margin: Range
    wide_margin_probability: float
    wide_margin: Range
    rotation_probability: float
    rotation_degrees: float
    wave_probability: float
    wave_height: float
    taper_probability: float
    taper: float
    backgrounds: Mapping[str, float]
    light_on_dark_probability: float
    min_contrast: int
    gradient_probability: float
    outline_probability: float
    shadow_probability: float
    blur_probability: float
    blur: Range
    strong_blur_probability: float
    strong_blur: Range
    rescale_probability: float
    rescale: Range
    noise_probability: float
    noise: Range
    jpeg_probability: float
    jpeg_quality: Range
    color_probability: float

    def __post_init__(self) -> None:
        check_number("height", self.height, 16)
        check_range("font_size", self.font_size, 0.2, 2)
        check_range("letter_width", self.letter_width, 0.2, 3)
        check_range("spacing", self.spacing, -0.3, 3)
        check_range("word_gap", self.word_gap, 0.3, 5)
        check_range("bold_thickness", self.bold_thickness, 0, 0.3)
        check_range("slant", self.slant, -0.5, 0.5)
        check_range("margin", self.margin, 0, 50)
        check_range("wide_margin", self.wide_margin, 0, 50)
        check_number("rotation_degrees", self.rotation_degrees, 0, 15)
        check_number("wave_height", self.wave_height, 0, 0.5)
        check_number("taper", self.taper, 0, 0.5)
        check_number("min_contrast", self.min_contrast, 20, 255)
        check_range("blur", self.blur, 0, 0.15)
        check_range("strong_blur", self.strong_blur, 0, 0.15)
        check_range("rescale", self.rescale, 0.1, 1)
        check_range("noise", self.noise, 0, 100)
        check_range("jpeg_quality", self.jpeg_quality, 1, 95)
        for field in fields(self):
            if field.name.endswith("_probability"):
                check_number(field.name, getattr(self, field.name), 0, 1)
        check_weights("backgrounds", self.backgrounds, list(BACKGROUNDS))

    def aspect(self, text: str, font: Font, seed: int) -> float:
        """See :class:`hanline.synthesis.base.Renderer`; nothing is rendered."""
        plan = self._plan(text, font, random.Random(seed))
        return plan.width / self.height

    def draw(self, text: str, font: Font, seed: int) -> Rendering:
        """See :class:`hanline.synthesis.base.Renderer`."""
        rng = random.Random(seed)
        plan = self._plan(text, font, rng)
        noise = np.random.default_rng(rng.getrandbits(64))
        ink, place = self._ink(plan, rng)
        picture = self._compose(plan, ink, rng, noise)
        image = self._degrade(picture, plan, rng, noise)
        if rng.random() < self.color_probability:
            image = self._colorize(image, rng)
        return Rendering(image, lambda: place.outlines(plan).boxes(len(text)))

    def _plan(self, text: str, font: Font, rng: random.Random) -> "_Plan":
        """Choose all that decides the width."""
        # The edge is room for the outline, and for what Pillow rounds outwards.
        room = self.height - 2 * _EDGE
        size = self.height * rng.uniform(*self.font_size)
        if rng.random() < self.full_height_probability:
            size = room / CAPITAL_HEIGHT
        letter_width = rng.uniform(*self.letter_width)
        spacing = rng.uniform(*self.spacing)
        word_gap = rng.uniform(*self.word_gap)
        thickness = (
            rng.uniform(*self.bold_thickness) if rng.random() < self.bold_probability else 0.0
        )
        slant = rng.uniform(*self.slant) if rng.random() < self.slant_probability else 0.0
        # Letters are rendered in one size and then made smaller: so a hundred fonts stay loaded.
        drawn = self.height
        stroke = thickness * drawn / 2
        top = CAPITAL_HEIGHT * drawn
        line = lay_out(text, font, drawn, spacing * drawn, word_gap, stroke, line_top=top)
        size = min(size, drawn * room / line.height)
        width = max(1, round(line.width * size / drawn * letter_width))
        height = min(room, max(1, round(line.height * size / drawn)))
        lean = math.ceil(abs(slant) * height)
        widest = self.wide_margin if rng.random() < self.wide_margin_probability else self.margin
        left, right = (round(self.height * rng.uniform(*widest)) for _ in range(2))
        return _Plan(line, stroke, size, (width, height), slant, lean, left + 1, right + 1)

    def _ink(self, plan: "_Plan", rng: random.Random) -> tuple[np.ndarray, "_Place"]:
        """Return how much of each pixel is text, float32 (H, W) from 0 to 1, and where it is."""
        drawn = plan.line.mask(plan.stroke) if plan.stroke else plan.line.whole_pixel_mask()
        line = drawn.resize(plan.letters, Image.Resampling.BILINEAR)
        if plan.lean:
            # x in the source for each x, y in the result; the top leans right if slant > 0.
            line = line.transform(
                (line.width + plan.lean, line.height),
                Image.Transform.AFFINE,
                (1, plan.slant, -plan.slant_offset, 0, 1, 0),
                Image.Resampling.BILINEAR,
            )
        slack = self.height - 2 * _EDGE - line.height
        bend, needed = self._bend(plan, line.height, slack, rng)
        free = slack - needed
        top = _EDGE + needed / 2 + free * rng.random()
        canvas = Image.new("L", (plan.width, self.height))
        row = round(top)
        canvas.paste(line, (plan.left, row))
        ink = np.asarray(canvas, dtype=np.float32) / 255
        if bend is None:
            return ink, _Place(row, None)
        # A bent line may have no room for what rounding moved it by.
        bend = Bend(bend.shift + np.float32(top - row), bend.shrink, row + line.height / 2)
        return bend.picture(ink), _Place(row, bend)

    def _bend(
        self, plan: "_Plan", height: int, slack: int, rng: random.Random
    ) -> tuple[Bend | None, float]:
        """Choose how the line is bent, and return it with the height that it needs for that."""
        turns = rng.random() < self.rotation_probability
        turn = rng.uniform(-self.rotation_degrees, self.rotation_degrees) if turns else 0.0
        waves = rng.random() < self.wave_probability
        amplitude = rng.uniform(0, self.wave_height) * height if waves else 0.0
        period = self.height * rng.uniform(2, 12)
        phase = rng.uniform(0, 2 * math.pi)
        tapers = rng.random() < self.taper_probability
        taper = rng.uniform(-self.taper, self.taper) if tapers else 0.0
        slope = math.tan(math.radians(turn))
        needed = abs(slope) * plan.width + 2 * amplitude
        if not needed and not taper:
            return None, 0.0
        # If there is no room for it, there is less of it; nothing is cut off.
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
        return Bend(share * shift, shrink, 0), share * needed

    def _compose(
        self, plan: "_Plan", ink: np.ndarray, rng: random.Random, noise: np.random.Generator
    ) -> np.ndarray:
        """Return the text on its background: float32 (H, W), 0 to 255."""
        outlined = rng.random() < self.outline_probability
        contrast = rng.uniform(self.min_contrast, 255)
        dark = rng.uniform(0, 255 - contrast)
        light = dark + contrast
        text, ground = (
            (light, dark) if rng.random() < self.light_on_dark_probability else (dark, light)
        )
        names = sorted(self.backgrounds)
        (name,) = rng.choices(names, [self.backgrounds[n] for n in names])
        plate = Plate(plan.left, plan.width - plan.right)
        picture = background(name, ink.shape, ground, text, outlined, plate, rng, noise)
        if outlined:
            wide = np.maximum.reduce([shifted(ink, dx, dy) for dx, dy in _AROUND])
            rim = text + rng.uniform(0.6, 1) * (ground - text)
            picture += wide * (rim - picture)
        elif rng.random() < self.shadow_probability:
            dx, dy = rng.randint(-3, 3), rng.randint(1, 3)
            # A shade near the text's own would thicken the strokes.
            shade = max((ground + text) / 2, ground - 90) if ground > text else max(0, ground - 40)
            picture += rng.uniform(0.3, 0.9) * shifted(ink, dx, dy) * (shade - picture)
        color: Any = text
        if rng.random() < self.gradient_probability:
            towards = text + rng.uniform(0, 0.45) * (ground - text)
            ramp = np.linspace(text, towards, ink.shape[0], dtype=np.float32)[:, None]
            color = ramp if rng.random() < 0.5 else ramp[::-1]
        picture += ink * (color - picture)
        return picture

    def _degrade(
        self, picture: np.ndarray, plan: "_Plan", rng: random.Random, noise: np.random.Generator
    ) -> Image.Image:
        """Return what cameras, encoders and screens make of it: an ``L`` image."""
        size = plan.size
        if rng.random() < self.noise_probability:
            sigma = rng.uniform(*self.noise)
            picture = picture + noise.standard_normal(picture.shape, dtype=np.float32) * sigma
        image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        strongly = rng.random() < self.strong_blur_probability
        if strongly or rng.random() < self.blur_probability:
            radius = size * rng.uniform(*(self.strong_blur if strongly else self.blur))
            image = image.filter(ImageFilter.GaussianBlur(radius))
        if rng.random() < self.rescale_probability:
            factor = max(rng.uniform(*self.rescale), min(1.0, _MIN_EM / size))
            small = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
            method = rng.choice(
                [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST]
            )
            image = image.resize(small, Image.Resampling.BILINEAR).resize(
                (image.width, image.height), method
            )
        if rng.random() < self.jpeg_probability:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=round(rng.uniform(*self.jpeg_quality)))
            image = open_raster(file.getvalue())
            image.load()
        return image

    def _colorize(self, image: Image.Image, rng: random.Random) -> Image.Image:
        """Return it in two colors, nearly as far apart in lightness as black and white."""
        dark = tuple(rng.randrange(0, 90) for _ in range(3))
        light = tuple(rng.randrange(165, 256) for _ in range(3))
        return ImageOps.colorize(image, dark, light)


@dataclass(frozen=True)
class _Plan:
    """The letters and the room beside them, in pixels.

    Attributes:
        line, stroke: the letters as they are rendered.
        size: pixels per em in the picture.
        letters: the width and height that the line is given.
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
        """The width of the picture."""
        return self.left + self.letters[0] + self.lean + self.right

    @property
    def slant_offset(self) -> float:
        """The pixels by which the slant moves the top of the line to the right."""
        return max(0.0, self.slant) * self.letters[1]


@dataclass(frozen=True)
class _Place:
    """The place of the line in the picture.

    Attributes:
        row: the first row of the line, before it is bent.
        bend: how it is bent.
    """

    row: int
    bend: Bend | None

    def outlines(self, plan: _Plan) -> Outlines:
        """Return where the letters are in the picture: the same steps as for the ink."""
        letters = plan.line.outlines(plan.stroke, upright=not (plan.lean or self.bend))
        scale = plan.letters[0] / plan.line.width, plan.letters[1] / plan.line.height
        letters = letters.affine(scale[0], 0, 0, scale[1])
        if plan.lean:
            letters = letters.affine(1, -plan.slant, 0, 1).moved(plan.slant_offset, 0)
        letters = letters.moved(plan.left, self.row)
        return self.bend.outlines(letters) if self.bend else letters
