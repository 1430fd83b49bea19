"""The feature extraction of patches."""

import pytest
import torch

from hanline.errors import HanlineError
from hanline.models.recognizer import build_stage


def config(width=96, **changes):
    return {
        "_target_": "hanline.models.feature_extraction.vit.ViT",
        "image_height": 32,
        "image_width": width,
        "patch": [8, 4],
        "out_channels": 32,
        "layers": 2,
        "heads": 2,
        "mlp_ratio": 2,
        "dropout": 0.0,
        "rows": "mean",
    } | changes


def built(width=96, **changes):
    return build_stage(config(width, **changes), in_channels=1).eval()


@pytest.mark.parametrize("width", [1, 30, 96, 333])
@torch.inference_mode()
def test_a_step_is_a_column_of_patches_at_any_width(width):
    images = torch.randn(2, 1, 32, width)
    assert built(None).any_width
    assert built(None)(images).shape == (2, -(-width // 4), 32)
    assert built(None, rows="keep")(images).shape == (2, 4 * -(-width // 4), 32)


@torch.inference_mode()
def test_the_last_patch_is_continued_with_the_last_column():
    stage = built(None, patch=[8, 8])
    images = torch.randn(1, 1, 32, 61)
    continued = torch.cat([images, images[..., -1:].expand(-1, -1, -1, 3)], dim=3)
    torch.testing.assert_close(stage(images), stage(continued))
    assert built(100, patch=[8, 8])(torch.zeros(1, 1, 32, 100)).shape == (1, 13, 32)


def test_another_size_than_the_learned_positions_is_refused():
    assert not built(96).any_width
    with pytest.raises(HanlineError, match=r"32×96 pixels, got 32×100.*image\.width=null"):
        built(96)(torch.zeros(1, 1, 32, 100))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"patch": [5, 4]}, r"patch=\[5, 4\]: expected .* divides image.height=32"),
        ({"patch": [8]}, r"patch=\[8\]"),
        ({"rows": "max"}, "rows=max: expected mean, keep or rearrange"),
        ({"heads": 5}, "heads=5: expected a divisor"),
    ],
)
def test_numbers_that_make_no_vit_are_refused(changes, message):
    with pytest.raises(HanlineError, match=message):
        built(96, **changes)


def test_it_trains(around, assert_trains):
    assert_trains(around(feature_extraction=config(96)))


def test_it_trains_on_lines_of_any_width(around, assert_trains):
    assert_trains(around(width=None, feature_extraction=config(None)))


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(around(feature_extraction=config(96)))


def test_onnxruntime_reads_the_same_at_any_width(around, assert_exported):
    assert_exported(around(width=None, feature_extraction=config(None)), (61, 96, 200))
