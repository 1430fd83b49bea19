"""Whether confidences mean what they say."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from hanline.errors import HanlineError
from hanline.models.confidence import ConfidenceScale, log_odds

_BINS = 10
# Shares of the lines, the surest first, of which the risk is shown, in percent.
_COVERAGES = (50, 80, 90, 95, 100)
# The share of the least sure lines among which the wrong ones are sought, in percent.
_LEAST_SURE = 10
# Temperatures that are tried, from 1/20 to 20 on a scale of equal ratios.
_TEMPERATURES = np.geomspace(1 / 20, 20, 601)


@dataclass(frozen=True)
class Bin:
    """The lines whose confidences lie in one tenth.

    Attributes:
        low, high: the bounds of the confidence, 0 to 1. ``high`` belongs to the last bin only.
        samples: the number of lines.
        confidence: their mean confidence, in percent; 0 if there are none.
        accuracy: how many of them are right, in percent; 0 if there are none.
    """

    low: float
    high: float
    samples: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How well the confidences of lines predict which lines are right.

    Attributes:
        bins: the reliability table.
        error: the expected calibration error in percentage points, the mean distance between a
            bin's confidence and its accuracy, weighted by its samples (Guo et al., "On Calibration
            of Modern Neural Networks", ICML 2017).
        risk: how many of the surest lines are wrong, in percent, by how many are taken, in percent.
            Lines of one confidence are taken in the order of the dataset.
        found: how many of the wrong lines are among the least sure 10 %, in percent; 0 if no line
            is wrong.
        temperature: T such that the T-th root of the confidences fits these lines best, by the
            logarithmic loss. Above 1 the reader is too modest.
        scaled_error: ``error`` after that. It is measured on the lines that T was fitted to.
    """

    bins: tuple[Bin, ...]
    error: float
    risk: dict[int, float]
    found: float
    temperature: float
    scaled_error: float

    def as_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def calibration(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Compare the confidences of lines with whether they are right.

    Args:
        confidences: one for each line, 0 to 1; at least one.
        right: whether each line was read right.
    """
    sure, true = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=bool)
    bins = _bins(sure, true)
    order = np.argsort(-sure, kind="stable")
    wrong = ~true[order]
    least = max(1, round(len(wrong) * _LEAST_SURE / 100))
    temperature = _temperature(sure, true)
    return Calibration(
        bins,
        _error(bins),
        {
            share: 100 * float(wrong[: max(1, round(len(wrong) * share / 100))].mean())
            for share in _COVERAGES
        },
        100 * float(wrong[-least:].sum() / max(1, wrong.sum())),
        temperature,
        _error(_bins(sure ** (1 / temperature), true)),
    )


def fit_scale(least: Sequence[float], right: Sequence[bool]) -> ConfidenceScale:
    """Fit what makes chances of the least sure characters, by the logarithmic loss.

    Args:
        least: the probability of each line's least sure character.
        right: whether each line was read right.

    Raises:
        HanlineError: all lines are right, or all are wrong, or the surer ones are wrong more often.
    """
    true = np.asarray(right, dtype=np.float64)
    if not 0 < true.sum() < len(true):
        raise HanlineError(
            f"dataset=: expected lines of which some are read right and some wrong, but "
            f"{int(true.sum())} of {len(true)} are right. Give one with harder or easier lines too"
        )
    features = np.stack([log_odds(np.asarray(least)), np.ones(len(true))], axis=1)
    weights = np.zeros(2)
    # Newton's method. The small pull to 0 keeps it finite where no line is on the wrong side.
    for _ in range(_NEWTON_STEPS):
        chances = 1 / (1 + np.exp(-features @ weights))
        slope = features.T @ (true - chances) - _PULL * weights
        curve = (features * (chances * (1 - chances))[:, None]).T @ features
        step = np.linalg.solve(curve + _PULL * np.eye(2), slope)
        weights += step * min(1.0, 2 / np.abs(step).max().clip(1e-12))
    if weights[0] <= 0:
        raise HanlineError(
            "dataset=: expected lines of which the surer ones are right more often, but they are "
            "not. Give more lines, of the kind that will be read"
        )
    return ConfidenceScale(float(weights[0]), float(weights[1]))


_NEWTON_STEPS, _PULL = 50, 0.1


def print_calibration(made: Calibration) -> None:
    """Print the reliability table, the error, and the risk by coverage."""
    table = Table("confidence", "samples", "mean %", "right %", box=None, pad_edge=False)
    for row in made.bins:
        values = [f"{row.confidence:.1f}", f"{row.accuracy:.1f}"] if row.samples else ["-", "-"]
        table.add_row(f"{row.low:.1f}–{row.high:.1f}", str(row.samples), *values)
    Console().print(table)
    print(
        f"expected calibration error {made.error:.2f} points; {made.scaled_error:.2f} with the "
        f"temperature {made.temperature:.2f}, fitted on these lines"
    )
    for share, risk in made.risk.items():
        print(f"of the {share} % surest lines {risk:.2f} % are wrong")
    print(f"of the wrong lines {made.found:.1f} % are among the {_LEAST_SURE} % least sure")


def _bins(sure: np.ndarray, true: np.ndarray) -> tuple[Bin, ...]:
    numbers = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    made = []
    for number in range(_BINS):
        inside = numbers == number
        count = int(inside.sum())
        confidence, accuracy = (
            (100 * float(values[inside].mean()) if count else 0.0) for values in (sure, true)
        )
        made.append(Bin(number / _BINS, (number + 1) / _BINS, count, confidence, accuracy))
    return tuple(made)


def _error(bins: Sequence[Bin]) -> float:
    samples = sum(row.samples for row in bins)
    return sum(row.samples * abs(row.confidence - row.accuracy) for row in bins) / samples


def _temperature(sure: np.ndarray, true: np.ndarray) -> float:
    """Return the temperature with the least logarithmic loss."""
    logarithms = np.log(sure.clip(1e-12, 1 - 1e-9)) / _TEMPERATURES[:, None]
    losses = -np.where(true, logarithms, np.log(-np.expm1(logarithms))).mean(axis=1)
    return float(_TEMPERATURES[losses.argmin()])
