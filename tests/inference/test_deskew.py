"""Lines turned level."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hanline.inference.deskew import straightened
from hanline.synthesis.fonts import Font, bundled_files

TEXT = "빗길 교통사고 잇따라…3명 부상"


@pytest.fixture(scope="module")
def line():
    """A black line on white, 34 pixels high, with hardly any room around it."""
    font = Font(Path(bundled_files()[0])).load(34)
    mask = font.getmask(TEXT)
    image = Image.new("L", (mask.size[0] + 12, mask.size[1] + 4), 255)
    ink = Image.frombytes("L", mask.size, bytes(mask))
    image.paste(0, (6, 2), ink)
    return image


def test_a_level_line_that_fills_its_image_is_left_alone(line):
    assert straightened(line) is None
    assert straightened(line.convert("RGB")) is None


@pytest.mark.parametrize("angle", [-9, -4, -1.5, 2, 6, 11])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_turned_line_comes_back(line, angle, mode):
    ground = "white" if mode == "RGB" else 255
    turned = line.convert(mode).rotate(angle, Image.Resampling.BICUBIC, True, fillcolor=ground)
    level = straightened(turned)
    assert level is not None
    assert level.mode == mode
    # Nearly as long for its height as it was, so it is neither cut off nor in a wide margin.
    share = (level.width / level.height) / (line.width / line.height)
    assert 0.7 < share < 1.1
    # Level: to deskew it again cuts off some room at most.
    again = straightened(level)
    assert again is None or again.width / again.height == pytest.approx(
        line.width / line.height, rel=0.15
    )


def test_no_ink_is_lost(line):
    turned = line.rotate(5, Image.Resampling.BICUBIC, True, fillcolor=255)
    level = straightened(turned)
    zoom = level.height / (line.height * math.cos(math.radians(5)))
    ink = (255.0 - np.asarray(level)).sum() / zoom**2
    assert ink == pytest.approx((255.0 - np.asarray(line)).sum(), rel=0.15)


def test_light_on_dark_is_turned_alike(line):
    turned = line.rotate(4, Image.Resampling.BICUBIC, True, fillcolor=255)
    inverse = Image.eval(turned, lambda value: 255 - value)
    assert straightened(inverse).size == straightened(turned).size


def test_a_small_line_in_a_high_image_is_cut_out(line):
    high = Image.new("L", (line.width, 3 * line.height), 255)
    high.paste(line, (0, line.height))
    cut = straightened(high)
    assert cut.width / cut.height == pytest.approx(line.width / line.height, rel=0.25)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (500, 3), (64, 64), (9000, 40)])
def test_nothing_to_straighten(size):
    assert straightened(Image.new("L", size, 128)) is None
    noise = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    straightened(Image.fromarray(noise))
