"""The share of readings that are exactly right."""

from collections.abc import Mapping, Sequence

from hanline.metrics.base import Metric, Readings, ratio


class Accuracy(Metric):
    """Readings that equal their label, in percent."""

    name = "accuracy"
    title = "accuracy"
    direction = "max"
    sums = ("correct", "samples")

    def add(self, readings: Readings) -> Sequence[int]:
        """Return how many readings are right, and how many there are."""
        return len(readings) - len(readings.wrong[0]), len(readings)

    def value(self, sums: Mapping[str, int]) -> float:
        """Return the accuracy in percent."""
        return 100 * ratio(sums["correct"], sums["samples"])
