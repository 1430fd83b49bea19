import random
from dataclasses import replace

import numpy as np
import pytest
from support.renderers import HARD_TEXTS as TEXTS
from support.renderers import PLAIN

from hanline.errors import HanlineError
from hanline.synthesis.broadcast import _Line
from hanline.synthesis.text_layout import lay_out

VARIED = replace(
    PLAIN,
    font_size=[0.3, 1.4],
    full_height_probability=0.3,
    rotation_degrees=12,
    letter_width=[0.6, 1.4],
    spacing=[-0.2, 0.5],
    bold_probability=0.5,
    margin=[0.05, 1],
    shift=1,
    text_color=["#000000", "#404040"],
    background_color=["#CCCCCC", "#FFFFFF"],
    light_on_dark_probability=0.5,
)


def ink(image):
    """How dark each pixel is, 0 for the background."""
    pixels = np.asarray(image, dtype=int)
    return abs(pixels - pixels[0, 0])


def rows(image):
    """The first and the last row with ink."""
    inked = np.flatnonzero(ink(image).any(axis=1))
    return inked[0], inked[-1]


@pytest.mark.parametrize("height", [16, 32, 64, 120])
def test_the_background_goes_all_around(noto, height):
    renderer = replace(VARIED, height=height)
    for seed in range(12):
        for text in TEXTS:
            image = renderer.render(text, noto[seed % 2], seed)
            darkness = ink(image)
            assert image.height == height
            assert darkness.max() > 20
            for border in (darkness[0], darkness[-1], darkness[:, 0], darkness[:, -1]):
                assert not border.any()


@pytest.mark.parametrize("text", ["가나다", "jgpq|", "힣뷁"])
def test_turning_loses_no_ink(sans, text):
    straight = replace(PLAIN, height=120, font_size=[0.4, 0.4])
    expected = ink(straight.render(text, sans, 0)).sum()
    angled = 0
    for seed in range(10):
        image = replace(straight, rotation_degrees=15).render(text, sans, seed)
        assert ink(image).sum() == pytest.approx(expected, rel=0.02)
        angled += rows(image) != rows(straight.render(text, sans, seed))
    assert angled >= 8


def test_long_texts_are_not_turned(sans):
    turning = replace(PLAIN, rotation_degrees=10)
    for text, turned in (("가" * 9, True), ("가" * 10, False)):
        images = {turning.render(text, sans, seed).tobytes() for seed in range(5)}
        assert (len(images) > 1) == turned


def test_a_turned_text_that_would_be_too_high_is_drawn_smaller(sans):
    image = replace(PLAIN, font_size=[0.9, 0.9], rotation_degrees=10).render(
        "가나다라마바사아자", sans, 3
    )
    top, bottom = rows(image)
    assert top >= 2
    assert bottom <= 29


def test_a_turned_line_is_never_higher_than_was_reckoned(sans):
    for size in range(8, 40):
        line = lay_out("가■", sans, size, 0, 1, 0, 0)
        for angle in np.linspace(-15, 15, 23):
            for width in (0.7, 1, 1.01):
                turned = _Line(line, 0, width, angle)
                assert 0 <= turned.max_height() - turned.mask().height < 4


@pytest.mark.parametrize("text", ["가나다", "1440", "jgÅ|", "Ag 가"])
def test_full_height_fills_the_room(noto, text):
    for font in noto:
        top, bottom = rows(
            replace(PLAIN, height=64, full_height_probability=1).render(text, font, 0)
        )
        assert 3 <= top <= 6
        assert 57 <= bottom <= 60


def test_small_characters_stay_small_and_where_they_are(sans):
    renderer = replace(PLAIN, height=64, full_height_probability=1)
    above, below = rows(renderer.render("'", sans, 0)), rows(renderer.render(",", sans, 0))
    assert above[1] < 32 < below[0]
    assert above[1] - above[0] < 30
    assert below[1] - below[0] < 30


def test_the_font_size_is_a_share_of_the_height(sans):
    heights = [np.diff(rows(replace(PLAIN, height=h).render("가", sans, 0))) for h in (60, 120)]
    assert heights[0] == pytest.approx(0.6 * 60 * 0.92, abs=2)
    assert heights[1] == pytest.approx(2 * heights[0], abs=3)


@pytest.mark.parametrize(
    ("options", "wider"),
    [
        ({"spacing": [0.3, 0.3]}, True),
        ({"spacing": [-0.2, -0.2]}, False),
        ({"letter_width": [1.3, 1.3]}, True),
        ({"letter_width": [0.7, 0.7]}, False),
        ({"margin": [0.8, 0.8]}, True),
    ],
)
def test_what_makes_an_image_wider(sans, options, wider):
    plain = PLAIN.render("가나다라", sans, 0).width
    width = replace(PLAIN, **options).render("가나다라", sans, 0).width
    assert width > plain + 5 if wider else width < plain - 5


def test_the_width_grows_with_the_text(sans):
    widths = [PLAIN.render("가" * count, sans, 0).width for count in (1, 2, 25)]
    assert widths[2] - widths[1] == pytest.approx(23 * (widths[1] - widths[0]), abs=3)


def test_bold_strokes_are_thicker(sans):
    plain = ink(PLAIN.render("가나다", sans, 0)).sum()
    assert ink(replace(PLAIN, bold_probability=1).render("가나다", sans, 0)).sum() > 1.3 * plain


def test_the_shift_moves_the_text_within_the_edge(sans):
    tops = {rows(replace(PLAIN, shift=1).render("가", sans, seed))[0] for seed in range(40)}
    assert min(tops) >= 2
    assert len(tops) > 5
    assert len({rows(PLAIN.render("가", sans, seed)) for seed in range(10)}) == 1


def test_colours(sans):
    dark = PLAIN.render("가", sans, 0)
    light = replace(PLAIN, light_on_dark_probability=1).render("가", sans, 0)
    assert (dark.mode, dark.getextrema()) == ("L", (0, 0xEE))
    assert dark.getpixel((0, 0)) == 0xEE
    assert (light.mode, light.getpixel((0, 0))) == ("L", 0)
    blue = replace(PLAIN, background_color=["#80C0FF", "#80C0FF"]).render("가", sans, 0)
    assert (blue.mode, blue.getpixel((0, 0))) == ("RGB", (0x80, 0xC0, 0xFF))


def test_colours_between_two_stay_on_the_line(sans):
    renderer = replace(PLAIN, background_color=["#CCCCCC", "#FFFFFF"])
    grounds = {renderer.render("가", sans, seed).getpixel((0, 0)) for seed in range(30)}
    assert len(grounds) > 10
    assert min(grounds) >= 0xCC


def test_pure_in_text_font_and_seed(noto):
    random.seed(5)
    before, numpy_before = random.getstate(), np.random.get_state()[1].tolist()
    first = VARIED.render("가나다", noto[0], 7)
    random.seed(6)
    assert VARIED.render("가나다", noto[0], 7).tobytes() == first.tobytes()
    random.seed(5)
    VARIED.render("가나다", noto[0], 7)
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == numpy_before
    others = [("가나라", noto[0], 7), ("가나다", noto[1], 7), ("가나다", noto[0], 8)]
    for other in others:
        assert VARIED.render(*other).tobytes() != first.tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 0),
        ("font_size", [0.8, 0.6]),
        ("font_size", 0.8),
        ("rotation_degrees", 90),
        ("margin", [-0.1, 0.1]),
        ("bold_probability", 1.5),
        ("text_color", ["#000000"]),
        ("text_color", ["no colour", "#000000"]),
        ("text_color", ["#000000", "#FFFFFF"]),
        ("background_color", ["#101010", "#FFFFFF"]),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(HanlineError, match=name):
        replace(PLAIN, **{name: value})
