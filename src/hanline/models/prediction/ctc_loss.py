"""The CTC loss where there are thousands of classes and a label has a dozen."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0


def ctc_losses(scores: Tensor, labels: list[list[int]]) -> Tensor:
    """Each label's CTC loss (Graves et al., ICML 2006).

    The alignments of a label concern its own classes and the blank only. Of all others the loss
    needs no more than that their probabilities are part of the sum; so they are left out of the
    alignment, whose cost then does not grow with the charset.

    Args:
        scores: (B, T, classes), raw; class 0 is the blank.
        labels: B lists of classes, none of them the blank.

    Returns:
        float32 (B,): minus the logarithm of each label's probability; 0, with no gradient, for a
        label that T steps cannot write.
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
    """As many classes for every label of a batch: some that it has not fill up, whichever."""
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
                # torch gives the gradient of the scores here, not of their logarithms: a class's
                # probability less its share of the alignments.
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
