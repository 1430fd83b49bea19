"""Schedulers of the learning rate: a factor for every step of the run."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Keep the optimizer's own learning rate."""
    return LambdaLR(optimizer, lambda step: 1.0)


def warmup_cosine(
    optimizer: Optimizer, steps: int, warmup_steps: int, final_factor: float
) -> LambdaLR:
    """Rise linearly to the optimizer's learning rate, then fall along half a cosine.

    Args:
        optimizer: its learning rate is the highest.
        steps: steps of the whole run.
        warmup_steps: steps until the highest learning rate, at most half of the run.
        final_factor: the last learning rate as a share of the highest.
    """
    warmup = min(warmup_steps, steps // 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor)


def one_cycle(
    optimizer: Optimizer, steps: int, rise: float, first_factor: float, final_factor: float
) -> LambdaLR:
    """Rise along half a cosine to the optimizer's learning rate, then fall along another.

    From Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates", 2019, with cosines in place of lines, as torch's ``OneCycleLR`` has it. That
    class does not let a resumed run become longer or shorter.

    Args:
        optimizer: its learning rate is the highest.
        steps: steps of the whole run.
        rise: the share of the run in which the learning rate rises.
        first_factor: the first learning rate as a share of the highest.
        final_factor: the last learning rate as a share of the highest.
    """
    top, last = rise * steps - 1, steps - 1

    def factor(step: int) -> float:
        if step <= top:
            return _between(first_factor, 1.0, step / top if top > 0 else 1.0)
        return _between(1.0, final_factor, min(1.0, (step - top) / max(1.0, last - top)))

    return LambdaLR(optimizer, factor)


def _between(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def step_decay(optimizer: Optimizer, steps: int, every: int, factor: float) -> LambdaLR:
    """Multiply the learning rate by ``factor`` after every ``every`` steps."""
    return LambdaLR(optimizer, lambda step: factor ** (step // every))
