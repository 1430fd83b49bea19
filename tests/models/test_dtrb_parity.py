"""All 24 architectures give what DTRB's own code gives at the same weights."""

import pytest
import torch
from support.dtrb import (
    CONFIG,
    REFERENCE,
    as_compared,
    assert_matches,
    build,
    formula_weights,
)

from hanline.formats.dtrb import recognizer_state

pytestmark = pytest.mark.processor


def test_the_reference_covers_all_24() -> None:
    assert len(REFERENCE["cases"]) == 24


@pytest.mark.parametrize("case", REFERENCE["cases"])
@torch.inference_mode()
def test_equals_dtrb(case: str) -> None:
    model = build(case)
    model.load_state_dict(recognizer_state(formula_weights(case)))
    model, images, tolerance = as_compared(case, model)
    expected = REFERENCE["cases"][case]
    if "rectified" in expected:
        assert_matches(model.transformation(images), expected["rectified"])
    if "logits" in expected:
        assert_matches(model(images), expected["logits"], tolerance)
        return
    features = model.features(images)
    steps = CONFIG["batch_max_length"] + 1
    characters = torch.arange(CONFIG["batch"] * steps).reshape(CONFIG["batch"], -1) * 7
    teacher_forced, _ = model.prediction.teacher_forced(features, characters % CONFIG["num_class"])
    assert_matches(teacher_forced, expected["teacher_forced"], tolerance)
    assert_matches(model.prediction(features, stop_early=False), expected["greedy"], tolerance)


@pytest.mark.parametrize("case", ["None-VGG-None-CTC", "TPS-ResNet-BiLSTM-Attn"])
def test_every_tensor_of_dtrb_has_a_place(case: str) -> None:
    ours = set(build(case).state_dict())
    assert set(recognizer_state(formula_weights(case))) == ours
