"""A recogniser whose images are as wide as their text."""

import numpy as np
import pytest
from PIL import Image

from hanline.data.images import ImageFormat, to_pixels
from hanline.inference.reader import Reader

LINES = ImageFormat(height=32, width=None, channels=1, keep_ratio=True)


@pytest.fixture
def reader(make_recognizer):
    recognizer = make_recognizer(
        sequence_modeling="bilstm", charset="가나다라마", image=(32, None, 1)
    )
    return Reader(recognizer, "cpu", batch_size=4, precision="32-true")


@pytest.fixture
def calls(reader, monkeypatch):
    """The shapes of the batches that are read together, as they are."""
    calls = []
    read_all = reader.recognizer.read_all

    def watched(batches):
        calls.append([tuple(images.shape) for images in batches])
        return read_all(batches)

    monkeypatch.setattr(reader.recognizer, "read_all", watched)
    return calls


def noise(width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (32, width), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_reading_does_not_depend_on_what_shares_its_batch(reader):
    lines = [
        noise(width, seed) for seed, width in enumerate([40, 64, 66, 300, 305, 310, 900, 2500])
    ]
    together = reader.read(lines)
    assert len({reading.text for reading in together}) > 1
    for alone, reading in zip(map(reader.read, lines), together, strict=True):
        assert alone.text == reading.text
        assert alone.confidence == pytest.approx(reading.confidence, rel=1e-4)
    for turned, reading in zip(reader.read(lines[::-1])[::-1], together, strict=True):
        assert turned.text == reading.text


def test_lines_of_like_width_share_a_batch(reader, calls):
    reader.read([noise(width, 0) for width in (318, 319, 320, 321, 322, 900, 64)])
    shapes = [shape for call in calls for shape in call]
    assert sorted(count for count, _, _, _ in shapes) == [1, 1, 1, 4]
    assert len({width for _, _, _, width in shapes}) == 3
    # Twice as wide, half as many: the memory stays even.
    assert all(
        count * width <= 4 * LINES.nominal_width for count, _, _, width in shapes if count > 1
    )


def test_endless_lines_are_taken_as_they_are_needed(reader):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield noise(100 + taken % 50, 0)

    readings = reader.readings(endless())
    next(readings)
    assert taken == 16 * 4
    readings.close()


def test_lines_of_unlike_widths_are_read_apart(reader, calls):
    reader.read([noise(width, 0) for width in (100, 900, 110, 320, 118)])
    widths = [[width for _, _, _, width in call] for call in calls]
    assert [len(call) for call in widths] == [3, 1, 1]
    assert widths == [sorted(call) for call in widths]


@pytest.mark.parametrize("height", [20, 32, 120])
@pytest.mark.parametrize("ratio", [2, 3.3, 12.1, 40, 63])
def test_a_line_is_hardly_stretched(height, ratio):
    image = Image.new("L", (round(height * ratio), height))
    pixels = to_pixels(image, LINES)
    assert pixels.shape[0] == 32
    assert pixels.shape[1] % 4 == 0
    assert pixels.shape[1] / 32 == pytest.approx(image.width / image.height, rel=0.05)


def test_what_is_short_is_extended_and_what_is_endless_squeezed():
    short = Image.new("L", (10, 32), 200)
    short.paste(90, (9, 0, 10, 32))
    pixels = to_pixels(short, LINES)[:, :, 0]
    assert pixels.shape == (32, 64)
    assert (pixels[:, 10:] == 90).all()
    assert to_pixels(Image.new("L", (32 * 500, 32)), LINES).shape[1] == pytest.approx(64 * 32, 0.03)


def test_there_are_few_widths():
    widths = {LINES.bucket_width(aspect / 100) for aspect in range(10, 8000)}
    assert len(widths) < 80
    assert min(widths) == 64
