"""Many rendered texts on one page, to see what a renderer gives."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from hanline.raster import open_raster
from hanline.synthesis.dataset_renderer import RenderedSample

_GAP = 6
"""Pixels between two samples."""
_GROUND = "#8A2BE2"
"""The color between samples; no sample has it."""
_MARKS = ("#FF0000", "#00A0FF")
"""The colors of boxes, in turn: neighbors that overlap are seen."""


def contact_sheet(
    samples: Sequence[RenderedSample], width: int = 1600, boxes: bool = False
) -> Image.Image:
    """Return samples beside and below each other, in their own size, in order.

    A sample that is wider than the page is cut.

    Args:
        width: of the page, in pixels.
        boxes: mark where each character is.

    Returns:
        An ``RGB`` image.
    """
    rows: list[list[Image.Image]] = [[]]
    used = _GAP
    for sample in samples:
        image = open_raster(sample.image).convert("RGB")
        if boxes and sample.boxes is not None:
            _mark(image, sample.boxes)
        if rows[-1] and used + image.width + _GAP > width:
            rows.append([])
            used = _GAP
        rows[-1].append(image)
        used += image.width + _GAP
    heights = [max((image.height for image in row), default=0) for row in rows]
    sheet = Image.new("RGB", (width, sum(heights) + _GAP * (len(rows) + 1)), _GROUND)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + _GAP
        top += height + _GAP
    return sheet


def _mark(image: Image.Image, boxes: np.ndarray) -> None:
    draw = ImageDraw.Draw(image)
    for number, (left, top, right, bottom) in enumerate(boxes[~np.isnan(boxes[:, 0])].tolist()):
        # The last pixel of the ink, which the box ends behind.
        corners = (
            round(left),
            round(top),
            max(left, round(right) - 1),
            max(top, round(bottom) - 1),
        )
        draw.rectangle(corners, outline=_MARKS[number % len(_MARKS)])
