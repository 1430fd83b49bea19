"""Two readers compared on the same samples, with an interval for the difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hanline.metrics.base import Metric, Readings

RESAMPLES = 2000
# Resampling takes this many at a time, so that memory is bounded.
_AT_A_TIME = 100


@dataclass(frozen=True)
class Gain:
    """How much better the second reader is than the first, in the metric's unit.

    Attributes:
        samples: how many both read.
        before, after: the metric of each.
        gain: positive if the second is better, whichever direction the metric has.
        low, high: the 95 % interval of the gain.
    """

    samples: int
    before: float
    after: float
    gain: float
    low: float
    high: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0


def paired_gain(
    metric: Metric,
    labels: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    seed: int = 0,
) -> Gain:
    """Compare two readers by a paired bootstrap.

    Samples are drawn with replacement, both readings of a sample together. So what makes a sample
    hard for both cancels out. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.

    Args:
        metric: a metric of readings.
        labels: N texts.
        before, after: what each reader read, N texts.
        seed: of the resampling.

    Raises:
        ValueError: there are no samples, or not as many readings.
    """
    if not labels or not len(labels) == len(before) == len(after):
        raise ValueError(f"{len(labels)} labels, {len(before)} and {len(after)} readings")
    pairs = (zip(labels, texts, strict=True) for texts in (before, after))
    sums = [
        np.array([metric.add(Readings([label], [text])) for label, text in pair]) for pair in pairs
    ]
    sign = 1 if metric.direction == "max" else -1

    def gains(weights: np.ndarray) -> np.ndarray:
        first, second = (_values(metric, weights @ part) for part in sums)
        return np.asarray(sign * (second - first))

    count = len(labels)
    random = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            gains(random.multinomial(count, np.full(count, 1 / count), _AT_A_TIME))
            for _ in range(RESAMPLES // _AT_A_TIME)
        ]
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    whole = np.ones((1, count), dtype=np.int64)
    before_value, after_value = (float(_values(metric, whole @ part)[0]) for part in sums)
    return Gain(
        count,
        before_value,
        after_value,
        sign * (after_value - before_value),
        float(low),
        float(high),
    )


def _values(metric: Metric, sums: np.ndarray) -> np.ndarray:
    return np.array(
        [metric.value(dict(zip(metric.sums, row, strict=True))) for row in sums.tolist()]
    )
