"""Settings that are drawn anew for each image from a range."""

import math
from collections.abc import Sequence

from PIL import ImageColor

from hanline.errors import HanlineError

Range = Sequence[float]
"""The least and the most; both alike for a fixed value."""


def check_range(name: str, value: Range, least: float, most: float = math.inf) -> None:
    """Refuse what is no range within bounds.

    Raises:
        HanlineError: the message has the setting's name under ``synthesis.renderer``.
    """
    if (
        not isinstance(value, Sequence)
        or len(value) != 2
        or not least <= value[0] <= value[1] <= most
    ):
        raise HanlineError(
            f"synthesis.renderer.{name} is {value}: it takes [least, most], "
            f"two numbers {_bounds(least, most)}"
        )


def check_number(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse a number out of bounds.

    Raises:
        HanlineError: the message has the setting's name under ``synthesis.renderer``.
    """
    if not least <= value <= most:
        raise HanlineError(
            f"synthesis.renderer.{name} is {value}: it takes a number {_bounds(least, most)}"
        )


def check_colors(name: str, value: Sequence[str]) -> None:
    """Refuse what is no pair of colours.

    Raises:
        HanlineError: the message has the setting's name under ``synthesis.renderer``.
    """
    try:
        opaque = [len(ImageColor.getrgb(color)) == 3 for color in value]
    except (ValueError, AttributeError):
        opaque = []
    if opaque != [True, True]:
        raise HanlineError(
            f"synthesis.renderer.{name} is {value!r}: it takes [from, to], two colours such as "
            "'#EEEEEE' or 'black'"
        )


def _bounds(least: float, most: float) -> str:
    return f"of at least {least}" if most == math.inf else f"from {least} to {most}"
