"""The sequence modeling with attention and convolutions."""

import pytest
import torch

from hanline.errors import HanlineError
from hanline.models.sequence_modeling.conformer import Conformer

CONFIG = {
    "_target_": "hanline.models.sequence_modeling.conformer.Conformer",
    "out_channels": 32,
    "layers": 1,
    "heads": 4,
    "mlp_ratio": 2,
    "kernel": 5,
    "dropout": 0.0,
}
NUMBERS = {key: value for key, value in CONFIG.items() if key != "_target_"}


@pytest.mark.parametrize("steps", [1, 7, 200])
@torch.inference_mode()
def test_lines_of_any_length_keep_their_steps(steps):
    assert Conformer(24, **NUMBERS).eval()(torch.randn(3, steps, 24)).shape == (3, steps, 32)


@pytest.mark.parametrize(
    "changes, message",
    [({"kernel": 4}, "kernel=4: expected an odd"), ({"heads": 5}, "heads=5: expected a divisor")],
)
def test_numbers_that_make_no_conformer_are_refused(changes, message):
    with pytest.raises(HanlineError, match=message):
        Conformer(24, **(NUMBERS | changes))


def test_it_trains(around, assert_trains):
    assert_trains(around(sequence_modeling=CONFIG))


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(around(sequence_modeling=CONFIG))
