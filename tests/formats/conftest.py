"""Small recognisers of DTRB's 24 architectures, whose readings are sure and differ by image."""

import pytest
import torch
from support.dtrb import HANGUL
from torch import nn

from hanline.models.recognizer import Recognizer


@pytest.fixture(scope="session")
def images():
    """Makes B images, uint8 (B, C, H, W): waves and noise, each image other ones."""

    def make(count, channels, height, width):
        random = torch.Generator().manual_seed(5)
        x, y = torch.arange(width), torch.arange(height).unsqueeze(1)
        waves = [
            torch.sin(x * (0.05 + 0.02 * (i % 17)) + y * 0.1 * (i % 5) + i) for i in range(count)
        ]
        noise = torch.randn(count, channels, height, width, generator=random)
        pictures = 128 + 70 * torch.stack(waves).unsqueeze(1) + 20 * noise
        return pictures.clamp(0, 255).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def recognizer_of(images):
    """Builds a recogniser of one of the 24, its normalisations set as if it had been trained."""

    def make(
        case,
        charset=HANGUL,
        image=(32, 48, 1),
        keep_ratio=False,
        layers=2,
        iterations=5,
        hidden=16,
    ):
        transformation, feature_extraction, sequence_modeling, prediction = case.split("-")
        package = "hanline.models"
        with torch.random.fork_rng():
            torch.manual_seed(3)
            recognizer = Recognizer(
                transformation={"_target_": f"{package}.transformation.tps.TPS", "num_fiducial": 8}
                if transformation == "TPS"
                else {"_target_": f"{package}.transformation.none.NoTransformation"},
                feature_extraction={
                    "_target_": f"{package}.feature_extraction.{feature_extraction.lower()}."
                    f"{feature_extraction}",
                    "out_channels": 32,
                }
                | ({"iterations": iterations} if feature_extraction == "RCNN" else {}),
                sequence_modeling={
                    "_target_": f"{package}.sequence_modeling.bilstm.BiLSTM",
                    "hidden_size": hidden,
                    "out_channels": hidden,
                    "layers": layers,
                }
                if sequence_modeling == "BiLSTM"
                else {"_target_": f"{package}.sequence_modeling.none.NoSequenceModeling"},
                prediction={"_target_": f"{package}.prediction.ctc.CTCPrediction"}
                if prediction == "CTC"
                else {
                    "_target_": f"{package}.prediction.attention.AttentionPrediction",
                    "hidden_size": hidden,
                },
                charset=charset,
                image=dict(zip(("height", "width", "channels"), image, strict=True))
                | {"keep_ratio": keep_ratio},
                max_label_length=7,
            )
            for name, parameter in recognizer.named_parameters():
                if name.startswith(("sequence_modeling", "prediction")) and parameter.dim() > 1:
                    parameter.data *= 3
            for module in recognizer.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None  # One batch's own figures, at once.
            with torch.no_grad():
                recognizer.train().features(images(16, image[2], image[0], image[1] or 96))
        return recognizer.eval()

    return make


@pytest.fixture
def folder(words, picture, tmp_path):
    """Pictures of ten words, with their gt.txt."""
    place = tmp_path / "pictures"
    place.mkdir()
    for i, word in enumerate(words):
        picture(word).save(place / f"{i}.png")
    lines = [f"{i}.png\t{word}\n" for i, word in enumerate(words)]
    (place / "gt.txt").write_text("".join(lines), encoding="utf-8")
    return place
