"""The places of letters are a part of the loss at first, and then no more."""

from functools import partial

import numpy as np
import pytest
import torch

from hanline.data.base import Batch
from hanline.errors import HanlineError
from hanline.training.module import RecognizerModule
from hanline.training.schedulers import constant


@pytest.fixture
def step(make_recognizer, monkeypatch):
    """Return the loss of a batch at a step of the run."""

    def take(number, positions, **settings):
        torch.manual_seed(3)
        module = RecognizerModule(
            make_recognizer(), partial(torch.optim.SGD, lr=0.1), constant, **settings
        )
        monkeypatch.setattr(RecognizerModule, "global_step", number)
        monkeypatch.setattr(module, "log", lambda *logged, **options: None)
        image = module.recognizer.spec["image"]
        shape = (2, image["channels"], image["height"], image["width"])
        images = torch.randint(0, 255, shape, dtype=torch.uint8)
        labels = [module.recognizer.charset.characters[:2]] * 2
        return float(module.training_step(Batch(images, labels, positions), 0)["loss"].detach())

    return take


KNOWN = [np.array([[0.0, 0.5], [0.5, 1.0]], dtype=np.float32), None]


def test_its_weight_falls_to_nothing(step):
    plain = step(0, None, align_weight=2.0, align_steps=10)
    first, half, last = (step(n, KNOWN, align_weight=2.0, align_steps=10) for n in (0, 5, 10))
    assert first > half > plain
    assert first - plain == pytest.approx(2 * (half - plain), rel=1e-3)
    assert last == step(99, KNOWN, align_weight=2.0, align_steps=10) == plain


@pytest.mark.parametrize("off", [{"align_weight": 0.0, "align_steps": 10}, {"align_weight": 1.0}])
def test_it_can_be_left_out(step, off):
    assert step(0, KNOWN, **off) == step(0, None, **off)


@pytest.mark.parametrize("wrong", [{"align_weight": float("nan")}, {"align_steps": -1}])
def test_a_wrong_number_is_refused(step, wrong):
    with pytest.raises(HanlineError, match=r"module\.align_weight"):
        step(0, KNOWN, **wrong)
