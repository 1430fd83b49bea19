import io

import numpy as np
import pytest
from PIL import Image

from hanline.synthesis.contact_sheet import contact_sheet
from hanline.synthesis.dataset_renderer import RenderedSample

GROUND = (0x8A, 0x2B, 0xE2)


def noise(width, height, mode, seed):
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def sample(image, file_format="PNG", boxes=None):
    file = io.BytesIO()
    image.save(file, file_format)
    return RenderedSample(file.getvalue(), "가", image.width, boxes)


def places(sheet, images):
    """Where the left upper corner of each image is on the sheet, as (row, column)."""
    page = np.asarray(sheet)
    found = []
    for image in images:
        pixels = np.asarray(image.convert("RGB"))
        height, width = pixels.shape[:2]
        windows = np.lib.stride_tricks.sliding_window_view(page[:, :, 0], (1, width))
        rows, columns = np.nonzero((windows[:, :, 0] == pixels[0, :, 0]).all(axis=2))
        (place,) = [
            (row, column)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if np.array_equal(page[row : row + height, column : column + width], pixels)
        ]
        found.append(place)
    return found


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_sample_is_on_the_page_unchanged_and_in_order(mode):
    sizes = [(100, 20), (285, 31), (60, 44), (30, 8), (200, 12), (299, 20), (5, 1), (300, 9)]
    images = [noise(*size, mode, seed) for seed, size in enumerate(sizes)]
    sheet = contact_sheet([sample(image) for image in images], width=400)
    assert (sheet.mode, sheet.width) == ("RGB", 400)
    found = places(sheet, images)
    assert found == sorted(found)
    # Nothing is drawn over anything, and the rest is ground.
    ground = (np.asarray(sheet) == GROUND).all(axis=2)
    assert (~ground).sum() == sum(width * height for width, height in sizes)
    for (row, column), (width, height) in zip(found, sizes, strict=True):
        around = ground[row - 1 : row + height + 1, column - 1 : column + width + 1]
        assert around.sum() == 2 * (width + height) + 4
    # What does not fit beside what came before begins a row.
    assert [column for _, column in found] == [6, 6, 297, 363, 6, 6, 311, 6]
    assert sheet.height == found[-1][0] + 9 + 6


def test_what_is_wider_than_the_page_is_cut():
    wide, narrow = noise(500, 10, "L", 0), noise(20, 10, "L", 1)
    sheet = contact_sheet([sample(wide), sample(narrow), sample(wide)], width=100)
    left = wide.crop((0, 0, 94, 10))
    assert np.array_equal(np.asarray(sheet)[6:16, 6:], np.asarray(left.convert("RGB")))
    assert places(sheet, [narrow]) == [(22, 6)]
    assert sheet.size == (100, 3 * 10 + 4 * 6)


def test_any_image_file_does():
    image = Image.new("L", (40, 16), 200)
    sheet = contact_sheet([sample(image, "JPEG")], width=60)
    assert sheet.getpixel((20, 12)) == (200, 200, 200)


def test_a_page_of_nothing():
    sheet = contact_sheet([])
    assert sheet.width == 1600
    assert sheet.getcolors() == [(sheet.width * sheet.height, GROUND)]


class TestBoxes:
    BOXES = np.array([[2, 3, 10, 12], [np.nan] * 4, [20, 1, 33.4, 15.6]], dtype=np.float32)

    def pixels(self, **options):
        one = sample(Image.new("L", (40, 16), 200), boxes=self.BOXES)
        unknown = sample(Image.new("L", (40, 16), 100))
        return np.asarray(contact_sheet([one, unknown], width=200, **options))[6:22, 6:92]

    def test_are_marked_around_each_character(self):
        page = self.pixels(boxes=True)
        marked = (page[:, :40] != 200).any(axis=2)
        expected = np.zeros((16, 40), dtype=bool)
        for left, top, right, bottom in ((2, 3, 10, 12), (20, 1, 33, 16)):
            expected[top:bottom, left:right] = True
            expected[top + 1 : bottom - 1, left + 1 : right - 1] = False
        assert np.array_equal(marked, expected)
        # Neighbors have different colors.
        assert tuple(page[3, 2]) != tuple(page[1, 20])

    def test_are_not_marked_if_they_are_unknown_or_not_asked_for(self):
        assert (self.pixels(boxes=True)[:, 46:] == 100).all()
        assert (self.pixels()[:, :40] == 200).all()
