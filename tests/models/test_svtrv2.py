"""The feature extraction of SVTRv2, and its rearranging of rows."""

import pytest
import torch
from models.test_conformer import CONFIG as CONFORMER
from models.test_ctc_guided import CONFIG as GUIDED

from hanline.errors import HanlineError
from hanline.models.recognizer import build_stage
from hanline.models.rows import Rearrange
from hanline.quantization.torch_int8 import calibrate, quantize


def config(**changes):
    return {
        "_target_": "hanline.models.feature_extraction.svtrv2.SVTRv2",
        "channels": [8, 16, 32],
        "layers": [1, 2, 1],
        "heads": [1, 2, 2],
        "local_layers": 2,
        "mlp_ratio": 2,
        "rows": "rearrange",
        "drop_path": 0.0,
    } | changes


def built(**changes):
    return build_stage(config(**changes), in_channels=1).eval()


@pytest.mark.parametrize("height, width", [(32, 1), (32, 30), (48, 97), (20, 333)])
@torch.inference_mode()
def test_a_step_is_four_pixels_of_any_image(height, width):
    images = torch.randn(2, 1, height, width)
    columns = -(-width // 4)
    assert built()(images).shape == (2, columns, 32)
    assert built(rows="mean")(images).shape == (2, columns, 32)
    rows = (height + 7) // 8
    assert built(rows="keep")(images).shape == (2, rows * columns, 32)
    assert [built(rows=r).along_line for r in ("rearrange", "mean", "keep")] == [True, True, False]


@torch.inference_mode()
def test_each_column_chooses_among_its_own_rows():
    rearrange = Rearrange(16)
    rearrange.along_rows = torch.nn.Identity()
    features = torch.randn(1, 4 * 10, 16)
    changed = features.clone()
    changed.view(1, 4, 10, 16)[:, 2, 7] += 1
    moved = (rearrange(changed, 4, 10) - rearrange(features, 4, 10)).abs().sum(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [7]


@torch.inference_mode()
def test_features_move_along_their_row():
    rearrange = Rearrange(16)
    features = torch.randn(1, 4 * 10, 16)
    changed = features.clone()
    changed.view(1, 4, 10, 16)[:, 2, 7] += torch.randn(16)
    moved = (rearrange(changed, 4, 10) - rearrange(features, 4, 10)).abs().sum(dim=2)[0]
    assert (moved > 0).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"channels": [8, 16]}, r"channels=\[8, 16\]: expected three"),
        ({"layers": [1]}, r"layers=\[1\]: expected three"),
        ({"heads": [1, 2, 3]}, "heads=3: expected a divisor"),
        ({"rows": "max"}, "rows=max: expected mean, keep or rearrange"),
    ],
)
def test_numbers_that_make_no_svtrv2_are_refused(changes, message):
    with pytest.raises(HanlineError, match=message):
        built(**changes)


def test_it_trains_on_lines_of_any_width(around, assert_trains):
    assert_trains(around(width=None, feature_extraction=config(drop_path=0.1)))


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(around(feature_extraction=config()))


def test_onnxruntime_reads_the_same_at_any_width(around, assert_exported):
    """The conformer behind it, and CTC with a decoder that only trains."""
    recognizer = around(
        width=None, feature_extraction=config(), sequence_modeling=CONFORMER, prediction=GUIDED
    )
    assert_exported(recognizer, (61, 96, 200))


def test_8_bits_read_nearly_the_same(around, images):
    recognizer = around(feature_extraction=config()).eval()
    pictures = images(8, 1, 32, 96)
    recognizer.ranges = calibrate(recognizer, [pictures])
    with torch.inference_mode():
        exact, small = recognizer(pictures), quantize(recognizer)(pictures)
    assert (small - exact).norm() < 0.1 * exact.norm()
