import importlib
import random
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFont

from hanline.errors import HanlineError
from hanline.synthesis.trdg import TrdgRenderer
from hanline.synthesis.trdg_engine import trdg_engine

pytest.importorskip("trdg")


@pytest.fixture(scope="module")
def plain():
    return TrdgRenderer(
        size=40,
        margins=[4, 4, 4, 4],
        fit=False,
        width=-1,
        alignment=1,
        skewing_angle=0,
        random_skew=False,
        blur=0,
        random_blur=False,
        background_type=[1],
        image_dir=None,
        distorsion_type=[0],
        distorsion_orientation=[0],
        text_color=["#000000"],
        stroke_width=[0],
        stroke_fill=["#FF0000"],
        space_width=1.0,
        character_spacing=[0],
        word_split=False,
    )


@pytest.fixture(scope="module")
def varied(plain):
    return replace(
        plain,
        skewing_angle=5,
        random_skew=True,
        blur=1,
        random_blur=True,
        background_type=[0, 1, 3],
        distorsion_type=[0, 1, 2, 3],
        distorsion_orientation=[0, 1, 2],
        text_color=["#000000,#303030", "#FFFFFF"],
        stroke_width=[0, 1],
        character_spacing=[-1, 2],
    )


def ink(image):
    return 255 - np.asarray(image.convert("L"), dtype=int)


def columns(image):
    inked = np.flatnonzero(ink(image).any(axis=0))
    return inked[0], inked[-1]


def test_draws_under_this_pillow_and_leaves_it_as_it_is(plain, sans):
    image = plain.render("가나다", sans, 0)
    assert (image.mode, image.height) == ("RGB", 40)
    assert ink(image).max() > 200
    assert not hasattr(ImageFont.FreeTypeFont, "getsize")


def test_pure_in_text_font_and_seed(varied, noto):
    cv2 = importlib.import_module("cv2")
    seeds = range(20)

    def drawn():
        return [varied.render("가나다", noto[0], seed).tobytes() for seed in seeds]

    def drawn_by_opencv():
        noise = np.zeros((2, 2))
        cv2.randn(noise, 0, 1)
        return noise.tolist()

    cv2.setRNGSeed(1)
    undisturbed = drawn_by_opencv()
    cv2.setRNGSeed(1)
    random.seed(5)
    before, numpy_before = random.getstate(), np.random.get_state()[1].tolist()
    first = drawn()
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == numpy_before
    assert drawn_by_opencv() == undisturbed
    random.seed(6)
    assert drawn() == first
    assert len(set(first)) == len(seeds)


def test_trdg_itself_is_left_as_it_is(varied, sans):
    modules = [
        importlib.import_module(f"trdg.{name}")
        for name in ("data_generator", "background_generator", "distorsion_generator")
    ]
    before = [dict(vars(module)) for module in modules]
    varied.render("가", sans, 0)
    assert [dict(vars(module)) for module in modules] == before


@pytest.mark.parametrize(("kind", "smooth"), [(0, False), (1, True), (2, False), (3, False)])
def test_every_background_draws(plain, sans, kind, smooth):
    images = [replace(plain, background_type=[kind]).render("가", sans, s) for s in range(4)]
    margins = [np.asarray(image.convert("L"), dtype=int)[:, :4] for image in images]
    assert all(margin.std() == 0 for margin in margins) == smooth
    assert all(ink(image).max() > 200 for image in images)


class TestNothingIsCutOff:
    @pytest.mark.parametrize("kind", [1, 2, 3])
    @pytest.mark.parametrize("fit", [True, False])
    def test_by_waves_along_both_axes(self, plain, sans, kind, fit):
        # The same wave up and down alone makes the text as high.
        wave = replace(plain, size=80, distorsion_type=[kind], fit=fit)
        one, both = (
            ink(replace(wave, distorsion_orientation=[way]).render("를", sans, 0)).sum()
            for way in (0, 2)
        )
        assert both == pytest.approx(one, rel=0.05)

    def test_of_outlines(self, plain, sans):
        outlined = replace(plain, size=80, stroke_width=[6], fit=True, margins=[0, 0, 0, 0])
        red, green, _ = np.asarray(outlined.render("ㅁ", sans, 0)).transpose(2, 0, 1)
        is_outline = (red > 128) & (green < 128)
        for side in (is_outline[:4], is_outline[-4:], is_outline[:, :4], is_outline[:, -4:]):
            assert side.mean() > 0.5

    @pytest.mark.parametrize("text", ["jgpqyÅ|fj", "힣뷁…", "8·15 (종합)"])
    @pytest.mark.parametrize("angle", [0, 5, 45])
    def test_at_the_borders(self, plain, noto, text, angle):
        turned = replace(plain, skewing_angle=angle, stroke_width=[2], stroke_fill=["#000000"])
        for font in noto:
            darkness = ink(turned.render(text, font, 0))
            for border in (darkness[:4], darkness[-4:], darkness[:, :4], darkness[:, -4:]):
                assert not border.any()
            assert darkness.any()


def test_fit_fills_the_height(plain, sans):
    inked = [
        np.flatnonzero(ink(replace(plain, fit=fit).render("가", sans, 0)).any(axis=1))
        for fit in (True, False)
    ]
    assert (inked[0][0], inked[0][-1]) == (4, 35)
    assert inked[1][0] > 6


def test_a_width_is_the_least(plain, sans):
    narrow, wide = "가", "가나다라마바사아자차카타파하"
    as_wide_as_it_is = plain.render(wide, sans, 0).width
    assert as_wide_as_it_is > 200
    firsts = []
    for alignment in (0, 1, 2):
        padded = replace(plain, width=200, alignment=alignment)
        assert padded.render(narrow, sans, 0).width == 200
        assert padded.render(wide, sans, 0).width == as_wide_as_it_is
        firsts.append(columns(padded.render(narrow, sans, 0))[0])
    assert firsts[0] < 10 < 70 < firsts[1] < 110 < 150 < firsts[2]


def test_a_width_never_cuts_what_the_list_draws_wider(plain, sans):
    renderer = replace(plain, width=200, alignment=0, character_spacing=[0, 39])
    images = [renderer.render("가나다라마", sans, seed) for seed in range(20)]
    assert not any(ink(image)[:, -4:].any() for image in images)
    assert min(image.width for image in images) == 200 < max(image.width for image in images)


def test_spacing_and_spaces(plain, sans):
    def width(text="가 나", **settings):
        return replace(plain, **settings).render(text, sans, 0).width

    assert width(character_spacing=[4]) > width() + 3
    assert width(space_width=3) > width() + 3
    assert width(word_split=True, character_spacing=[4]) == pytest.approx(width(), abs=1)


def test_choices_that_stand_twice_are_drawn_twice_as_often(plain, sans):
    renderer = replace(plain, text_color=["#000000", "#000000", "#777777"])
    darkest = Counter(ink(renderer.render("ㅁ", sans, seed)).max() > 200 for seed in range(150))
    assert 75 < darkest[True] < 125


class TestLegibility:
    def test_white_on_white_is_never_drawn(self, plain, sans, capsys):
        renderer = replace(plain, text_color=["#FFFFFF", "#000000"])
        for seed in range(20):
            assert ink(renderer.render("가", sans, seed)).max() > 200
        assert capsys.readouterr().out == ""

    def test_without_another_choice_it_is_an_error(self, plain, sans):
        with pytest.raises(HanlineError, match="text_color") as error:
            replace(plain, text_color=["#FFFFFF"]).render("가", sans, 0)
        assert "'가'" in str(error.value)

    def test_white_on_a_grey_photograph_is_drawn(self, plain, sans, tmp_path):
        # trdg's own check takes these two for alike: it leaves out a channel of the text.
        Image.new("RGB", (300, 300), (170, 170, 170)).save(tmp_path / "a.png")
        renderer = replace(
            plain, background_type=[3], image_dir=str(tmp_path), text_color=["#FFFFFF"]
        )
        low, high = renderer.render("가", sans, 0).convert("L").getextrema()
        assert low > 150
        assert high == 255


class TestPhotographs:
    def test_only_photographs_of_the_folder_are_taken(self, plain, sans, tmp_path):
        for name, color in (("b.jpg", (0, 0, 200)), ("a.PNG", (0, 200, 0))):
            Image.new("RGB", (30, 20), color).save(tmp_path / name)
        (tmp_path / "Thumbs.db").write_bytes(b"no photograph")
        renderer = replace(
            plain, background_type=[3], image_dir=str(tmp_path), text_color=["#FFFFFF"]
        )
        grounds = Counter(
            renderer.render("가", sans, s).getpixel((0, 0))[1] > 100 for s in range(30)
        )
        assert grounds[True] > 5
        assert grounds[False] > 5

    def test_a_folder_without_any_is_named(self, plain, tmp_path):
        with pytest.raises(HanlineError, match="image_dir"):
            replace(plain, background_type=[3], image_dir=str(tmp_path))

    def test_a_damaged_one_is_named(self, plain, sans, tmp_path):
        (tmp_path / "broken.jpg").write_bytes(b"no photograph")
        renderer = replace(plain, background_type=[3], image_dir=str(tmp_path))
        with pytest.raises(HanlineError, match=r"broken\.jpg"):
            renderer.render("가", sans, 0)


def test_missing_packages_say_what_to_install(plain, monkeypatch):
    trdg_engine.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(HanlineError, match=r"pip install --no-deps trdg==1\.8\.0"):
        replace(plain)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 2),
        ("margins", [1, 2, 3]),
        ("margins", [20, 0, 20, 0]),
        ("background_type", []),
        ("background_type", 1),
        ("background_type", [4]),
        ("distorsion_orientation", [3]),
        ("text_color", "#000000"),
        ("text_color", ["no colour"]),
        ("skewing_angle", -3),
    ],
)
def test_a_wrong_setting_is_named(plain, name, value):
    with pytest.raises(HanlineError, match=name):
        replace(plain, **{name: value})
