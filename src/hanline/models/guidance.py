"""What a training knows of its samples and a reading does not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """Hints for the loss of a batch. Without any, the loss is the one that validation reports.

    Attributes:
        positions: for each sample, float (len(label), 2): where each letter begins and ends, as
            shares of the image's width, NaN for letters whose place is unknown; or None for a
            sample of which nothing is known. An empty sequence if no sample has positions.
        align_weight: the weight of the loss that uses the positions, beside the prediction's own.
        sampled_classes: if given, the softmax has the classes of the batch's labels and this
            number of random others, which makes a step of thousands of classes cheaper.
    """

    positions: Sequence[np.ndarray | None] = field(default=())
    align_weight: float = 0.0
    sampled_classes: int | None = None

    @property
    def aligns(self) -> bool:
        """Whether there is anything to align with."""
        return self.align_weight > 0 and any(p is not None for p in self.positions)


def letter_steps(positions: Sequence[np.ndarray | None], steps: int) -> Tensor:
    """Return the time step under the middle of each letter whose place is known.

    Two letters of one sample that fall on one step are both left out.

    Args:
        positions: as in :class:`Guidance`.
        steps: T, the time steps of the features.

    Returns:
        int64 (N, 3): sample, letter and step.
    """
    found = []
    for sample, places in enumerate(positions):
        if places is None:
            continue
        middles = np.asarray(places, dtype=np.float64).mean(axis=1) * steps
        letters = np.flatnonzero(np.isfinite(middles))
        at = np.clip(np.floor(middles[letters]), 0, steps - 1).astype(np.int64)
        _, first, counts = np.unique(at, return_index=True, return_counts=True)
        alone = first[counts == 1]
        found.append(np.stack([np.full(len(alone), sample), letters[alone], at[alone]], axis=1))
    return torch.from_numpy(np.concatenate(found) if found else np.empty((0, 3), dtype=np.int64))


def letter_spans(positions: Sequence[np.ndarray | None], letters: int, steps: int) -> Tensor:
    """Return which time steps lie under each letter.

    Args:
        positions: as in :class:`Guidance`.
        letters: the most letters of a sample.
        steps: T, the time steps of the features.

    Returns:
        bool (B, letters, T): true from the step in which a letter begins to the one in which it
        ends; false throughout for a letter whose place is unknown.
    """
    spans = np.zeros((len(positions), letters, steps), dtype=bool)
    numbers = np.arange(steps)
    for sample, places in enumerate(positions):
        if places is None:
            continue
        begin, end = np.asarray(places, dtype=np.float64).T * steps
        with np.errstate(invalid="ignore"):
            under = (numbers >= np.floor(begin)[:, None]) & (numbers < np.ceil(end)[:, None])
        spans[sample, : len(under)] = under[:letters]
    return torch.from_numpy(spans)
