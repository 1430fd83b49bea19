"""Whole sets of texts drawn: which font draws which, in how many processes, into what bytes."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import PIL
from PIL import Image, ImageChops, features

from hanline.errors import HanlineError
from hanline.synthesis.base import MeasuringRenderer, Renderer
from hanline.synthesis.fonts import Font, FontSet, find_fonts
from hanline.system.parallel import ordered_map

ImageFormat = Literal["png", "jpg"]


def synthesis(
    renderer: Renderer,
    fonts: str | Sequence[str],
    exclude_fonts: str | Sequence[str],
    min_font_coverage: float,
    characters: str,
    image_format: ImageFormat,
    jpeg_quality: int,
    seed: int,
    processes: int,
) -> "Synthesis":
    """Build a look from its settings; conf/synthesis says what each of them means.

    Args:
        characters: what is to be drawn, which decides the fonts that are fit for it.

    Raises:
        HanlineError: a setting is out of bounds, or no font is fit.
    """
    without = [exclude_fonts] if isinstance(exclude_fonts, str) else list(exclude_fonts)
    return Synthesis(
        renderer=renderer,
        fonts=find_fonts(fonts, characters, min_font_coverage, without),
        image_format=image_format,
        jpeg_quality=jpeg_quality,
        seed=seed,
        processes=processes,
    )


@dataclass(frozen=True)
class Sample:
    """A drawn text.

    Attributes:
        image: an image file's bytes.
        label: the text.
    """

    image: bytes
    label: str


@dataclass(frozen=True)
class Synthesis:
    """A look, with the fonts that it is drawn in.

    Attributes:
        renderer: draws one text.
        fonts: what it draws with.
        image_format: of the samples.
        jpeg_quality: 1 to 95; unused for png.
        seed: decides, with a text's place among the texts, its font and its look.
        processes: how many draw, 0 being one for each CPU. No sample depends on it.
    """

    renderer: Renderer
    fonts: FontSet
    image_format: ImageFormat
    jpeg_quality: int
    seed: int
    processes: int

    def __post_init__(self) -> None:
        if self.image_format not in ("png", "jpg"):
            raise HanlineError(
                f"synthesis.image_format is {self.image_format!r}: it takes png or jpg"
            )
        if not 1 <= self.jpeg_quality <= 95:
            raise HanlineError(f"synthesis.jpeg_quality is {self.jpeg_quality}: it takes 1 to 95")
        if self.processes < 0:
            raise HanlineError(
                f"synthesis.processes is {self.processes}: it takes a number of processes, or 0 "
                "for one for each CPU"
            )

    def draw(
        self,
        texts: Sequence[str],
        processes: int | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[list[Sample]]:
        """Draw texts, in their order.

        Args:
            texts: what to draw; ``fonts.can_draw`` holds for each of them.
            processes: how many draw; None takes the look's own number.
            start, stop: which of the texts are drawn, None being their end. They look as if all
                were drawn.

        Yields:
            The samples of ``texts[start:stop]``, a few hundred at a time.

        Raises:
            HanlineError: no font draws one of the texts.
        """
        draw = _Draw(self.renderer, self.image_format, self.jpeg_quality)
        processes = self.processes if processes is None else processes
        stop = len(texts) if stop is None else stop
        return ordered_map(draw, self._chunks(texts, start, stop), processes)

    def task(self, text: str, number: int) -> "Task":
        """What there is to draw for the ``number``-th text: nothing of it depends on the others."""
        return Task(text, self._font(text, number), _stable_number("look", self.seed, number))

    def picture(self, task: "Task") -> Image.Image:
        """Draw a text, as an image that no file format has touched."""
        return self.renderer.render(task.text, task.font, task.seed)

    def aspect(self, task: "Task") -> float:
        """The width of a text's image as a multiple of its height, without drawing it.

        Raises:
            HanlineError: the renderer cannot tell.
        """
        if not isinstance(self.renderer, MeasuringRenderer):
            raise HanlineError(
                f"{type(self.renderer).__name__} cannot tell how wide a line will be before it is "
                "drawn, which data=online needs where image.width is null: take synthesis=headline,"
                " or set image.width"
            )
        return self.renderer.aspect(task.text, task.font, task.seed)

    def digest_parts(self) -> dict[str, object]:
        """What identifies the look, in JSON's types: two alike draw the same texts alike."""
        return {
            "renderer": _described(self.renderer),
            "fonts": [[font.digest() for font in group] for group in self.fonts.groups],
            "image_format": self.image_format,
            "jpeg_quality": self.jpeg_quality,
            "seed": self.seed,
        }

    def _chunks(self, texts: Sequence[str], start: int, stop: int) -> Iterator[list["Task"]]:
        for first in range(start, stop, _CHUNK):
            numbers = range(first, min(first + _CHUNK, stop))
            yield [self.task(texts[i], i) for i in numbers]

    def _font(self, text: str, number: int) -> Font:
        font = self.fonts.choose(text, _stable_number("font", self.seed, number))
        if font is None:
            undrawn = [c for c in dict.fromkeys(text) if not self.fonts.can_draw(c)]
            lack = f"none has {''.join(undrawn)!r}" if undrawn else "each lacks one of its letters"
            raise HanlineError(
                f"no font draws {text!r}: {lack}. Leave the text out, or name a font that has "
                f"all of it in synthesis.fonts (now: {', '.join(font.name for font in self.fonts)})"
            )
        return font


def libraries() -> dict[str, str | None]:
    """The versions of what draws: with others, the pictures may be others."""
    return {
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "freetype": features.version("freetype2"),
    }


# Samples that pass between processes at a time: enough to make the passing cheap.
_CHUNK = 256


@dataclass(frozen=True)
class Task:
    """A text with all that decides its picture."""

    text: str
    font: Font
    seed: int


@dataclass(frozen=True)
class _Draw:
    """What a worker does; pickled anew with every chunk, so it holds nothing large."""

    renderer: Renderer
    image_format: ImageFormat
    jpeg_quality: int

    def __call__(self, tasks: list[Task]) -> list[Sample]:
        return [self._sample(task) for task in tasks]

    def _sample(self, task: Task) -> Sample:
        image = self.renderer.render(task.text, task.font, task.seed)
        file = io.BytesIO()
        if self.image_format == "png":
            _grey_if_it_can_be(image).save(file, "PNG", compress_level=1)
        else:
            _grey_if_it_can_be(image).save(file, "JPEG", quality=self.jpeg_quality)
        return Sample(file.getvalue(), task.text)


def _grey_if_it_can_be(image: Image.Image) -> Image.Image:
    """The image in one channel where its three are alike: half the size and half the time."""
    if image.mode != "RGB":
        return image
    red, green, blue = image.split()
    alike = not any(ImageChops.difference(red, band).getbbox() for band in (green, blue))
    return red if alike else image


def _stable_number(what: str, seed: int, number: int) -> int:
    """64 random bits, the same on every machine and in every process."""
    digest = hashlib.blake2b(f"{what} {seed} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _described(value: object) -> object:
    """A setting in JSON's types; a renderer as its class and its settings."""
    if isinstance(value, Mapping):
        return {str(key): _described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_described(item) for item in value]
    if hasattr(value, "render"):
        settings = {name: _described(item) for name, item in vars(value).items()}
        return {"class": type(value).__name__} | settings
    return value
