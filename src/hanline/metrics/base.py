"""The contract of a metric, and the readings that it judges."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import ne
from typing import ClassVar, Literal

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Readings:
    """Labels, what was read for them, and what metrics share about the wrong ones.

    Attributes:
        labels, texts: N each.
        losses: each label's loss, (N,), or None if it was not computed.
        loss_counts: the number of parts in each loss, (N,), as :meth:`Prediction.losses` counts.
    """

    labels: Sequence[str]
    texts: Sequence[str]
    losses: np.ndarray | None = None
    loss_counts: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.texts):
            raise ValueError(f"{len(self.labels)} labels, but {len(self.texts)} readings")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def wrong(self) -> tuple[list[str], list[str]]:
        """The labels that were misread, and what was read for each."""
        is_wrong = list(map(ne, self.labels, self.texts))
        return list(compress(self.labels, is_wrong)), list(compress(self.texts, is_wrong))

    @cached_property
    def distances(self) -> np.ndarray:
        """The edit distance of each wrong reading, in characters."""
        return cpdist(*self.wrong, scorer=Levenshtein.distance, dtype=np.int32)


class Metric(ABC):
    """A number that says how good readings are.

    A metric is the quotient or the like of whole-number sums. Sums of batches, and of devices, add
    up to the sums of all readings, in any order. So a metric's value depends on neither.

    Attributes:
        name: the key in configs, logs, JSON and checkpoints, and in ``best_<name>.ckpt``.
        title: the heading of a table's column.
        unit: what follows a value in prose, with a space before it where one belongs.
        decimals: digits after the point in prose and tables.
        direction: ``max`` if higher is better, ``min`` if lower is.
        sums: the sums by name, in the order of :meth:`add`.
        needs_losses: whether ``Readings.losses`` must be there.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = " %"
    decimals: ClassVar[int] = 2
    direction: ClassVar[Direction]
    sums: ClassVar[tuple[str, ...]]
    needs_losses: ClassVar[bool] = False

    @abstractmethod
    def add(self, readings: Readings) -> Sequence[int]:
        """Return the sums over some readings, each within 64 bits."""

    @abstractmethod
    def value(self, sums: Mapping[str, int]) -> float:
        """Return the metric's value for sums by name; NaN if they are of no readings."""

    def is_better(self, one: float, other: float) -> bool:
        """Return whether a value is better than another; every number is better than NaN."""
        if math.isnan(one) or math.isnan(other):
            return not math.isnan(one) and math.isnan(other)
        return one > other if self.direction == "max" else one < other

    def text(self, value: float) -> str:
        """Render a value with its unit."""
        return f"{value:.{self.decimals}f}{self.unit}"


def ratio(part: float, whole: float) -> float:
    """Return a quotient; NaN if the divisor is 0."""
    return part / whole if whole else float("nan")
