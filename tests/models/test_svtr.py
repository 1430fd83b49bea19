"""The feature extraction of SVTR."""

import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from support.dtrb import assert_matches
from support.svtr import FILE, VARIANTS, as_stage_state, formula_images, formula_weights

from hanline.cli.hydra_app import CONF, plain
from hanline.errors import HanlineError
from hanline.formats.easyocr_module import module_source
from hanline.models.recognizer import build_stage

REFERENCE = json.loads(FILE.read_text(encoding="utf-8"))["cases"]
TARGET = "hanline.models.feature_extraction.svtr.SVTR"


def config(width=96, **changes):
    return {
        "_target_": TARGET,
        "image_height": 32,
        "image_width": width,
        "channels": [8, 16, 32],
        "layers": [1, 2, 1],
        "heads": [1, 2, 2],
        "local_layers": 2,
        "window": [3, 5],
        "mlp_ratio": 2,
        "out_channels": 24,
        "dropout": 0.0,
        "drop_path": 0.0,
    } | changes


def built(width=96, **changes):
    return build_stage(config(width, **changes), in_channels=1).eval()


def shipped(name, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", [f"model/feature_extraction={name}", *overrides])
    return plain(composed.model.feature_extraction)


@pytest.mark.processor
@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_equals_the_authors_code(name):
    stage = build_stage(shipped(name), in_channels=3).eval()
    weights = formula_weights(REFERENCE[name]["shapes"])
    stage.load_state_dict(as_stage_state(weights))
    assert_matches(stage(formula_images()), REFERENCE[name]["features"])


@pytest.mark.parametrize("width", [1, 30, 96, 333])
@torch.inference_mode()
def test_a_step_is_four_pixels_of_any_width(width):
    stage = built(None)
    assert stage.any_width
    assert stage(torch.randn(2, 1, 32, width)).shape == (2, -(-width // 4), stage.out_channels)


@pytest.mark.parametrize("height", [16, 31, 48, 64])
@torch.inference_mode()
def test_the_height_may_be_any(height):
    stage = built(90, image_height=height)
    assert stage(torch.randn(2, 1, height, 90)).shape == (2, 23, 24)


def test_another_size_than_the_learned_positions_is_refused():
    stage = built(96)
    assert not stage.any_width
    with pytest.raises(HanlineError, match=r"32×96 pixels, got 32×100.*image\.width=null"):
        stage(torch.zeros(1, 1, 32, 100))
    with pytest.raises(HanlineError, match=r"32×any pixels, got 48×100"):
        built(None)(torch.zeros(1, 1, 48, 100))


def test_a_local_layer_sees_its_window_and_a_global_one_the_image():
    def seen(local_layers):
        torch.manual_seed(3)
        stage = built(None, layers=[1, 0, 0], local_layers=local_layers, out_channels=8)
        images = torch.randn(1, 1, 32, 160, requires_grad=True)
        stage(images)[0, 20, 0].backward()
        return images.grad.abs().sum(dim=(0, 1, 2)) > 0

    assert seen(0).all()
    near = seen(1).nonzero().flatten().tolist()
    # Two places to either side, the mergers' two more, and what the convolutions see around them.
    assert 80 - 24 < min(near) < 80 < max(near) < 84 + 24


def test_the_image_size_of_a_run_is_that_of_the_positions():
    assert shipped("svtr_tiny", "image.height=48", "image.width=256")["image_width"] == 256
    assert shipped("svtr_tiny", "image.width=null")["image_width"] is None


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"channels": [8, 16]}, r"channels=\[8, 16\]: expected three"),
        ({"layers": [1, 1, 1, 1]}, r"layers=\[1, 1, 1, 1\]: expected three"),
        ({"window": [4, 5]}, r"window=\[4, 5\]: expected a height and a width, odd"),
        ({"heads": [1, 3, 2]}, "heads=3: expected a divisor"),
    ],
)
def test_numbers_that_make_no_svtr_are_refused(changes, message):
    with pytest.raises(HanlineError, match=message):
        built(96, **changes)


def test_it_trains(around, assert_trains):
    assert_trains(around(feature_extraction=config(96, drop_path=0.1)))


def test_it_trains_on_lines_of_any_width(around, assert_trains):
    assert_trains(around(width=None, feature_extraction=config(None)))


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(around(feature_extraction=config(96)))


def test_onnxruntime_reads_the_same(around, assert_exported):
    assert_exported(around(feature_extraction=config(96)), (96,))


def test_onnxruntime_reads_the_same_at_any_width(around, assert_exported):
    assert_exported(around(width=None, feature_extraction=config(None)), (64, 96, 200))


@pytest.mark.parametrize("sequence_modeling", ["transformer", "bilstm"])
def test_its_module_for_easyocr_gives_the_same_without_hanline(sequence_modeling, around, images):
    layers = {"out_channels": 16, "layers": 1, "heads": 2, "mlp_ratio": 2, "dropout": 0.0}
    if sequence_modeling == "bilstm":
        layers = {"out_channels": 16, "hidden_size": 8, "layers": 1}
    name = {"transformer": "Transformer", "bilstm": "BiLSTM"}[sequence_modeling]
    layers["_target_"] = f"hanline.models.sequence_modeling.{sequence_modeling}.{name}"
    recognizer = around(feature_extraction=config(96), sequence_modeling=layers).eval()
    source = module_source(recognizer)
    assert "import hanline" not in source
    assert "from hanline" not in source
    names = {}
    exec(compile(source, "model.py", "exec"), names)
    model = names["Model"](len(recognizer.charset) + 1, 96).eval()
    model.load_state_dict(recognizer.state_dict())
    pictures = images(2, 1, 32, 96).float() / 127.5 - 1
    with torch.inference_mode():
        torch.testing.assert_close(model(pictures), recognizer(pictures))
