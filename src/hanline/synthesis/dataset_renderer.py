"""A renderer with its fonts and seed: texts to the samples of a dataset, in parallel."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import PIL
from PIL import Image, ImageChops, features

from hanline.errors import HanlineError
from hanline.synthesis import base
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.fonts import Font, FontSet, find_fonts
from hanline.system.parallel import ordered_map

FileFormat = Literal["png", "jpg"]

_CHUNK = 256
"""Samples that pass between processes at a time: enough to make the passing cheap."""


def make_dataset_renderer(
    renderer: Renderer,
    fonts: str | Sequence[str],
    exclude_fonts: str | Sequence[str],
    min_font_coverage: float,
    characters: str,
    image_format: FileFormat,
    jpeg_quality: int,
    seed: int,
    processes: int,
) -> "DatasetRenderer":
    """Build a dataset renderer from its settings; ``conf/synthesis/default.yaml`` explains each.

    Args:
        characters: those of the charset, which decide which fonts are taken.

    Raises:
        HanlineError: a setting is out of bounds, or no font is found.
    """
    without = [exclude_fonts] if isinstance(exclude_fonts, str) else list(exclude_fonts)
    return DatasetRenderer(
        renderer=renderer,
        fonts=find_fonts(fonts, characters, min_font_coverage, without),
        image_format=image_format,
        jpeg_quality=jpeg_quality,
        seed=seed,
        processes=processes,
    )


@dataclass(frozen=True)
class RenderedSample:
    """A rendered text.

    Attributes:
        image: an image file's bytes.
        label: the text.
        width: of the image, in pixels.
        boxes: where the characters are, as :attr:`hanline.synthesis.base.Rendering.boxes`.
    """

    image: bytes
    label: str
    width: int
    boxes: np.ndarray | None = field(compare=False)

    @property
    def positions(self) -> np.ndarray | None:
        """As :func:`hanline.synthesis.base.positions`; None if they are unknown."""
        return None if self.boxes is None else base.positions(self.boxes, self.width)


@dataclass(frozen=True)
class RenderTask:
    """A text with all that decides its picture."""

    text: str
    font: Font
    seed: int


@dataclass(frozen=True)
class DatasetRenderer:
    """A renderer with the fonts and the seed of a dataset.

    Attributes:
        renderer: renders one text.
        fonts: the fonts that it may use.
        image_format: the files of the samples.
        jpeg_quality: 1 to 95; unused for png.
        seed: decides, with a text's number, its font and its picture.
        processes: how many render; 0 for one per CPU. Samples do not depend on it.

    Raises:
        HanlineError: a setting is out of bounds.
    """

    renderer: Renderer
    fonts: FontSet
    image_format: FileFormat
    jpeg_quality: int
    seed: int
    processes: int

    def __post_init__(self) -> None:
        if self.image_format not in ("png", "jpg"):
            raise HanlineError(f"synthesis.image_format={self.image_format!r}: expected png or jpg")
        if not 1 <= self.jpeg_quality <= 95:
            raise HanlineError(
                f"synthesis.jpeg_quality={self.jpeg_quality}: expected a number from 1 to 95"
            )
        if self.processes < 0:
            raise HanlineError(
                f"synthesis.processes={self.processes}: expected a number from 0. Set it to 0 for "
                "one process per CPU"
            )

    def draw(
        self,
        texts: Sequence[str],
        processes: int | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[list[RenderedSample]]:
        """Render texts, in their order.

        Args:
            texts: ``fonts.can_draw`` is true for each of them.
            processes: how many render; None takes :attr:`processes`.
            start, stop: which of the texts are rendered; None is the end of the texts. The samples
                are the same as if all were rendered.

        Yields:
            The samples of ``texts[start:stop]``, a few hundred at a time.

        Raises:
            HanlineError: no font has all characters of a text.
        """
        draw = _Draw(self.renderer, self.image_format, self.jpeg_quality)
        processes = self.processes if processes is None else processes
        stop = len(texts) if stop is None else stop
        return ordered_map(draw, self._chunks(texts, start, stop), processes)

    def task(self, text: str, number: int) -> RenderTask:
        """Return what decides the picture of the ``number``-th text; other texts do not."""
        return RenderTask(text, self._font(text, number), _stable_number("look", self.seed, number))

    def rendering(self, task: RenderTask) -> Rendering:
        """Render a text, without a file format's losses."""
        return self.renderer.draw(task.text, task.font, task.seed)

    def picture(self, task: RenderTask) -> Image.Image:
        """Render a text; return the picture only."""
        return self.renderer.render(task.text, task.font, task.seed)

    def aspect(self, task: RenderTask) -> float:
        """Return width / height of a text's picture."""
        return self.renderer.aspect(task.text, task.font, task.seed)

    def digest_parts(self) -> dict[str, object]:
        """Return what identifies the pictures, in JSON's types: equal parts give equal pictures."""
        return {
            "renderer": base.identity(self.renderer),
            "fonts": [[font.digest() for font in group] for group in self.fonts.groups],
            "image_format": self.image_format,
            "jpeg_quality": self.jpeg_quality,
            "seed": self.seed,
        }

    def _chunks(self, texts: Sequence[str], start: int, stop: int) -> Iterator[list[RenderTask]]:
        for first in range(start, stop, _CHUNK):
            numbers = range(first, min(first + _CHUNK, stop))
            yield [self.task(texts[i], i) for i in numbers]

    def _font(self, text: str, number: int) -> Font:
        font = self.fonts.choose(text, _stable_number("font", self.seed, number))
        if font is None:
            missing = [c for c in dict.fromkeys(text) if not self.fonts.can_draw(c)]
            lack = f"none has {''.join(missing)!r}" if missing else "each lacks one character"
            raise HanlineError(
                f"synthesis.fonts: expected a font with all characters of {text!r}; {lack} "
                f"({', '.join(font.name for font in self.fonts)}). Add a font, or leave out the "
                "text"
            )
        return font


def libraries() -> dict[str, str | None]:
    """Return the versions of the libraries on which the pictures depend."""
    return {
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "freetype": features.version("freetype2"),
    }


@dataclass(frozen=True)
class _Draw:
    """The work of one process; it is pickled with every chunk, so it holds nothing large."""

    renderer: Renderer
    image_format: FileFormat
    jpeg_quality: int

    def __call__(self, tasks: list[RenderTask]) -> list[RenderedSample]:
        return [self._sample(task) for task in tasks]

    def _sample(self, task: RenderTask) -> RenderedSample:
        rendering = self.renderer.draw(task.text, task.font, task.seed)
        image = _reduce_to_grey(rendering.image)
        file = io.BytesIO()
        if self.image_format == "png":
            image.save(file, "PNG", compress_level=1)
        else:
            image.save(file, "JPEG", quality=self.jpeg_quality)
        return RenderedSample(file.getvalue(), task.text, image.width, rendering.boxes)


def _reduce_to_grey(image: Image.Image) -> Image.Image:
    """Return the image in one channel if its three are equal: half the size, half the time."""
    if image.mode != "RGB":
        return image
    red, green, blue = image.split()
    alike = not any(ImageChops.difference(red, band).getbbox() for band in (green, blue))
    return red if alike else image


def _stable_number(what: str, seed: int, number: int) -> int:
    """Return 64 random bits, the same on every machine and in every process."""
    digest = hashlib.blake2b(f"{what} {seed} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
