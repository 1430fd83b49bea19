"""The sequence modeling with self-attention."""

import pytest
import torch

from hanline.errors import HanlineError
from hanline.models.sequence_modeling.transformer import Transformer
from hanline.models.transformer_parts import sinusoids

CONFIG = {
    "_target_": "hanline.models.sequence_modeling.transformer.Transformer",
    "out_channels": 32,
    "layers": 2,
    "heads": 4,
    "mlp_ratio": 2,
    "dropout": 0.0,
}


@pytest.fixture
def transformer(around):
    return around(sequence_modeling=CONFIG).sequence_modeling.eval()


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_lines_of_any_length_keep_their_steps(steps, transformer):
    assert transformer(torch.randn(3, steps, 32)).shape == (3, steps, 32)
    assert transformer.out_channels == 32


def test_each_step_looks_at_the_whole_line(transformer):
    features = torch.randn(1, 20, 32, requires_grad=True)
    transformer(features)[0, 0, 0].backward()
    assert (features.grad.abs().sum(dim=2) > 0).all()


def test_the_order_of_the_steps_counts(transformer):
    features = torch.randn(1, 20, 32)
    backwards = transformer(features.flip(1)).flip(1)
    assert (backwards - transformer(features)).abs().max() > 1e-2


def test_no_two_steps_have_one_position():
    waves = sinusoids(500, 64, torch.empty(0))
    assert waves.shape == (500, 64)
    assert torch.cdist(waves, waves).fill_diagonal_(1).min() > 0.1
    assert sinusoids(3, 7, torch.empty(0, dtype=torch.float64)).dtype == torch.float64


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(HanlineError, match="heads=5: expected a divisor"):
        Transformer(32, out_channels=32, layers=1, heads=5, mlp_ratio=2, dropout=0.0)


def test_it_trains(around, assert_trains):
    assert_trains(around(sequence_modeling=CONFIG))


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(around(sequence_modeling=CONFIG))


def test_onnxruntime_reads_the_same_at_any_width(around, assert_exported):
    assert_exported(around(width=None, sequence_modeling=CONFIG), (64, 96, 200))
