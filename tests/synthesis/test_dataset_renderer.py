import io
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image
from support.renderers import PLAIN

from hanline.errors import HanlineError
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.synthesis.fonts import Font, FontSet
from hanline.synthesis.mixed import MixedRenderer

TEXTS = [f"{word}{i}" for i in range(150) for word in ("가", "나라", "女", "8·15")]


@dataclass(frozen=True)
class NamedFont(Renderer):
    """Tells the font by the image's width."""

    color: str = "#123456"

    version = 1

    def draw(self, text, font, seed):
        image = Image.new("RGB", (ord(font.path.name[0]), 8), self.color)
        return Rendering(image, lambda: None)


def synthesis(renderer, fonts, **settings):
    defaults = {"image_format": "png", "jpeg_quality": 90, "seed": 0, "processes": 1}
    return DatasetRenderer(renderer, fonts, **(defaults | settings))


@pytest.fixture(scope="module")
def broadcast(noto):
    renderer = replace(
        PLAIN,
        height=24,
        font_size=[0.5, 0.9],
        full_height_probability=0.1,
        rotation_degrees=5,
        rotation_probability=0.5,
        spacing=[-0.1, 0.1],
        shift=1,
        text_color=["#000000", "#404040"],
        background_color=["#CCCCCC", "#FFFFFF"],
        light_on_dark_probability=0.3,
    )
    return synthesis(renderer, noto)


@pytest.fixture(scope="module")
def drawn(broadcast):
    return [sample for chunk in broadcast.draw(TEXTS) for sample in chunk]


@pytest.fixture
def two(make_font):
    return FontSet([Font(make_font("a.ttf", "AB")), Font(make_font("b.ttf", "BC"))])


def opened(sample):
    return Image.open(io.BytesIO(sample.image))


def font_names(samples):
    return "".join(chr(opened(sample).width) for sample in samples)


class TestDraw:
    def test_labels_are_the_texts_in_order(self, broadcast, drawn):
        assert [sample.label for sample in drawn] == TEXTS
        sizes = [len(chunk) for chunk in broadcast.draw(TEXTS)]
        assert max(sizes) < 500
        assert len(sizes) > 1

    def test_processes_change_nothing(self, broadcast, drawn):
        assert [s for chunk in broadcast.draw(TEXTS, processes=2) for s in chunk] == drawn

    @pytest.mark.parametrize("processes", [1, 2])
    def test_samples_say_where_their_characters_are(self, broadcast, processes):
        (samples,) = broadcast.draw(["가 나", "8·15", " "], processes=processes)
        for number, sample in enumerate(samples):
            task = broadcast.task(sample.label, number)
            rendering = broadcast.rendering(task)
            assert np.array_equal(sample.boxes, rendering.boxes, equal_nan=True)
            assert np.array_equal(sample.positions, rendering.positions, equal_nan=True)
            assert sample.positions.shape == (len(sample.label), 2)
            assert np.isnan(sample.positions).any(axis=1).tolist() == [
                c == " " for c in sample.label
            ]
            known = sample.positions[~np.isnan(sample.positions[:, 0])]
            assert ((known >= 0) & (known <= 1)).all()
            assert known.ravel().tolist() == sorted(known.ravel().tolist())

    def test_samples_of_a_renderer_that_does_not_know_have_none(self, two):
        ((sample,),) = synthesis(NamedFont(), two).draw(["A"])
        assert sample.boxes is None
        assert sample.positions is None

    @pytest.mark.parametrize("start", [1, 256, 377, 599, 600])
    def test_a_start_changes_nothing(self, broadcast, drawn, start):
        assert [s for chunk in broadcast.draw(TEXTS, start=start) for s in chunk] == drawn[start:]

    def test_a_sample_does_not_depend_on_its_neighbours(self, broadcast, drawn):
        (chunk,) = broadcast.draw(["다른", *TEXTS[1:5]])
        assert chunk[1:] == drawn[1:5]

    def test_seeds_and_places_change_the_look(self, broadcast):
        (first,) = broadcast.draw(["가나다"] * 50)
        (second,) = replace(broadcast, seed=1).draw(["가나다"] * 50)
        assert len({sample.image for sample in first + second}) > 95

    def test_images_are_grey_files_of_the_format(self, broadcast, drawn):
        (jpegs,) = replace(broadcast, image_format="jpg").draw(TEXTS[:20])
        for samples, file_format in ((drawn, "PNG"), (jpegs, "JPEG")):
            for sample in samples:
                with opened(sample) as image:
                    assert (image.format, image.mode, image.height) == (file_format, "L", 24)

    def test_jpeg_quality(self, broadcast):
        sizes = []
        for quality in (30, 95):
            look = replace(broadcast, image_format="jpg", jpeg_quality=quality)
            sizes.append(sum(len(s.image) for chunk in look.draw(TEXTS[:20]) for s in chunk))
        assert sizes[0] < 0.8 * sizes[1]

    @pytest.mark.parametrize(("color", "mode"), [("#707070", "L"), ("#707071", "RGB")])
    def test_colour_images_are_grey_files_where_they_are_grey(self, two, color, mode):
        ((sample,),) = synthesis(NamedFont(color), two).draw(["A"])
        image = opened(sample)
        assert image.mode == mode
        assert image.convert("RGB").getpixel((0, 0)) == Image.new("RGB", (1, 1), color).getpixel(
            (0, 0)
        )


class TestFonts:
    def test_only_a_font_that_has_the_whole_text_draws_it(self, two):
        (samples,) = synthesis(NamedFont(), two).draw(["A", "C", "AB", "BC"] * 20)
        assert font_names(samples) == "abab" * 20

    def test_all_that_have_it_take_turns(self, two):
        (samples,) = synthesis(NamedFont(), two).draw(["B"] * 200)
        counts = Counter(font_names(samples))
        assert counts["a"] + counts["b"] == 200
        assert 60 < counts["a"] < 140

    @pytest.mark.parametrize(("text", "why"), [("AZ", "none has 'Z'"), ("AC", "each lacks one")])
    def test_a_text_that_none_draws_is_an_error(self, two, text, why):
        with pytest.raises(HanlineError, match=why) as error:
            list(synthesis(NamedFont(), two).draw(["A", text]))
        assert repr(text) in str(error.value)


class TestDigestParts:
    def test_is_json_of_the_look(self, broadcast):
        mixed = replace(
            broadcast, renderer=MixedRenderer({"x": broadcast.renderer}, weights={"x": 1})
        )
        parts = json.loads(json.dumps(mixed.digest_parts()))
        assert parts["renderer"]["class"] == "MixedRenderer"
        assert parts["renderer"]["renderers"]["x"]["class"] == "BroadcastRenderer"
        assert parts["renderer"]["renderers"]["x"]["height"] == 24
        assert parts == mixed.digest_parts()

    def test_processes_are_no_part_of_it(self, broadcast):
        assert replace(broadcast, processes=7).digest_parts() == broadcast.digest_parts()

    def test_whatever_changes_images_changes_it(self, broadcast, two):
        others = [
            replace(broadcast, seed=1),
            replace(broadcast, image_format="jpg"),
            replace(broadcast, fonts=two),
            replace(broadcast, fonts=FontSet(broadcast.fonts[:1])),
            replace(broadcast, renderer=replace(broadcast.renderer, height=25)),
            replace(broadcast, renderer=NamedFont()),
        ]
        for other in others:
            assert other.digest_parts() != broadcast.digest_parts()


@pytest.mark.parametrize(
    ("name", "value"), [("image_format", "gif"), ("jpeg_quality", 0), ("processes", -1)]
)
def test_a_wrong_setting_is_named(broadcast, name, value):
    with pytest.raises(HanlineError, match=name):
        replace(broadcast, **{name: value})


def test_no_torch_is_imported():
    modules = "dataset_renderer, fonts, broadcast, trdg, mixed"
    code = f"import sys; from hanline.synthesis import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
