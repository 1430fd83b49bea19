"""What the tests of every newer stage share: recognizers around a config, and what they must do."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from hanline.formats.onnx.export import exported
from hanline.formats.registry import open_model
from hanline.formats.safetensors import Safetensors
from hanline.models.recognizer import Recognizer

COMPACT = {
    "_target_": "hanline.models.feature_extraction.compact.Compact",
    "channels": [8, 16, 32, 32],
    "blocks": [0, 0, 1],
}


@pytest.fixture
def around(words):
    """Build a recognizer around the stages that a test gives, the others small."""

    def build(width=96, **stages):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Recognizer(
                **{
                    "transformation": {
                        "_target_": "hanline.models.transformation.none.NoTransformation"
                    },
                    "feature_extraction": COMPACT,
                    "sequence_modeling": {
                        "_target_": "hanline.models.sequence_modeling.none.NoSequenceModeling"
                    },
                    "prediction": {"_target_": "hanline.models.prediction.ctc.CTCPrediction"},
                }
                | stages,
                charset="".join(sorted({*"".join(words)})),
                image={
                    "height": 32,
                    "width": width,
                    "channels": 1,
                    "keep_ratio": width is None,
                },
                max_label_length=8,
            )

    return build


@pytest.fixture
def drawn(words, picture):
    """Eight rendered words: their images (8, 1, 32, 96), and their labels."""
    chosen = words[:8]
    pixels = np.stack([np.asarray(picture(word)) for word in chosen])
    return torch.from_numpy(pixels).unsqueeze(1), chosen


@pytest.fixture
def assert_trains(drawn):
    """Check that every weight has a gradient, and that steps on eight words lower the loss."""

    def check(recognizer, steps=12, lr=1e-3, share=0.8):
        images, labels = drawn
        torch.manual_seed(1)
        optimizer = torch.optim.AdamW(recognizer.train().parameters(), lr=lr)
        losses = []
        for step in range(steps):
            loss = recognizer.loss(images, labels)
            optimizer.zero_grad()
            loss.backward()
            if step == 1:
                for name, parameter in recognizer.named_parameters():
                    assert parameter.grad is not None, name
                    assert parameter.grad.isfinite().all(), name
                    assert parameter.grad.abs().max() > 0, name
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < share * losses[0], losses

    return check


@pytest.fixture
def assert_stored(tmp_path, drawn):
    """Check that a safetensors file gives the same scores."""

    def check(recognizer):
        images, _ = drawn
        path: Path = tmp_path / "model.safetensors"
        Safetensors().save(path, recognizer.eval(), {})
        back = open_model(path).eval()
        assert back.spec == recognizer.spec
        with torch.inference_mode():
            assert torch.equal(back(images), recognizer(images))
            assert back.read(images) == recognizer.read(images)

    return check


@pytest.fixture
def assert_exported(tmp_path, images):
    """Check that onnxruntime finds the classes of torch, at each of several widths."""

    def check(recognizer, widths):
        path = tmp_path / "model.onnx"
        path.write_bytes(exported(recognizer.eval()).SerializeToString())
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for width in widths:
            pictures = images(3, 1, recognizer.spec["image"]["height"], width)
            classes, probabilities = session.run(None, {"images": pictures.numpy()})
            with torch.inference_mode():
                features = recognizer.features(pictures)
                expected, sure = recognizer.prediction.best_classes(features)
            assert np.array_equal(classes, expected.numpy())
            assert np.allclose(probabilities, sure.numpy(), atol=1e-4)

    return check
