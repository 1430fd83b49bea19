"""Reading in 8 bits: what it changes, where its bounds come from, and when it is refused."""

import json

import pytest
import torch
from torch import nn

from hanline import Reader
from hanline.data.image_folder import read_gt
from hanline.errors import HanlineError
from hanline.formats.registry import open_model
from hanline.formats.safetensors import Safetensors
from hanline.models.feature_extraction.compact import Residual
from hanline.models.feature_extraction.resnet import ResidualBlock, convolution, residual_blocks
from hanline.models.precision import best_precision
from hanline.models.stage import Stage
from hanline.quantization.int8_products import has_int8, largest_weight
from hanline.quantization.torch_int8 import calibrate, quantize

pytestmark = [
    pytest.mark.processor,
    pytest.mark.skipif(not has_int8(), reason="this torch has no 8-bit products here"),
]


@pytest.fixture
def eight_bit_file(recognizer_of, images, tmp_path):
    """A file with bounds, of a recogniser with pooling, residuals and an LSTM."""
    recognizer = recognizer_of("None-ResNet-BiLSTM-CTC").eval()
    recognizer.ranges = calibrate(recognizer, [images(8, 1, 32, 48)])
    Safetensors().save(tmp_path / "model.safetensors", recognizer, {})
    return tmp_path / "model.safetensors"


class Few(Stage):
    """A feature extraction of few layers, whose rounding does not add up to much."""

    def __init__(self, *layers):
        super().__init__()
        self.out_channels = 32
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images).mean(dim=2).transpose(1, 2)


class Twice(nn.Module):
    """What is added is needed once more."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, inputs):
        return (inputs + self.inner(inputs)) * inputs


class Scaling(nn.Module):
    """A weight that is no layer's."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs):
        return inputs * self.scale


class Branching(nn.Module):
    """What is done depends on the values."""

    def forward(self, inputs):
        return inputs if inputs.sum() > 0 else -inputs


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([nn.Conv2d(1, 32, 3)], id="a convolution"),
        pytest.param([convolution(1, 32), nn.MaxPool2d(2), convolution(32, 32)], id="pooling"),
        pytest.param(
            [convolution(1, 32), nn.MaxPool2d(2, (2, 1), (0, 1)), convolution(32, 32, 2, (2, 1))],
            id="padding",
        ),
        pytest.param([convolution(1, 32), ResidualBlock(32, 32)], id="residual"),
        pytest.param(residual_blocks(1, 32, 2), id="projected residual"),
        pytest.param([convolution(1, 32), Residual(32), nn.Sigmoid()], id="what stays in full"),
        pytest.param([convolution(1, 32), nn.Sigmoid(), convolution(32, 32)], id="full between"),
        pytest.param([convolution(1, 32), Twice(), convolution(32, 32)], id="addend used again"),
    ],
)
def test_features_stay_close(layers, recognizer_of, images):
    recognizer = recognizer_of("None-VGG-BiLSTM-CTC")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recognizer.feature_extraction = Few(*layers).apply(_anew)
    pictures = images(16, 1, 32, 48)
    pixels = pictures.float() / 127.5 - 1
    with torch.no_grad():
        recognizer.train().feature_extraction(pixels)
    recognizer.eval().ranges = calibrate(recognizer, pictures.split(8))
    small = quantize(recognizer)
    with torch.inference_mode():
        full, rounded = (r.feature_extraction(pixels) for r in (recognizer, small))
        again = recognizer.feature_extraction(pixels)
    # What rounding costs grows with the steps of the weights: they are twice as wide without VNNI.
    assert (rounded - full).norm() < 0.03 * 127 / largest_weight() * full.norm()
    assert not torch.equal(rounded, full)
    # What it was made of is as it was.
    assert torch.equal(again, full)


def test_the_largest_numbers_are_summed_exactly(recognizer_of):
    """Without VNNI, two products of them are more than the 16 bits that oneDNN adds them in."""
    recognizer = recognizer_of("None-VGG-None-CTC")
    first, second = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 32, 3)
    for layer in (first, second, recognizer.prediction.linear):
        nn.init.constant_(layer.weight, 1.0)
        nn.init.zeros_(layer.bias)
    recognizer.feature_extraction = Few(first, second)
    recognizer.eval()
    white = torch.full((2, 1, 32, 48), 255, dtype=torch.uint8)
    recognizer.ranges = calibrate(recognizer, [white])
    with torch.inference_mode():
        full, rounded = recognizer(white), quantize(recognizer)(white)
    torch.testing.assert_close(rounded, full, rtol=0.01, atol=0)


def _anew(layer):
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
    if isinstance(layer, nn.BatchNorm2d):
        layer.momentum = None  # One batch's own figures, at once.


def test_a_reading_does_not_depend_on_what_shares_its_batch(recognizer_of, images):
    recognizer = recognizer_of("None-ResNet-None-CTC").eval()
    pictures = images(6, 1, 32, 48)
    recognizer.ranges = calibrate(recognizer, [pictures])
    small = quantize(recognizer)
    with torch.inference_mode():
        together = small(pictures)
        alone = torch.cat([small(picture.unsqueeze(0)) for picture in pictures])
    assert torch.allclose(together, alone, atol=1e-4)


def test_bounds_heed_rare_values_little(recognizer_of, images):
    recognizer = recognizer_of("None-VGG-None-CTC").eval()
    ranges = calibrate(recognizer, [images(8, 1, 32, 48)])
    assert ranges["images"][0] >= -1
    assert ranges["images"][1] <= 1
    assert all(least <= 0 < most for least, most in ranges.values())


def test_the_file_keeps_the_bounds(eight_bit_file, images):
    back = open_model(eight_bit_file)
    assert back.ranges
    texts, _ = quantize(back).read(images(4, 1, 32, 48))
    assert len(texts) == 4


@pytest.mark.parametrize(
    "damage",
    [3, *({"images": bounds} for bounds in ([1], ["a", 1], [2, 1], [0, 10**400]))],
)
def test_damaged_bounds_are_told(damage, eight_bit_file):
    config = eight_bit_file.with_suffix(".json")
    record = json.loads(config.read_text("utf-8"))
    # Without its checksum the file counts as edited on purpose.
    del record["sha256"]
    config.write_text(json.dumps(record | {"ranges": damage}), encoding="utf-8")
    with pytest.raises(HanlineError, match=r"model\.json is damaged: its ranges"):
        open_model(eight_bit_file)


def test_bounds_of_another_model_are_told(eight_bit_file):
    recognizer = open_model(eight_bit_file)
    recognizer.ranges = {"images": (-1.0, 1.0)}
    with pytest.raises(HanlineError, match=r"lack .*another model"):
        quantize(recognizer)


def test_bounds_that_do_not_fit_leave_other_precisions(eight_bit_file, images, caplog):
    record = json.loads(eight_bit_file.with_suffix(".json").read_text("utf-8"))
    del record["sha256"]
    record["ranges"] = {f"other_{name}": bounds for name, bounds in record["ranges"].items()}
    eight_bit_file.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(HanlineError, match="another model"):
        Reader(eight_bit_file, "cpu", precision="int8")
    pictures = [picture[0].numpy() for picture in images(3, 1, 32, 48)]
    reader = Reader(eight_bit_file, "cpu")
    assert "not reading in 8 bits" in caplog.text
    assert "the ranges for 8 bits lack" in caplog.text
    expected = Reader(eight_bit_file, "cpu", precision=best_precision("cpu")[0])
    assert reader.read(pictures) == expected.read(pictures)


def test_export_tells_what_it_costs_and_predict_takes_it(checkpoint, folder, command, tmp_path):
    arguments = [
        f"checkpoint={checkpoint}",
        "format=safetensors",
        "output=small",
        "format.int8=true",
    ]
    without = command("export", *arguments)
    assert without.status == 1
    assert "dataset" in without.err
    done = command("export", *arguments, f"dataset={folder}")
    assert done.status == 0, done.err
    assert "10 samples: accuracy 100.00 %" in done.out
    assert "10 samples: accuracy" in (tmp_path / "small.safetensors.md").read_text("utf-8")
    done = command("predict", "checkpoint=small.safetensors", f"input={folder}")
    assert "accuracy 100.00 %" in done.out
    rows = list(read_gt(folder / "gt.txt"))
    reader = Reader(tmp_path / "small.safetensors", "cpu", precision="int8")
    assert [r.text for r in reader.read([row.image for row in rows])] == [r.label for r in rows]


def test_what_cannot_be_is_refused(checkpoint, recognizer_of, folder, images, command):
    done = command("predict", f"checkpoint={checkpoint}", f"input={folder}", "precision=int8")
    assert done.status == 1
    assert "hanline export" in done.err
    for case, why in (
        ("None-VGG-None-Attn", "no single layer"),
        ("TPS-VGG-None-CTC", "is learned"),
    ):
        with pytest.raises(HanlineError, match=why):
            calibrate(recognizer_of(case).eval(), [images(2, 1, 32, 48)])
    recognizer = recognizer_of("None-VGG-BiLSTM-CTC")
    for layer in (
        nn.Conv2d(1, 32, 3, padding=1, padding_mode="replicate"),
        nn.Conv2d(1, 32, 3, padding="same"),
        nn.Sequential(nn.Conv2d(1, 32, 3), Scaling()),
        nn.Sequential(nn.Conv2d(1, 32, 3), Branching()),
    ):
        recognizer.feature_extraction = Few(layer).eval()
        with pytest.raises(HanlineError, match="cannot read in 8 bits"):
            calibrate(recognizer, [images(2, 1, 32, 48)])
    with pytest.raises(HanlineError, match="no image"):
        calibrate(recognizer_of("None-VGG-None-CTC").eval(), [])
