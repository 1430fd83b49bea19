"""Sums of all metrics over readings, and the values that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hanline.metrics.base import Readings
from hanline.metrics.registry import metrics, reading_metrics


@dataclass(frozen=True)
class Comparison:
    """Readings compared with their labels, by every metric that needs no losses.

    Attributes:
        samples: pairs of a label and a reading.
        sums: by metric, then by the sum's name; those of several comparisons add up.
    """

    samples: int
    sums: dict[str, dict[str, int]]

    @classmethod
    def of(cls, labels: Sequence[str], texts: Sequence[str]) -> "Comparison":
        """Compare N readings with their N labels.

        Raises:
            ValueError: they are not equally many.
        """
        readings = Readings(labels, texts)
        sums = {
            name: dict(zip(metric.sums, metric.add(readings), strict=True))
            for name, metric in reading_metrics().items()
        }
        return cls(len(readings), sums)

    def __getitem__(self, name: str) -> float:
        """Return a metric's value by the metric's name."""
        return metrics()[name].value(self.sums[name])

    @property
    def values(self) -> dict[str, float]:
        """Each metric's value by the metric's name."""
        return {name: self[name] for name in self.sums}
