"""The contract of a renderer: what a new look must implement, and what it gets for it.

A renderer is a dataclass of plain values in one file, with one yaml in ``conf/renderer``::

    @dataclass(frozen=True)
    class PlainRenderer(Renderer):
        version: ClassVar[int] = 1
        height: int

        def draw(self, text: str, font: Font, seed: int) -> Rendering:
            line = lay_out(text, font, self.height // 2, 0, 1, 0, self.height // 2)
            image = Image.new("L", (line.width, self.height), 255)
            image.paste(0, (0, 4), line.mask(0))
            return Rendering(image, lambda: line.outlines(0).moved(0, 4).boxes(len(text)))
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
from PIL import Image

from hanline.synthesis.fonts import Font

Locate = Callable[[], np.ndarray | None]
"""Computes the boxes of a rendering, or returns None if they are unknown."""


class Rendering:
    """One line of text, rendered.

    Args:
        image: the picture, grey (``L``) or color (``RGB``).
        locate: computes :attr:`boxes`. It is called at most once, and only if somebody asks.

    Attributes:
        image: the picture.
    """

    def __init__(self, image: Image.Image, locate: Locate) -> None:
        self.image = image
        self._locate = locate

    @cached_property
    def boxes(self) -> np.ndarray | None:
        """The boxes of the ink of each character.

        float32 (len(text), 4): left, top, right and bottom in pixels of :attr:`image`, from its
        left upper corner. A character without ink, as a space, has a row of NaN. None if the
        renderer cannot know.
        """
        return self._locate()

    @property
    def positions(self) -> np.ndarray | None:
        """The horizontal part of :attr:`boxes`, as :func:`positions` returns it."""
        return None if self.boxes is None else positions(self.boxes, self.image.width)


class Renderer(ABC):
    """Renders texts in one style.

    A subclass implements :meth:`draw` and sets :attr:`version`. Its attributes are plain values:
    they are part of the identity of a rendered dataset, and they are pickled to the workers.

    Attributes:
        version: raise it when the same text, font, seed and settings give another picture. Then a
            rendered dataset of the former version is not used any more.
    """

    version: ClassVar[int]

    @abstractmethod
    def draw(self, text: str, font: Font, seed: int) -> Rendering:
        """Render one line of text.

        Args:
            text: one line that ``font`` can draw.
            font: the font.
            seed: decides everything else. The picture depends on these three only. Random state
                outside is neither used nor changed.

        Returns:
            A picture that holds the whole text, and where its characters are.
        """

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """Render one line of text; return the picture only."""
        return self.draw(text, font, seed).image

    def boxes(self, text: str, font: Font, seed: int) -> np.ndarray | None:
        """Return the boxes of :attr:`Rendering.boxes`."""
        return self.draw(text, font, seed).boxes

    def aspect(self, text: str, font: Font, seed: int) -> float:
        """Return width / height of the picture.

        The default renders it. Override it if the width is known before: with ``data=online`` and
        ``image.width=null`` every line is measured first.
        """
        image = self.render(text, font, seed)
        return image.width / image.height


def positions(boxes: np.ndarray, width: int) -> np.ndarray:
    """Return where each character begins and ends, as shares of the picture's width.

    This is what a dataset keeps of the boxes: it holds at every size of the picture.

    Args:
        boxes: float32 (N, 4), as :attr:`Rendering.boxes`.
        width: of the picture, in pixels.

    Returns:
        float32 (N, 2): left and right, 0 to 1; NaN for a character without ink.
    """
    return (boxes[:, [0, 2]] / width).clip(0, 1).astype(np.float32)


def identity(value: object) -> object:
    """Return a setting in JSON's types; a renderer as its class, version and settings."""
    if isinstance(value, Renderer):
        settings = {name: identity(item) for name, item in vars(value).items()}
        return {"class": type(value).__name__, "version": value.version} | settings
    if isinstance(value, Mapping):
        return {str(key): identity(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(item) for item in value]
    return value
