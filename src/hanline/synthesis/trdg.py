"""The looks of TextRecognitionDataGenerator (PyPI ``trdg`` 1.8.0): paper, photographs, waves."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from hanline.errors import HanlineError
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.fonts import Font
from hanline.synthesis.trdg_engine import PHOTOGRAPH, color_range, photographs, trdg_engine
from hanline.synthesis.validation import check_colors, check_number

_ATTEMPTS = 20


@dataclass(frozen=True)
class TrdgRenderer(Renderer):
    """Render a text with trdg.

    The attributes are the keys of ``conf/renderer/trdg.yaml``, which explains each. They have
    trdg's names and meanings. Where characters are is unknown.

    Raises:
        HanlineError: a setting is out of bounds, or trdg is not installed.
    """

    version: ClassVar[int] = 1

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
        trdg_engine()
        check_number("size", self.size, 8)
        if len(self.margins) != 4 or min(self.margins) < 0:
            raise HanlineError(
                f"renderer.margins={list(self.margins)}: expected four numbers of pixels from 0, "
                "[above, left, below, right]"
            )
        if self.size - self.margins[0] - self.margins[2] < 4:
            raise HanlineError(
                f"renderer.margins={list(self.margins)}: expected at least 4 pixels between above "
                f"and below. Make them smaller, or raise renderer.size={self.size}"
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
                raise HanlineError(f"renderer.{name}={colors!r}: expected a list of colors")
            for color in colors:
                first, last = color_range(color)
                check_colors(name, [first, last])
        if PHOTOGRAPH in self.background_type:
            photographs(self._image_dir)

    def draw(self, text: str, font: Font, seed: int) -> Rendering:
        """See :class:`hanline.synthesis.base.Renderer`.

        Raises:
            HanlineError: text and background are too alike in every attempt.
        """
        rng = random.Random(seed)
        for _ in range(_ATTEMPTS):
            state = rng.getstate()
            drawn = self._attempt(text, font, rng, width=-1)
            if drawn and drawn.width < self.width:
                rng.setstate(state)
                drawn = self._attempt(text, font, rng, width=self.width)
            if drawn:
                # trdg turns and bends the line itself.
                return Rendering(drawn, lambda: None)
        raise HanlineError(
            f"renderer.text_color={list(self.text_color)}: expected a color that differs from the "
            f"background; {text!r} was as light as it in {_ATTEMPTS} attempts. Change it, or "
            f"renderer.background_type={list(self.background_type)}, or "
            f"renderer.image_dir={self._image_dir}"
        )

    def _attempt(self, text: str, font: Font, rng: random.Random, width: int) -> Image.Image | None:
        """Return the image; None if text and background are too alike for trdg."""
        return trdg_engine().generate(
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
        return trdg_engine().image_dir if self.image_dir is None else Path(self.image_dir)


def _check_choices(name: str, choices: Sequence[int], allowed: range) -> None:
    if not isinstance(choices, Sequence) or not choices or not set(choices) <= set(allowed):
        raise HanlineError(
            f"renderer.{name}={choices!r}: expected a list of whole numbers from {allowed[0]} to "
            f"{allowed[-1]}"
        )
