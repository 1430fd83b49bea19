"""The look of TextRecognitionDataGenerator (PyPI ``trdg`` 1.8.0): paper, photographs, waves."""

import importlib.util
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from hanline.errors import HanlineError
from hanline.raster import open_raster
from hanline.synthesis.fonts import Font
from hanline.synthesis.text_layout import lay_out
from hanline.synthesis.validation import check_colors, check_number


@dataclass(frozen=True)
class TrdgRenderer:
    """Draws a text with trdg.

    The settings have trdg's names and meanings. Of those that take a list, one item is drawn for
    each image; an item that stands twice is drawn twice as often.

    Attributes:
        size: the height of every image, in pixels.
        margins: the room above, to the left, below and to the right of the text, in pixels.
        fit: whether the text is cropped to its ink first, so that it fills the height.
        width: the least width of an image, in pixels; -1 for as wide as the text. A wider text
            makes a wider image.
        alignment: where the text stands in a wider image: 0 left, 1 middle, 2 right.
        skewing_angle: by how many degrees the text is turned.
        random_skew: whether that is the most it is turned either way.
        blur: the radius of the blur, in pixels.
        random_blur: whether that is the most.
        background_type: list of 0 noise, 1 white, 2 quasicrystal, 3 a photograph.
        image_dir: the folder of the photographs; None takes the four that come with trdg.
        distorsion_type: list of 0 none, 1 sine, 2 cosine, 3 random.
        distorsion_orientation: list of 0 up and down, 1 left and right, 2 both.
        text_color: list of colours, each ``"#282828"`` or from-to, ``"#000000,#282828"``.
        stroke_width: list of thicknesses of an outline, in pixels.
        stroke_fill: list of colours of that outline, as in ``text_color``.
        space_width: how wide a space is, 1 being the font's own.
        character_spacing: list of the pixels between two letters.
        word_split: whether words are drawn whole, with the font's kerning and without
            ``character_spacing``.

    Raises:
        HanlineError: a setting is out of bounds, or trdg is not installed.
    """

    size: int
    margins: Sequence[int]
    fit: bool
    width: int
    alignment: int
    skewing_angle: int
    random_skew: bool
    blur: float
    random_blur: bool
    background_type: Sequence[int]
    image_dir: str | None
    distorsion_type: Sequence[int]
    distorsion_orientation: Sequence[int]
    text_color: Sequence[str]
    stroke_width: Sequence[int]
    stroke_fill: Sequence[str]
    space_width: float
    character_spacing: Sequence[int]
    word_split: bool

    def __post_init__(self) -> None:
        _trdg()
        check_number("size", self.size, 8)
        if len(self.margins) != 4 or min(self.margins) < 0:
            raise HanlineError(
                f"synthesis.renderer.margins is {list(self.margins)}: it takes four numbers of "
                "pixels, [above, left, below, right]"
            )
        if self.size - self.margins[0] - self.margins[2] < 4:
            raise HanlineError(
                f"synthesis.renderer.margins is {list(self.margins)} and size {self.size}: "
                "above and below together must leave at least 4 pixels for the text"
            )
        check_number("alignment", self.alignment, 0, 2)
        check_number("skewing_angle", self.skewing_angle, 0, 90)
        check_number("blur", self.blur, 0)
        check_number("space_width", self.space_width, 0)
        _check_choices("background_type", self.background_type, range(4))
        _check_choices("distorsion_type", self.distorsion_type, range(4))
        _check_choices("distorsion_orientation", self.distorsion_orientation, range(3))
        _check_choices("stroke_width", self.stroke_width, range(self.size))
        _check_choices("character_spacing", self.character_spacing, range(-self.size, self.size))
        for name, colors in (("text_color", self.text_color), ("stroke_fill", self.stroke_fill)):
            if isinstance(colors, str) or not colors:
                raise HanlineError(f"synthesis.renderer.{name} is {colors!r}: it takes a list")
            for color in colors:
                first, last = _color_range(color)
                check_colors(name, [first, last])
        if _PHOTOGRAPH in self.background_type:
            _photographs(self._image_dir)

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """See :class:`hanline.synthesis.base.Renderer`.

        Raises:
            HanlineError: the colours of text and background come out too alike again and again.
        """
        rng = random.Random(seed)
        for _ in range(_ATTEMPTS):
            state = rng.getstate()
            drawn = self._attempt(text, font, rng, width=-1)
            if drawn and drawn.width < self.width:
                rng.setstate(state)
                drawn = self._attempt(text, font, rng, width=self.width)
            if drawn:
                return drawn
        raise HanlineError(
            f"{text!r} could not be told from its background in {_ATTEMPTS} attempts: change "
            f"synthesis.renderer.text_color ({', '.join(self.text_color)}), background_type "
            f"({', '.join(map(str, self.background_type))}) or image_dir ({self._image_dir})"
        )

    def _attempt(self, text: str, font: Font, rng: random.Random, width: int) -> Image.Image | None:
        """The image; None where trdg finds text and background too alike."""
        return _trdg().generate(
            rng,
            index=0,
            text=text,
            font=font,
            out_dir=None,
            size=self.size,
            extension=None,
            skewing_angle=self.skewing_angle,
            random_skew=self.random_skew,
            blur=self.blur,
            random_blur=self.random_blur,
            background_type=rng.choice(self.background_type),
            distorsion_type=rng.choice(self.distorsion_type),
            distorsion_orientation=rng.choice(self.distorsion_orientation),
            is_handwritten=False,
            name_format=0,
            width=width,
            alignment=self.alignment,
            text_color=rng.choice(self.text_color),
            orientation=0,
            space_width=self.space_width,
            character_spacing=rng.choice(self.character_spacing),
            margins=self.margins,
            fit=self.fit,
            output_mask=0,
            word_split=self.word_split,
            image_dir=self._image_dir,
            stroke_width=rng.choice(self.stroke_width),
            stroke_fill=rng.choice(self.stroke_fill),
        )

    @property
    def _image_dir(self) -> Path:
        return _trdg().image_dir if self.image_dir is None else Path(self.image_dir)


_PHOTOGRAPH = 3
_ATTEMPTS = 20


def _check_choices(name: str, choices: Sequence[int], allowed: range) -> None:
    if not isinstance(choices, Sequence) or not choices or not set(choices) <= set(allowed):
        raise HanlineError(
            f"synthesis.renderer.{name} is {choices!r}: it takes a list of whole numbers from "
            f"{allowed[0]} to {allowed[-1]}"
        )


def _color_range(color: str) -> tuple[str, str]:
    first, _, last = color.partition(",")
    return first.strip(), last.strip() or first.strip()


@cache
def _trdg() -> "_Trdg":
    try:
        return _Trdg()
    except ImportError as error:
        raise HanlineError(
            f"the trdg look needs trdg and what it imports ({error}): "
            'pip install ".[trdg]" and pip install --no-deps trdg==1.8.0'
        ) from error


class _Trdg:
    """trdg's modules, with other parts in place of those that are broken.

    They are copies of our own, so that whoever else uses trdg in this process keeps his, and they
    draw their random numbers from a generator that is handed in, not from the module ``random``.
    """

    def __init__(self) -> None:
        self._distorsions = _own_copy("trdg.distorsion_generator")
        self._backgrounds = _own_copy("trdg.background_generator")
        self._generator = _own_copy("trdg.data_generator")
        self._distort_one_axis = self._distorsions._apply_func_distorsion
        self._rng = random.Random()
        self.image_dir = Path(str(self._generator.__file__)).parent / "images"
        vars(self._distorsions).update(_apply_func_distorsion=self._distort)
        vars(self._backgrounds).update(gaussian_noise=self._noise, image=self._photograph)
        vars(self._generator).update(
            computer_text_generator=SimpleNamespace(generate=self._letters),
            distorsion_generator=self._distorsions,
            background_generator=self._backgrounds,
            ImageStat=SimpleNamespace(Stat=self._statistics),
        )

    def generate(self, rng: random.Random, **options: Any) -> Image.Image | None:
        """What trdg's ``FakeTextDataGenerator.generate`` gives for its options."""
        self._rng = rng
        for module in (self._distorsions, self._backgrounds, self._generator):
            vars(module)["rnd"] = rng
        return self._generator.FakeTextDataGenerator.generate(**options)

    def _letters(
        self,
        text: str,
        font: Font,
        text_color: str,
        font_size: int,
        orientation: int,
        space_width: float,
        character_spacing: int,
        fit: bool,
        word_split: bool,
        stroke_width: int,
        stroke_fill: str,
    ) -> tuple[Image.Image, Image.Image]:
        """The text on a transparent ground, and its mask.

        trdg's own reads the font file for every image, cannot choose a face of a collection,
        calls a method that Pillow no longer has, and cuts off outlines and letters that reach out
        of their width.
        """
        line = lay_out(
            re.findall(" |[^ ]+", text) if word_split else text,
            font,
            font_size,
            0 if word_split else character_spacing,
            space_width,
            stroke_width,
            line_top=font.load(font_size).getmetrics()[0],
        )
        letters = line.mask(0)
        image = Image.new("RGB", letters.size, self._color(text_color))
        mask = letters
        if stroke_width:
            outline = Image.new("RGB", letters.size, self._color(stroke_fill))
            image = Image.composite(image, outline, letters)
            mask = line.mask(stroke_width)
        image.putalpha(mask)
        if fit:
            ink = mask.getbbox()
            image, mask = image.crop(ink), mask.crop(ink)
        return image, mask.convert("RGB")

    def _color(self, color: str) -> tuple[int, ...]:
        first, last = map(ImageColor.getrgb, _color_range(color))
        return tuple(self._rng.randint(*sorted(ends)) for ends in zip(first, last, strict=True))

    def _distort(
        self,
        image: Image.Image,
        mask: Image.Image,
        vertical: bool,
        horizontal: bool,
        max_offset: int,
        function: Callable[[int], int],
    ) -> tuple[Image.Image, Image.Image]:
        """One axis after the other: of both at once trdg cuts the bottom off."""
        if vertical:
            image, mask = self._distort_one_axis(image, mask, True, False, max_offset, function)
        if horizontal:
            image, mask = self._distort_one_axis(image, mask, False, True, max_offset, function)
        return image, mask

    def _noise(self, height: int, width: int) -> Image.Image:
        """Paper: trdg's own draws from a generator of OpenCV whose state cannot be put back."""
        numbers = np.random.default_rng(self._rng.getrandbits(64))
        noise = numbers.normal(235, 10, (height, width)).clip(0, 255)
        return Image.fromarray(noise.astype(np.uint8)).convert("RGBA")

    def _photograph(self, height: int, width: int, image_dir: Path) -> Image.Image:
        """A piece of a photograph.

        trdg's own lists the folder in the system's order, stumbles over whatever else lies in it,
        and reads a file for every image.
        """
        photograph = _photograph(self._rng.choice(_photographs(image_dir)))
        scale = max(1.0, width / photograph.width, height / photograph.height)
        if scale > 1:
            wide = math.ceil(photograph.width * scale)
            high = math.ceil(photograph.height * scale)
            photograph = photograph.resize((wide, high), Image.Resampling.LANCZOS)
        x = self._rng.randint(0, photograph.width - width)
        y = self._rng.randint(0, photograph.height - height)
        return photograph.crop((x, y, x + width, y + height))

    def _statistics(self, image: Image.Image, mask: Image.Image | None = None) -> SimpleNamespace:
        """What trdg tells text from background by: how light they are.

        It holds the sum of two of the text's channels, its transparent pixels included, against
        that of all the background's, and lets white on white pass. Handed all of the lightness as
        the first channel it does right.
        """
        grey = np.asarray(image.convert("L"))
        opacity = np.asarray(image.convert("RGBA").getchannel("A"))
        return SimpleNamespace(mean=[3 * np.average(grey, weights=opacity), 0])


def _own_copy(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    module = importlib.util.module_from_spec(spec)
    # It prints a few lines for each image that it gives up.
    vars(module)["print"] = lambda *values: None
    spec.loader.exec_module(module)
    return module


@cache
def _photographs(folder: Path) -> list[Path]:
    suffixes = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
    found = []
    if folder.is_dir():
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not found:
        raise HanlineError(
            f"synthesis.renderer.image_dir is {folder}: there is no photograph in it, and "
            f"background_type has {_PHOTOGRAPH}, which takes its background from one"
        )
    return found


# A photograph from a camera takes some 40 MB.
@lru_cache(maxsize=16)
def _photograph(path: Path) -> Image.Image:
    try:
        with open_raster(path.read_bytes()) as photograph:
            return photograph.convert("RGB")
    except OSError as error:
        raise HanlineError(f"cannot read the photograph {path}: {error}") from error
