"""PyPI ``trdg`` 1.8.0, with other parts in place of those that are broken."""

import importlib.util
import math
import random
import re
from collections.abc import Callable
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

PHOTOGRAPH = 3
"""trdg's number for a background that is a photograph."""


def color_range(color: str) -> tuple[str, str]:
    """Return the two ends of ``"#000000,#282828"``; one color is both."""
    first, _, last = color.partition(",")
    return first.strip(), last.strip() or first.strip()


@cache
def trdg_engine() -> "TrdgEngine":
    """Return the engine of this process.

    Raises:
        HanlineError: trdg is not installed.
    """
    try:
        return TrdgEngine()
    except ImportError as error:
        raise HanlineError(
            f"renderer=trdg: expected trdg and its dependencies to be installed ({error}). "
            'Run pip install ".[trdg]", then pip install --no-deps trdg==1.8.0'
        ) from error


class TrdgEngine:
    """Copies of trdg's modules with some functions replaced.

    They are copies so that other code of this process that uses trdg is not affected. They take
    their random numbers from a generator that is passed in, not from the module ``random``.
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
        """Return what trdg's ``FakeTextDataGenerator.generate`` returns for its options."""
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
        """Return the text on a transparent background, and its mask.

        trdg's own function reads the font file for every image. It cannot choose a face of a
        collection. It calls a method that Pillow has removed. It cuts off outlines, and letters
        that are wider than their advance.
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
        first, last = map(ImageColor.getrgb, color_range(color))
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
        """Distort one axis after the other: if trdg does both at once, it cuts off the bottom."""
        if vertical:
            image, mask = self._distort_one_axis(image, mask, True, False, max_offset, function)
        if horizontal:
            image, mask = self._distort_one_axis(image, mask, False, True, max_offset, function)
        return image, mask

    def _noise(self, height: int, width: int) -> Image.Image:
        """Return noise like paper's.

        trdg's own function uses a random generator of OpenCV whose state cannot be restored.
        """
        numbers = np.random.default_rng(self._rng.getrandbits(64))
        noise = numbers.normal(235, 10, (height, width)).clip(0, 255)
        return Image.fromarray(noise.astype(np.uint8)).convert("RGBA")

    def _photograph(self, height: int, width: int, image_dir: Path) -> Image.Image:
        """Return a piece of a photograph.

        trdg's own function depends on the order in which the system lists the folder. It fails if
        there is another kind of file, and it reads a file for every image.
        """
        photograph = _photograph(self._rng.choice(photographs(image_dir)))
        scale = max(1.0, width / photograph.width, height / photograph.height)
        if scale > 1:
            wide = math.ceil(photograph.width * scale)
            high = math.ceil(photograph.height * scale)
            photograph = photograph.resize((wide, high), Image.Resampling.LANCZOS)
        x = self._rng.randint(0, photograph.width - width)
        y = self._rng.randint(0, photograph.height - height)
        return photograph.crop((x, y, x + width, y + height))

    def _statistics(self, image: Image.Image, mask: Image.Image | None = None) -> SimpleNamespace:
        """Return the lightness by which trdg checks that text and background differ.

        trdg compares the sum of two channels of the text, transparent pixels included, with that of
        all channels of the background. So white on white passes. With all of the lightness in the
        first channel, the comparison is right.
        """
        grey = np.asarray(image.convert("L"))
        opacity = np.asarray(image.convert("RGBA").getchannel("A"))
        return SimpleNamespace(mean=[3 * np.average(grey, weights=opacity), 0])


def _own_copy(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    module = importlib.util.module_from_spec(spec)
    # It prints a few lines for each image that it discards.
    vars(module)["print"] = lambda *values: None
    spec.loader.exec_module(module)
    return module


@cache
def photographs(folder: Path) -> list[Path]:
    """Return the photographs of a folder, by name.

    Raises:
        HanlineError: there are none.
    """
    suffixes = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
    found = []
    if folder.is_dir():
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not found:
        raise HanlineError(
            f"renderer.image_dir={folder}: expected a folder with photographs. Name another, or "
            f"leave {PHOTOGRAPH} (photographs) out of renderer.background_type"
        )
    return found


# A camera's photograph takes about 40 MB.
@lru_cache(maxsize=16)
def _photograph(path: Path) -> Image.Image:
    try:
        with open_raster(path.read_bytes()) as photograph:
            return photograph.convert("RGB")
    except OSError as error:
        raise HanlineError(
            f"renderer.image_dir: expected {path} to be a photograph ({error}). Remove it"
        ) from error
