"""Words drawn at 32 px on one core, as PNG files: Hanline's broadcast look, and trdg itself.

    python benchmarks/drawing.py [--words N]

trdg draws with its own settings in the same font. Pillow no longer has a method that it calls,
which is put back for it.
"""

import argparse
import io
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from measuring import Row, command, in_turns, one_core
from PIL import ImageFont
from word_images import HEIGHT, drawn_with, words

from hanline.synthesis.fonts import Font, FontSet


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--words", type=int, default=2000)


def rows(given: argparse.Namespace) -> Iterable[Row]:
    texts = words(given.words)
    font = next(font for font in drawn_with().fonts if all(map(font.can_draw, texts)))
    looks = ("broadcast", "trdg")
    with one_core():
        *ours, theirs = in_turns(
            *(lambda look=look: hanline_drawing(look, font, texts) for look in looks),
            lambda: trdg_drawing(font, texts),
        )
    for look, rate in zip(looks, ours, strict=True):
        goal = 4.0 if look == "broadcast" else None
        yield Row(f"draw words, {look}", "words/s", rate, theirs, "trdg", goal=goal)


def hanline_drawing(look: str, font: Font, texts: list[str]) -> float:
    """Words a second."""
    synthesis = replace(drawn_with(look), fonts=FontSet([font]))
    start = time.perf_counter()
    count = sum(len(some) for some in synthesis.draw(texts, processes=1))
    return count / (time.perf_counter() - start)


def trdg_drawing(font: Font, texts: list[str]) -> float:
    """Words a second of trdg's generator."""
    if not hasattr(ImageFont.FreeTypeFont, "getsize"):
        ImageFont.FreeTypeFont.getsize = _getsize  # type: ignore[attr-defined]
    from trdg.generators import GeneratorFromStrings

    random.seed(0)
    generator = GeneratorFromStrings(
        texts, count=len(texts), fonts=[str(font.path)], language="ko", size=HEIGHT
    )
    start = time.perf_counter()
    for image, _ in generator:
        image.save(io.BytesIO(), "PNG", compress_level=1)
    return len(texts) / (time.perf_counter() - start)


def _getsize(self: Any, text: str) -> tuple[float, float]:
    return self.getbbox(text)[2:]


if __name__ == "__main__":
    command(__doc__, arguments, rows)
