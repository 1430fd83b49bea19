"""The mean loss of a validation."""

from collections.abc import Mapping, Sequence

import numpy as np

from hanline.metrics.base import Metric, Readings, ratio

MILLION = 1_000_000
# A label's loss counts as this at most, so that a sum stays within 64 bits.
LARGEST = 1_000_000


class Loss(Metric):
    """The prediction's own loss, a mean over its parts; NaN if one label's loss is not finite."""

    name = "loss"
    title = "loss"
    unit = ""
    decimals = 5
    direction = "min"
    sums = ("loss_millionths", "parts", "not_finite")
    needs_losses = True

    def add(self, readings: Readings) -> Sequence[int]:
        """Return the sum of losses in millionths, their parts, and how many are not finite."""
        if readings.losses is None or readings.loss_counts is None:
            raise ValueError("the metric loss needs the losses of the readings")
        finite = np.isfinite(readings.losses)
        counted = np.where(finite, readings.losses, 0).astype(np.float64).clip(max=LARGEST)
        total = np.rint(counted * MILLION).astype(np.int64).sum()
        return int(total), int(readings.loss_counts.sum()), int((~finite).sum())

    def value(self, sums: Mapping[str, int]) -> float:
        """Return the mean loss of a part."""
        if sums["not_finite"]:
            return float("nan")
        return ratio(sums["loss_millionths"] / MILLION, sums["parts"])
