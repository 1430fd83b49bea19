"""Where letters are, as a training knows it of rendered samples."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Positions = Sequence[np.ndarray | None]
"""For each sample, float (len(label), 2): the left and right of each letter as shares of the width of
the image, NaN if its place is unknown; or None for a sample of which nothing is known."""


def letter_steps(positions: Positions, steps: int) -> Tensor:
    """Return the time step under the middle of each letter whose place is known.

    Two letters of one sample that fall on one step are both left out.

    Args:
        positions: as in :data:`Positions`.
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


def letter_spans(positions: Positions, letters: int, steps: int) -> Tensor:
    """Return which time steps lie under each letter.

    Args:
        positions: as in :data:`Positions`.
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
