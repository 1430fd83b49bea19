import random
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image, ImageDraw
from support.renderers import HARD_TEXTS as TEXTS

from hanline.errors import HanlineError
from hanline.synthesis.backgrounds import BACKGROUNDS
from hanline.synthesis.dataset_renderer import make_dataset_renderer
from hanline.synthesis.fonts import Font
from hanline.synthesis.text_layout import lay_out
from hanline.synthesis.varied import VariedRenderer

# Black on white, upright, as it is drawn; each share is switched on by those who want it.
PLAIN = VariedRenderer(
    height=44,
    font_size=[0.6, 0.6],
    full_height_probability=0.0,
    letter_width=[1, 1],
    spacing=[0, 0],
    word_gap=[1, 1],
    bold_probability=0.0,
    bold_thickness=[0.06, 0.06],
    slant_probability=0.0,
    slant=[0.3, 0.3],
    margin=[0, 0],
    wide_margin_probability=0.0,
    wide_margin=[2, 2],
    rotation_probability=0.0,
    rotation_degrees=4.0,
    wave_probability=0.0,
    wave_height=0.35,
    taper_probability=0.0,
    taper=0.3,
    backgrounds={"plain": 1},
    light_on_dark_probability=0.0,
    min_contrast=255,
    gradient_probability=0.0,
    outline_probability=0.0,
    shadow_probability=0.0,
    blur_probability=0.0,
    blur=[0.03, 0.03],
    strong_blur_probability=0.0,
    strong_blur=[0.07, 0.07],
    rescale_probability=0.0,
    rescale=[0.5, 0.5],
    noise_probability=0.0,
    noise=[8, 8],
    jpeg_probability=0.0,
    jpeg_quality=[20, 20],
    color_probability=0.0,
)
CONF = Path(__file__).parents[2] / "conf" / "renderer" / "varied.yaml"
SHIPPED = VariedRenderer(
    **{str(k): v for k, v in OmegaConf.to_object(OmegaConf.load(CONF)).items() if k[0] != "_"}
)
# Everything that moves ink, at its bounds.
EXTREMES = {
    "full height": {"full_height_probability": 1.0},
    "far too large": {"font_size": [2, 2]},
    "tiny": {"font_size": [0.2, 0.2]},
    "leaning right": {"slant_probability": 1.0, "slant": [0.5, 0.5]},
    "leaning left": {"slant_probability": 1.0, "slant": [-0.5, -0.5]},
    "turned": {"rotation_probability": 1.0, "rotation_degrees": 15.0},
    "waved": {"wave_probability": 1.0, "wave_height": 0.5},
    "waved and turned": {
        "wave_probability": 1.0,
        "wave_height": 0.5,
        "rotation_probability": 1.0,
        "rotation_degrees": 15.0,
    },
    "tapered": {"taper_probability": 1.0, "taper": 0.5},
    "wide": {"letter_width": [3, 3]},
    "narrow": {"letter_width": [0.2, 0.2]},
    "bold": {"bold_probability": 1.0, "bold_thickness": [0.3, 0.3]},
    "bold and apart": {"bold_probability": 1.0, "bold_thickness": [0.1, 0.1], "spacing": [3, 3]},
    "close": {"spacing": [-0.3, -0.3]},
    "everything": {
        "font_size": [0.2, 2],
        "letter_width": [0.2, 3],
        "spacing": [-0.3, 1],
        "bold_probability": 0.5,
        "bold_thickness": [0, 0.3],
        "slant_probability": 1.0,
        "slant": [-0.5, 0.5],
        "rotation_probability": 1.0,
        "rotation_degrees": 15.0,
        "wave_probability": 1.0,
        "wave_height": 0.5,
        "taper_probability": 1.0,
        "taper": 0.5,
    },
}


def pixels(image):
    return np.asarray(image.convert("L"), dtype=int)


def ink(image):
    """How dark each pixel of a black text on white is, 0 to 255; what is 1 is rounded down."""
    darkness = 255 - pixels(image)
    return np.where(darkness > 1, darkness, 0)


class TestRender:
    def test_pure_in_text_font_and_seed(self, noto):
        random.seed(5)
        before, numpy_before = random.getstate(), np.random.get_state()[1].tolist()
        first = [SHIPPED.render("가나 다", noto[0], seed) for seed in range(60)]
        assert random.getstate() == before
        assert np.random.get_state()[1].tolist() == numpy_before
        random.seed(6)
        for seed in reversed(range(60)):
            assert SHIPPED.render("가나 다", noto[0], seed).tobytes() == first[seed].tobytes()
        assert len({image.tobytes() for image in first}) == 60
        for other in (("가나 라", noto[0], 7), ("가나 다", noto[1], 7)):
            assert SHIPPED.render(*other).tobytes() != first[7].tobytes()

    @pytest.mark.parametrize("height", [16, 44, 63])
    def test_the_aspect_is_that_of_what_is_drawn(self, noto, height):
        renderer = replace(SHIPPED, height=height)
        aspects = set()
        for seed in range(12):
            for text in TEXTS:
                image = renderer.render(text, noto[seed % 2], seed)
                assert image.height == height
                assert image.mode in ("L", "RGB")
                aspect = renderer.aspect(text, noto[seed % 2], seed)
                assert aspect == image.width / image.height
                aspects.add(aspect)
        assert len(aspects) > 60

    @pytest.mark.parametrize("height", [16, 44, 63])
    @pytest.mark.parametrize("extreme", EXTREMES)
    def test_no_ink_touches_the_border(self, noto, extreme, height):
        renderer = replace(PLAIN, height=height, **EXTREMES[extreme])
        for seed in range(6):
            for text in TEXTS:
                image = ink(renderer.render(text, noto[seed % 2], seed))
                assert image.sum() > 20
                for border in (image[0], image[-1], image[:, 0], image[:, -1]):
                    assert not border.any()

    @pytest.mark.parametrize("text", [text for text in TEXTS if len(text) > 1])
    def test_the_letters_have_the_ink_that_their_font_gives_them(self, noto, text):
        for font in noto:
            large = Image.new("L", (300 * len(text), 600))
            draw = ImageDraw.Draw(large)
            draw.text((100, 400), text, 255, font.load(200), "ls")
            expected = np.asarray(large, dtype=int).sum() * (0.6 * 44 / 200) ** 2
            drawn = ink(PLAIN.render(text, font, 0)).sum()
            assert drawn == pytest.approx(expected, rel=0.04)

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("extreme", ["turned", "waved", "waved and turned"])
    def test_a_bent_line_keeps_the_ink_of_each_column(self, noto, extreme, text):
        bent = 0
        for seed in range(6):
            straight = ink(PLAIN.render(text, noto[seed % 2], seed))
            image = ink(replace(PLAIN, **EXTREMES[extreme]).render(text, noto[seed % 2], seed))
            assert image.shape == straight.shape
            # Less than one of 255 is lost where a pixel is split in two.
            assert abs(image.sum(axis=0) - straight.sum(axis=0)).max() <= 44
            bent += (image != straight).any()
        assert bent >= 5

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("slant", [-0.5, -0.2, 0.1, 0.5])
    def test_a_leaning_line_keeps_the_ink_of_each_row(self, sans, slant, text):
        straight = ink(PLAIN.render(text, sans, 0)).sum(axis=1)
        leaning = ink(
            replace(PLAIN, slant_probability=1.0, slant=[slant] * 2).render(text, sans, 0)
        )
        rows = leaning.sum(axis=1)
        assert rows[rows > 0] == pytest.approx(straight[straight > 0], rel=0.02, abs=200)

    def test_the_top_leans_to_the_right(self, sans):
        columns = np.arange(200)
        for slant in (-0.5, 0.5):
            image = ink(
                replace(PLAIN, slant_probability=1.0, slant=[slant] * 2).render("ㅣ", sans, 0)
            )
            rows = image[image.any(axis=1)]
            middles = rows @ columns[: image.shape[1]] / rows.sum(axis=1)
            assert (middles[3] - middles[-4]) == pytest.approx(slant * (len(rows) - 7), abs=1)

    @pytest.mark.parametrize("text", TEXTS)
    def test_a_tapered_line_loses_no_column(self, noto, text):
        sides = set()
        for seed in range(8):
            straight = ink(PLAIN.render(text, noto[seed % 2], seed)).sum(axis=0)
            tapered = replace(PLAIN, taper_probability=1.0).render(text, noto[seed % 2], seed)
            columns = ink(tapered).sum(axis=0)
            assert 0.65 * straight.sum() < columns.sum() < 1.02 * straight.sum()
            assert columns[straight > 255].min(initial=999) > 0
            sides.add(columns[: len(columns) // 2].sum() > columns[len(columns) // 2 :].sum())
        assert text != "가나다라마바사아자차카타파하" or sides == {False, True}

    def test_a_long_line_is_turned_by_less(self, sans):
        text = "가나다라마바사아자차카타파하" * 3
        image = ink(
            replace(PLAIN, rotation_probability=1.0, rotation_degrees=15.0).render(text, sans, 3)
        )
        rows = np.flatnonzero(image.any(axis=1))
        assert rows[0] <= 3
        assert rows[-1] >= 40

    def test_full_height_fills_the_room(self, noto):
        for font in noto:
            for text in ("가나다", "1440", "힣뷁쀍"):
                image = ink(replace(PLAIN, full_height_probability=1.0).render(text, font, 0))
                rows = np.flatnonzero(image.any(axis=1))
                assert rows[-1] - rows[0] >= 0.75 * 44

    def test_margins(self, sans):
        for share, options in (
            (0.5, {"margin": [0.5, 0.5]}),
            (2, {"wide_margin_probability": 1.0}),
        ):
            image = ink(replace(PLAIN, **options).render("가나", sans, 0))
            inked = np.flatnonzero(image.any(axis=0))
            narrow = np.flatnonzero(ink(PLAIN.render("가나", sans, 0)).any(axis=0))
            assert inked[0] - narrow[0] == share * 44
            assert image.shape[1] == PLAIN.render("가나", sans, 0).width + 2 * share * 44

    def test_a_line_stands_anywhere_in_its_room(self, sans):
        tops = {
            int(np.flatnonzero(ink(PLAIN.render("가", sans, seed)).any(axis=1))[0])
            for seed in range(60)
        }
        assert min(tops) <= 4
        assert max(tops) >= 14
        assert len(tops) > 8


def bent(image, straight):
    rows, straight_rows = (ink(picture).any(axis=1).sum() for picture in (image, straight))
    return image.size == straight.size and rows > straight_rows


def edges(image):
    return (np.diff(pixels(image), axis=1) ** 2).sum()


# What each does to a picture of the plain kind, by what changes.
EFFECTS = {
    "bold_probability": lambda with_it, without: ink(with_it).sum() > 1.2 * ink(without).sum(),
    "slant_probability": lambda with_it, without: with_it.width > without.width + 5,
    "wide_margin_probability": lambda with_it, without: with_it.width > without.width + 150,
    "full_height_probability": lambda with_it, without: (
        ink(with_it).sum() > 1.5 * ink(without).sum()
    ),
    "rotation_probability": bent,
    "wave_probability": bent,
    "taper_probability": lambda with_it, without: ink(with_it).sum() < ink(without).sum(),
    "light_on_dark_probability": lambda with_it, without: with_it.getpixel((0, 0)) == 0,
    "gradient_probability": lambda with_it, without: (
        len(np.unique(pixels(with_it).min(axis=1))) > 8
    ),
    "outline_probability": lambda with_it, without: ink(with_it).sum() > 1.02 * ink(without).sum(),
    "shadow_probability": lambda with_it, without: ink(with_it).sum() > 1.05 * ink(without).sum(),
    "blur_probability": lambda with_it, without: edges(with_it) < 0.9 * edges(without),
    "strong_blur_probability": lambda with_it, without: edges(with_it) < 0.7 * edges(without),
    "rescale_probability": lambda with_it, without: edges(with_it) < 0.95 * edges(without),
    "noise_probability": lambda with_it, without: pixels(with_it)[:, 0].std() > 2,
    "jpeg_probability": lambda with_it, without: len(np.unique(pixels(with_it))) > 20,
    "color_probability": lambda with_it, without: with_it.mode == "RGB",
}


class TestEffects:
    def test_all_are_known(self):
        shares = {f.name for f in fields(PLAIN) if f.name.endswith("_probability")}
        assert shares == EFFECTS.keys()

    @pytest.mark.parametrize("name", EFFECTS)
    def test_each_alone(self, sans, name):
        seen = 0
        for seed in range(10):
            without = PLAIN.render("가나다 라", sans, seed)
            with_it = replace(PLAIN, **{name: 1.0}).render("가나다 라", sans, seed)
            seen += EFFECTS[name](with_it, without)
        # How much of it there is, is drawn for each: nearly none now and then.
        assert seen >= 7

    @pytest.mark.parametrize(
        ("name", "narrow", "wide"),
        [
            ("letter_width", 0.6, 1.4),
            ("spacing", -0.1, 0.3),
            ("word_gap", 0.5, 2),
            ("font_size", 0.4, 0.7),
            ("margin", 0.1, 0.4),
        ],
    )
    def test_what_makes_a_line_wider(self, sans, name, narrow, wide):
        widths = [
            replace(PLAIN, **{name: [value, value]}).render("가나 다", sans, 0).width
            for value in (narrow, wide)
        ]
        assert widths[0] + 5 < widths[1]

    def test_a_share_is_of_the_images(self, sans):
        renderer = replace(PLAIN, color_probability=0.3)
        modes = [renderer.render("가", sans, seed).mode for seed in range(300)]
        assert modes.count("RGB") == pytest.approx(90, abs=30)


@pytest.fixture
def block(make_font):
    """A font whose letter is a square, so that inside, rim and ground are told apart."""
    return Font(make_font("block.ttf", "■"))


class TestContrast:
    """How far the shades of text and ground are apart: 80 of 255 are asked for."""

    RENDERER = replace(PLAIN, font_size=[0.7, 0.7], margin=[0.3, 0.3], min_contrast=80)

    def shades(self, block, seed, light, **options):
        """The text's shade, and the shades beside it, away from it being above 0."""
        given = {"light_on_dark_probability": float(light), **options}
        drawn = pixels(replace(self.RENDERER, **given).render("■■", block, seed))
        mask = ink(replace(self.RENDERER, min_contrast=255).render("■■", block, seed))
        inside = mask > 250
        near = np.zeros_like(inside)
        for shift in (-1, 1):
            near |= np.roll(inside, shift, axis=0) | np.roll(inside, shift, axis=1)
        near &= mask == 0
        assert inside.sum() > 300
        assert near.sum() > 30
        text = np.median(drawn[inside])
        return text, (text - drawn[near]) * (1 if light else -1)

    @pytest.mark.parametrize("light", [False, True])
    def test_of_plain_pictures(self, block, light):
        texts = set()
        for seed in range(40):
            text, distances = self.shades(block, seed, light)
            assert distances.min() >= 79
            assert distances.max() - distances.min() <= 1
            texts.add(text)
        assert max(texts) - min(texts) > 100

    @pytest.mark.parametrize("light", [False, True])
    @pytest.mark.parametrize("name", BACKGROUNDS)
    @pytest.mark.parametrize("effect", ["outline", "shadow", None])
    def test_of_others_is_half_of_it_at_least(self, block, light, name, effect):
        options = {f"{effect}_probability": 1.0} if effect else {}
        for seed in range(25):
            _, distances = self.shades(block, seed, light, backgrounds={name: 1}, **options)
            assert distances.min() >= 80 * (0.6 if effect == "outline" else 0.5) - 2

    @pytest.mark.parametrize("light", [False, True])
    def test_of_text_whose_shade_runs(self, block, light):
        for seed in range(25):
            _, distances = self.shades(block, seed, light, gradient_probability=1.0)
            assert distances.min() >= 79 * 0.55

    def test_colours_are_as_dark_and_as_light(self, block):
        for seed in range(20):
            grey = replace(self.RENDERER, min_contrast=200)
            image = replace(grey, color_probability=1.0).render("■■", block, seed)
            assert image.mode == "RGB"
            low, high = image.convert("L").getextrema()
            assert high - low > 40


class TestBackgrounds:
    @pytest.mark.parametrize("name", BACKGROUNDS)
    def test_every_one(self, sans, name):
        renderer = replace(PLAIN, margin=[1, 1], min_contrast=100, backgrounds={name: 3})
        grounds = []
        for seed in range(12):
            image = renderer.render("가나다", sans, seed)
            assert image.size == replace(PLAIN, margin=[1, 1]).render("가나다", sans, seed).size
            # What stands to the left of the text.
            grounds.append(pixels(image)[:, :30])
        uneven = sum(len(np.unique(ground)) > 1 for ground in grounds)
        assert uneven == 0 if name == "plain" else uneven >= 10
        assert len({ground.tobytes() for ground in grounds}) > 9

    def test_weights_are_shares(self, sans):
        renderer = replace(PLAIN, margin=[1, 1], backgrounds={"plain": 3, "stripes": 1})
        plain = sum(
            len(np.unique(pixels(renderer.render("가", sans, seed))[:, :30])) == 1
            for seed in range(200)
        )
        assert plain == pytest.approx(150, abs=25)

    def test_a_plate_is_where_the_text_is(self, sans):
        renderer = replace(PLAIN, margin=[2, 2], backgrounds={"plate": 1})
        beside = under = 0.0
        for seed in range(30):
            picture = pixels(renderer.render("가", sans, seed))
            beside += abs(picture[:, :60] - 255).mean()
            under += abs(picture[:, 90 : picture.shape[1] - 90][[0, -1]] - 255).mean()
        assert under < 0.6 * beside


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 8),
        ("font_size", [0.8, 0.6]),
        ("font_size", 0.8),
        ("letter_width", [0, 1]),
        ("spacing", [-0.5, 0]),
        ("word_gap", [0, 1]),
        ("bold_thickness", [0, 1]),
        ("slant", [-1, 0]),
        ("margin", [-0.1, 0.1]),
        ("wide_margin", [1, 100]),
        ("rotation_degrees", 90),
        ("wave_height", 0.6),
        ("taper", -0.1),
        ("min_contrast", 10),
        ("min_contrast", 256),
        ("blur", [0, 1]),
        ("strong_blur", [0.1]),
        ("rescale", [0, 1]),
        ("noise", [-1, 1]),
        ("jpeg_quality", [0, 50]),
        ("jpeg_quality", [50, 96]),
        *((name, value) for name in EFFECTS for value in (-0.1, 1.5, 2)),
        ("backgrounds", {"plain": 1, "brick": 1}),
        ("backgrounds", {"plain": -1, "picture": 2}),
        ("backgrounds", {"plain": 0, "picture": 0}),
        ("backgrounds", {}),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(HanlineError, match=rf"^renderer\.{name}="):
        replace(PLAIN, **{name: value})


class TestWholePixelMask:
    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("spacing", [-4.3, 0, 2.5])
    def test_is_the_text_within_a_pixel(self, noto, text, spacing):
        for font in noto:
            line = lay_out(text, font, 40, spacing, 1, 0, 30)
            exact, whole = (
                np.asarray(m, dtype=int) for m in (line.mask(0), line.whole_pixel_mask())
            )
            assert whole.shape == exact.shape
            # Nothing is cut off, neither by the box nor by a letter's own.
            assert whole.sum() == pytest.approx(exact.sum(), rel=0.02)
            around = np.pad(exact, ((0, 0), (1, 1)))
            near = np.maximum.reduce([around[:, i : i + exact.shape[1]] for i in range(3)])
            assert (whole[near == 0] < 40).all()

    def test_letters_that_meet_are_both_there(self, sans):
        close = np.asarray(lay_out("||", sans, 40, -9, 1, 0, 30).whole_pixel_mask(), dtype=int)
        one = np.asarray(lay_out("|", sans, 40, 0, 1, 0, 30).whole_pixel_mask(), dtype=int)
        assert close.max() == 255
        assert one.sum() < close.sum() < 2 * one.sum()


class TestFontsWithout:
    @pytest.fixture
    def named(self, make_font):
        """A look in three fonts, of which some are left out; the names of those that are kept."""
        for path in ("a/Serif-Bold.ttf", "a/Serif-Light.ttf", "b/Pen.otf"):
            folder = make_font(path, "가").parents[1]

        def names(*without):
            look = make_dataset_renderer(PLAIN, [str(folder)], without, 0.0, "가", "png", 90, 0, 1)
            return [font.name for font in look.fonts]

        return names

    def test_leaves_out_what_matches(self, named):
        assert named() == ["Pen.otf", "Serif-Bold.ttf", "Serif-Light.ttf"]
        assert named("Serif*") == ["Pen.otf"]
        assert named("*-Bold.ttf", "Pen*") == ["Serif-Light.ttf"]
        assert named("P[a-f]n.otf", "nothing*") == ["Serif-Bold.ttf", "Serif-Light.ttf"]
        assert named("b/*") == ["Serif-Bold.ttf", "Serif-Light.ttf"]

    def test_a_single_pattern_needs_no_list(self, named, make_font):
        folder = make_font("a/Serif-Bold.ttf", "가").parents[1]
        look = make_dataset_renderer(PLAIN, [str(folder)], "Serif*", 0.0, "가", "png", 90, 0, 1)
        assert [font.name for font in look.fonts] == ["Pen.otf"]

    def test_a_part_of_a_name_is_not_enough(self, named):
        assert len(named("Serif", "Bold", "a")) == 3

    def test_none_left(self, named):
        with pytest.raises(HanlineError, match=r"3 fonts left out by synthesis\.exclude_fonts"):
            named("*")
