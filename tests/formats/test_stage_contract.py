"""What formats and 8-bit reading ask of stages, by the contract of ``models/stage.py`` alone."""

import numpy as np
import pytest
import torch
from torch import nn

from hanline.configs import STAGES
from hanline.errors import HanlineError
from hanline.formats.easyocr import refuse_unfit
from hanline.formats.easyocr_module import module_source
from hanline.formats.onnx import Onnx
from hanline.formats.onnx.runtime import decode
from hanline.models.prediction.ctc import CTCPrediction
from hanline.quantization.torch_int8 import calibrate, unsupported_reason


class OwnPrediction(CTCPrediction):
    """One of someone else's: decodes as CTC does, by a layer of another name."""

    score_layer = "head"

    def __init__(self, in_channels, charset):
        super().__init__(in_channels, charset, 8)
        self.head = self.linear
        del self.linear

    def forward(self, features):
        return self.head(features)


@pytest.fixture
def recognizer(recognizer_of):
    return recognizer_of("None-VGG-None-CTC", image=(32, 96, 1), keep_ratio=True)


def test_a_prediction_by_another_layer_is_carried(recognizer, images):
    recognizer.prediction = OwnPrediction(
        recognizer.sequence_modeling.out_channels, recognizer.charset
    )
    refuse_unfit(recognizer)
    assert "self.prediction.head = nn.Linear(" in module_source(recognizer)
    assert unsupported_reason(recognizer) is None
    assert "prediction" in calibrate(recognizer, [images(4, 1, 32, 96)])


def test_a_prediction_without_a_layer_of_scores_is_refused(recognizer):
    recognizer.prediction.score_layer = None
    assert "no single layer" in unsupported_reason(recognizer)
    with pytest.raises(HanlineError, match="by CTC alone"):
        refuse_unfit(recognizer)


def test_a_prediction_without_a_decoding_is_refused(recognizer, tmp_path):
    recognizer.prediction.decoding = None
    with pytest.raises(HanlineError, match="expected a prediction with a decoding"):
        Onnx().save(tmp_path / "model.onnx", recognizer, {})
    with pytest.raises(HanlineError, match="by CTC alone"):
        refuse_unfit(recognizer)


def test_a_transformation_with_weights_is_not_read_in_8_bits(recognizer):
    recognizer.transformation.scale = nn.Linear(1, 1)
    assert "transformation is learned" in unsupported_reason(recognizer)


@pytest.mark.parametrize("prediction", ["CTC", "Attn"])
def test_the_decoding_says_how_the_classes_become_texts(prediction, recognizer_of, images):
    recognizer = recognizer_of(f"None-VGG-None-{prediction}")
    decoding = recognizer.prediction.decoding
    assert decoding["first_character"] == recognizer.prediction.special_classes
    assert ("blank" in decoding) != ("end" in decoding)
    pictures = images(30, 1, 32, 48)
    with torch.inference_mode():
        scores = recognizer(pictures)
        texts, confidences = recognizer.prediction.decode(scores)
        probabilities, classes = scores.softmax(dim=2).max(dim=2)
    if prediction == "Attn":
        # The graph always has all steps; those after the end have its class.
        missing = recognizer.prediction.steps - classes.shape[1]
        classes = torch.nn.functional.pad(classes, (0, missing), value=decoding["end"])
        probabilities = torch.nn.functional.pad(probabilities, (0, missing), value=1.0)
    charset = recognizer.charset.characters
    decoded, sure = decode(classes.numpy(), probabilities.numpy(), decoding, charset)
    assert decoded == texts
    assert np.allclose(sure, confidences, atol=1e-5)


def test_the_stages_are_the_parts_of_a_recognizer(recognizer):
    assert [name for name, _ in recognizer.named_children()] == list(STAGES)
