"""Checks of a renderer's settings."""

import math
from collections.abc import Mapping, Sequence

from PIL import ImageColor

from hanline.errors import HanlineError

Range = Sequence[float]
"""[least, most]: a value between the two is chosen for each image."""


def check_range(name: str, value: Range, least: float, most: float = math.inf) -> None:
    """Refuse a value that is not a range within bounds.

    Raises:
        HanlineError: it names the key ``renderer.<name>``.
    """
    if (
        not isinstance(value, Sequence)
        or len(value) != 2
        or not least <= value[0] <= value[1] <= most
    ):
        raise HanlineError(
            f"renderer.{name}={value}: expected [least, most], two numbers "
            f"{_bounds(least, most)}, the smaller one first"
        )


def check_number(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse a number out of bounds.

    Raises:
        HanlineError: it names the key ``renderer.<name>``.
    """
    if not least <= value <= most:
        raise HanlineError(f"renderer.{name}={value}: expected a number {_bounds(least, most)}")


def check_colors(name: str, value: Sequence[str]) -> None:
    """Refuse a value that is not a pair of colors.

    Raises:
        HanlineError: it names the key ``renderer.<name>``.
    """
    try:
        opaque = [len(ImageColor.getrgb(color)) == 3 for color in value]
    except (ValueError, AttributeError):
        opaque = []
    if opaque != [True, True]:
        raise HanlineError(
            f"renderer.{name}={value!r}: expected [from, to], two opaque colors. "
            "Write them as '#EEEEEE' or 'black'"
        )


def check_weights(name: str, value: Mapping[str, float], known: Sequence[str]) -> None:
    """Refuse weights of unknown things, and weights that choose nothing.

    Raises:
        HanlineError: it names the key ``renderer.<name>``.
    """
    weights = value.values()
    if value.keys() - set(known) or not any(weights) or min(weights) < 0:
        raise HanlineError(
            f"renderer.{name}={dict(value)}: expected numbers from 0, one of them above 0, for "
            f"some of {', '.join(known)}"
        )


def _bounds(least: float, most: float) -> str:
    return f"from {least}" if most == math.inf else f"from {least} to {most}"
