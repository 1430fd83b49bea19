"""The CTC loss over a label's own classes equals torch's over all of them."""

import pytest
import torch
import torch.nn.functional as F

from hanline.models.prediction.ctc_loss import ctc_losses

LABELS = [[1, 2, 2, 7], [5], [3, 3, 3, 3, 3, 3], [9, 8, 7, 6, 5, 4, 3, 2, 1]]


def torchs_losses(scores: torch.Tensor) -> torch.Tensor:
    return F.ctc_loss(
        scores.log_softmax(2).transpose(0, 1),
        torch.tensor([c for label in LABELS for c in label]),
        torch.full((len(LABELS),), scores.shape[1]),
        torch.tensor([len(label) for label in LABELS]),
        reduction="none",
        zero_infinity=True,
    )


@pytest.mark.parametrize("classes", [10, 400])
def test_losses_and_gradients_equal_torchs(classes: int) -> None:
    torch.manual_seed(0)
    # 10 steps: the third label, with a blank between its repeats, cannot be written.
    scores = torch.randn(len(LABELS), 10, classes, requires_grad=True)
    weights = torch.tensor([0.5, 2.0, 3.0, 1.0])
    expected = torchs_losses(scores)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), scores)
    losses = ctc_losses(scores, LABELS)
    (gradient,) = torch.autograd.grad((losses * weights).sum(), scores)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert losses[2] == 0
    assert not gradient[2].any()


def test_no_gradient_is_computed_where_none_is_wanted() -> None:
    with torch.inference_mode():
        scores = torch.randn(len(LABELS), 20, 50)
        torch.testing.assert_close(ctc_losses(scores, LABELS), torchs_losses(scores))
