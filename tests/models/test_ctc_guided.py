"""CTC with an attention decoder that only trains."""

import pytest
import torch

from hanline.errors import HanlineError

CONFIG = {
    "_target_": "hanline.models.prediction.ctc_guided.GuidedCTCPrediction",
    "hidden_size": 16,
    "weight": 1.0,
    "detach": False,
}


def gradient(recognizer, images, labels):
    recognizer.train().loss(images, labels).backward()
    return next(recognizer.feature_extraction.parameters()).grad


def test_it_reads_and_validates_as_ctc_does(around, drawn):
    guided, plain = around(prediction=CONFIG).eval(), around().eval()
    plain.load_state_dict(guided.state_dict(), strict=False)
    with torch.inference_mode():
        assert guided.read(drawn[0]) == plain.read(drawn[0])
        assert guided.loss(*drawn) == plain.loss(*drawn)
        assert guided.train().loss(*drawn) > plain.train().loss(*drawn)


def test_detached_ctc_leaves_the_features_to_attention(around, drawn):
    detached = gradient(around(prediction=CONFIG | {"detach": True}), *drawn)
    recognizer = around(prediction=CONFIG)
    features = recognizer.train().features(drawn[0])
    losses, counts = recognizer.prediction.guide.losses(features, drawn[1])
    (losses / counts).mean().backward()
    torch.testing.assert_close(detached, next(recognizer.feature_extraction.parameters()).grad)


def test_a_weight_of_0_is_refused(around):
    with pytest.raises(HanlineError, match="weight=0: expected a positive number"):
        around(prediction=CONFIG | {"weight": 0})


def test_it_trains(around, assert_trains):
    assert_trains(around(prediction=CONFIG))


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(around(prediction=CONFIG))
