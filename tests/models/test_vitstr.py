"""The prediction whose first character is in the first step, and the class token for it."""

import pytest
import torch
from models.test_parseq import FEATURES

from hanline.errors import HanlineError

PREDICTION = {"_target_": "hanline.models.prediction.vitstr.ViTSTRPrediction"}


@pytest.fixture
def recognizer(around):
    return around(feature_extraction=FEATURES | {"class_token": True}, prediction=PREDICTION)


def test_the_class_token_changes_what_is_read_and_is_no_step(recognizer, drawn):
    recognizer.eval()
    with torch.no_grad():
        before = recognizer.features(drawn[0])
        recognizer.feature_extraction.token += torch.randn(32)
        after = recognizer.features(drawn[0])
    assert before.shape == after.shape == (8, 48, 32)
    assert (before - after).abs().max() > 1e-5


def test_features_with_too_few_steps_are_refused(recognizer):
    with pytest.raises(HanlineError, match="max_label_length=8: expected at most 4"):
        recognizer.prediction(torch.zeros(1, 5, 32))


def test_a_label_that_is_too_long_is_refused(recognizer):
    with pytest.raises(HanlineError, match="max_label_length=8: expected labels"):
        recognizer.prediction.losses(torch.zeros(1, 20, 32), ["111111111"])


def test_it_trains(recognizer, assert_trains):
    assert_trains(recognizer, steps=20, lr=8e-3)


def test_a_stored_one_reads_the_same(recognizer, assert_stored):
    assert_stored(recognizer)
