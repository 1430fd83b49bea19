"""The CTC loss for thousands of classes, of which a label has a dozen."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0


def ctc_losses(scores: Tensor, labels: list[list[int]]) -> Tensor:
    """Return each label's CTC loss (Graves et al., ICML 2006).

    Aligning a label involves only its own classes and the blank. All other classes matter only in
    the denominator of the softmax, so their columns are dropped before the alignment.

    Args:
        scores: (B, T, classes), raw; class 0 is the blank.
        labels: B lists of classes, none of them the blank.

    Returns:
        float32 (B,): the negative logarithm of each label's probability. It is 0, without a
        gradient, for a label that T steps cannot write.
    """
    present = [[BLANK, *dict.fromkeys(label)] for label in labels]
    count = max(map(len, present))
    columns = [_padded(classes, count, scores.shape[2]) for classes in present]
    places = [{c: i for i, c in enumerate(classes)} for classes in present]
    targets = [place[c] for place, label in zip(places, labels, strict=True) for c in label]
    losses: Tensor = _CTCLosses.apply(
        scores,
        torch.tensor(columns, device=scores.device),
        torch.tensor(targets, dtype=torch.int64, device=scores.device),
        torch.tensor([len(label) for label in labels]),
    )
    return losses


def _padded(present: list[int], count: int, classes: int) -> list[int]:
    """Pad a label's classes to ``count`` with classes that it does not have."""
    free = (c for c in range(1, classes) if c not in set(present))
    return present + [next(free, BLANK) for _ in range(count - len(present))]


class _CTCLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, columns: Tensor, targets: Tensor, lengths: Tensor
    ) -> Tensor:
        steps = scores.shape[1]
        logarithms = scores.log_softmax(dim=2, dtype=torch.float32)
        index = columns.unsqueeze(1).expand(-1, steps, -1)
        with torch.enable_grad():
            own = logarithms.gather(2, index).requires_grad_()
            losses = F.ctc_loss(
                own.transpose(0, 1),
                targets,
                torch.full((len(columns),), steps),
                lengths,
                reduction="none",
                zero_infinity=True,
            )
            if ctx.needs_input_grad[0]:
                # Here torch returns the gradient of the scores, not of their logarithms: a class's
                # probability minus its share of the alignments.
                (gradient,) = torch.autograd.grad(losses.sum(), own)
                writable = (losses.detach() > 0).to(logarithms.dtype)
                ctx.save_for_backward(logarithms, index, gradient, writable)
                ctx.scores_dtype = scores.dtype
        return losses.detach()

    @staticmethod
    def backward(ctx: Any, losses_gradient: Tensor) -> tuple[Tensor, None, None, None]:
        logarithms, index, gradient, writable = ctx.saved_tensors
        # A class that is not in the label has no share of the alignments.
        dense = logarithms.exp().mul_(writable.view(-1, 1, 1))
        dense.scatter_(2, index, gradient).mul_(losses_gradient.view(-1, 1, 1))
        return dense.to(ctx.scores_dtype), None, None, None
