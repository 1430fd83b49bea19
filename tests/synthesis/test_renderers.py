"""The contract of renderers, for every one in conf/renderer."""

import importlib.util
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from hanline.synthesis.base import Renderer, identity, positions
from hanline.synthesis.mixed import MixedRenderer
from hanline.synthesis.text_layout import TextLayout

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "renderer").glob("*.yaml"))
TEXTS = [
    "가나 다",
    "8·15 (종합)",
    "女軍黨 '속보'",
    "jgpqyÅ|",
    "힣뷁쀍 로이터 곳곳에 비",
    "_",
    "ㅣ  …",
]
# What spreads ink, so that a letter's own is not told from it.
BLURS = ("outline", "shadow", "blur", "strong_blur", "noise", "jpeg", "rescale", "gradient")


def renderer(name: str) -> Renderer:
    if name in ("trdg", "mixed") and importlib.util.find_spec("trdg") is None:
        pytest.skip("trdg is not installed")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+renderer={name}"])
    return instantiate(config.renderer)


def sharp(look: Renderer) -> Renderer:
    """The renderer without what spreads ink over a letter's border."""
    if isinstance(look, MixedRenderer):
        return replace(look, renderers={n: sharp(r) for n, r in look.renderers.items()})
    names = {field.name for field in fields(look)}
    changes = {f"{name}_probability": 0.0 for name in BLURS if f"{name}_probability" in names}
    if "backgrounds" in names:
        changes["backgrounds"] = {"plain": 1}
    return replace(look, **changes)


def exaggerated(look: Renderer) -> Renderer:
    """The renderer with every effect that moves letters in every picture."""
    if isinstance(look, MixedRenderer):
        return replace(look, renderers={n: exaggerated(r) for n, r in look.renderers.items()})
    names = {field.name for field in fields(look)}
    moves = ("bold", "slant", "rotation", "wave", "taper")
    changes = {f"{name}_probability": 1.0 for name in moves if f"{name}_probability" in names}
    if "rotation_degrees" in names:
        changes["rotation_degrees"] = 12.0
    return replace(look, **changes)


@pytest.fixture
def only(monkeypatch):
    """Has lines rendered with some of their letters alone, each where it is in the whole line."""
    mask, whole_pixel_mask = TextLayout.mask, TextLayout.whole_pixel_mask
    shown = []

    def left(line: TextLayout) -> TextLayout:
        kept = [i for i, number in enumerate(line.numbers) if number in shown]
        return replace(
            line,
            pieces=[line.pieces[i] for i in kept],
            numbers=[line.numbers[i] for i in kept],
        )

    def show(*letters: int) -> None:
        shown[:] = letters

    monkeypatch.setattr(TextLayout, "mask", lambda line, stroke: mask(left(line), stroke))
    monkeypatch.setattr(TextLayout, "whole_pixel_mask", lambda line: whole_pixel_mask(left(line)))
    return show


def seen_box(with_letter, without):
    """The box around the pixels that a letter covers by half or more."""
    difference = np.abs(np.asarray(with_letter, dtype=float) - np.asarray(without, dtype=float))
    if difference.ndim == 3:
        difference = difference.sum(axis=2)
    covered = difference > difference.max() * 0.4
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize("shape", [sharp, lambda look: exaggerated(sharp(look))])
@pytest.mark.parametrize("name", NAMES)
def test_each_box_is_that_of_the_letter_rendered_alone(name, shape, noto, only):
    look = shape(renderer(name))
    errors = []
    for seed in range(12):
        text, font = TEXTS[seed % len(TEXTS)], noto[seed % 2]
        only(*range(len(text)))
        boxes = look.boxes(text, font, seed)
        if boxes is None:
            continue
        only()
        empty = look.render(text, font, seed)
        for i, character in enumerate(text):
            if character == " ":
                assert np.isnan(boxes[i]).all()
                continue
            only(i)
            seen = seen_box(look.render(text, font, seed), empty)
            errors.append(boxes[i] - seen)
    if name == "trdg":
        assert not errors
        return
    assert len(errors) > 20
    assert np.abs(errors).max() <= 2
    assert np.abs(errors).mean() <= 0.6


@pytest.mark.parametrize("name", NAMES)
def test_boxes_have_a_row_for_each_character_and_lie_in_the_picture(name, noto):
    look = renderer(name)
    known = 0
    for seed in range(30):
        text, font = TEXTS[seed % len(TEXTS)], noto[seed % 2]
        rendering = look.draw(text, font, seed)
        boxes = look.boxes(text, font, seed)
        if boxes is None:
            assert rendering.boxes is None
            assert rendering.positions is None
            continue
        known += 1
        np.testing.assert_array_equal(boxes, rendering.boxes)
        assert boxes.dtype == np.float32
        assert boxes.shape == (len(text), 4)
        assert [bool(np.isnan(box).all()) for box in boxes] == [c == " " for c in text]
        inked = boxes[~np.isnan(boxes[:, 0])]
        assert (inked[:, :2] < inked[:, 2:]).all()
        width, height = rendering.image.size
        assert (inked >= -0.5).all()
        assert (inked <= np.array([width, height, width, height]) + 0.5).all()
        middles = inked[:, [0, 2]].mean(axis=1)
        assert (np.diff(middles) > 0).all()
        shares = rendering.positions
        np.testing.assert_array_equal(shares, positions(boxes, width))
        assert shares[~np.isnan(boxes[:, 0])] == pytest.approx(
            inked[:, [0, 2]].clip(0, width) / width
        )
    assert known or name == "trdg"


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_the_contract_agree(name, noto):
    look = renderer(name)
    for seed in range(12):
        text, font = TEXTS[seed % len(TEXTS)], noto[seed % 2]
        image = look.draw(text, font, seed).image
        assert image.mode in ("L", "RGB")
        assert look.render(text, font, seed).tobytes() == image.tobytes()
        assert look.aspect(text, font, seed) == image.width / image.height


@pytest.mark.parametrize("name", NAMES)
def test_a_version_is_part_of_a_renderers_identity(name, monkeypatch):
    look = renderer(name)
    before = identity(look)
    assert before["version"] == look.version >= 1
    monkeypatch.setattr(type(look), "version", look.version + 1)
    assert identity(look) != before


def test_a_mixture_has_the_versions_of_all_it_mixes(monkeypatch):
    look = renderer("mixed")
    before = identity(look)
    trdg = type(look.renderers["trdg"])
    monkeypatch.setattr(trdg, "version", trdg.version + 1)
    assert identity(look) != before


def test_all_the_looks_are_there():
    assert {"broadcast", "broadcast_tilt", "broadcast_full", "varied", "trdg", "mixed"} <= set(
        NAMES
    )
