from collections import Counter
from dataclasses import dataclass

import pytest
from PIL import Image

from hanline.errors import HanlineError
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.mixed import MixedRenderer


@dataclass(frozen=True)
class Flat(Renderer):
    """Draws an image of one grey."""

    grey: int

    version = 1

    def draw(self, text, font, seed):
        image = Image.new("L", (4, 4), self.grey)
        return Rendering(image, lambda: None)


class Seeded(Renderer):
    """Draws an image of the grey that its seed says."""

    version = 1

    def draw(self, text, font, seed):
        image = Image.new("L", (4, 4), seed % 256)
        return Rendering(image, lambda: None)


def greys(weights, names="ab", count=400):
    renderers = {"a": Flat(10), "b": Flat(20)}
    renderer = MixedRenderer({name: renderers[name] for name in names}, weights)
    return [renderer.render("가", None, seed).getpixel((0, 0)) for seed in range(count)]


def test_looks_are_taken_by_weight():
    counts = Counter(greys({"a": 3, "b": 1}))
    assert 250 < counts[10] < 350
    assert counts[10] + counts[20] == 400
    assert set(greys({"a": 0, "b": 1})) == {20}


def test_the_order_of_the_names_does_not_matter():
    assert greys({"b": 1, "a": 3}, names="ba") == greys({"a": 3, "b": 1})


def test_each_look_gets_a_seed_for_each_image():
    renderer = MixedRenderer({"a": Seeded()}, {"a": 1})
    drawn = [renderer.render("가", None, seed).getpixel((0, 0)) for seed in range(50)]
    assert len(set(drawn)) > 30
    assert drawn == [renderer.render("가", None, seed).getpixel((0, 0)) for seed in range(50)]


@pytest.mark.parametrize(
    "weights", [{"a": 1}, {"a": 1, "c": 1}, {"a": 0, "b": 0}, {"a": -1, "b": 2}]
)
def test_weights_that_do_not_fit(weights):
    with pytest.raises(HanlineError, match="weights"):
        greys(weights)
