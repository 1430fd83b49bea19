"""Many drawn texts on one page, to see what a look draws."""

from collections.abc import Sequence

from PIL import Image

from hanline.raster import open_raster
from hanline.synthesis.dataset_renderer import Sample

# Pixels between two samples, and the ground that no sample has.
_GAP, _GROUND = 6, "#8A2BE2"


def contact_sheet(samples: Sequence[Sample], width: int = 1600) -> Image.Image:
    """Samples beside and below each other, in their own size; what is wider than the page is cut.

    Args:
        samples: what is shown, in this order.
        width: of the page, in pixels.

    Returns:
        An ``RGB`` image.
    """
    rows: list[list[Image.Image]] = [[]]
    used = _GAP
    for sample in samples:
        image = open_raster(sample.image).convert("RGB")
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
