"""What every look is made of."""

from typing import Protocol, runtime_checkable

from PIL import Image

from hanline.synthesis.fonts import Font


class Renderer(Protocol):
    """Draws a text.

    It is a dataclass of plain values, or an object whose attributes are plain values: they name
    its look in the record of a data set, and it is pickled to the workers.
    """

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """Draw one line of text.

        Args:
            text: what ``font`` can draw; one line.
            font: the font.
            seed: decides everything else. The image depends on nothing but these three, and no
                random state outside is used or changed.

        Returns:
            A grey (``L``) or colour (``RGB``) image that holds the whole text.
        """
        ...


@runtime_checkable
class MeasuringRenderer(Renderer, Protocol):
    """A renderer that knows the size of what it will draw."""

    def aspect(self, text: str, font: Font, seed: int) -> float:
        """The width of what :meth:`render` draws, as a multiple of its height, without drawing."""
        ...
