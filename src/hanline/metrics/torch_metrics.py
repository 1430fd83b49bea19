"""The metrics of a validation, summed so that several devices give the figures that one would."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hanline.metrics.text_metrics import MILLION, Comparison

# What counts of a label's loss at most, so that the sum stays a 64-bit number.
LARGEST = 1_000_000
# Readings are added up when there are so many: adding takes longer than comparing 192 of them.
_AT_A_TIME = 8192


class ReadingMetrics(Metric):
    """Accuracy, normalised edit distance and CER of readings, in percent, and the mean loss.

    All sums are whole numbers, so that no order of adding them up can change a figure. A loss that
    is not finite makes the mean NaN.
    """

    full_state_update = False
    samples: Tensor
    correct: Tensor
    similarity: Tensor
    distance: Tensor
    characters: Tensor
    loss: Tensor
    loss_count: Tensor
    not_finite: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in (
            *("samples", "correct", "similarity", "distance", "characters"),
            *("loss", "loss_count", "not_finite"),
        ):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._forget()

    def update(
        self, labels: Sequence[str], texts: Sequence[str], losses: Tensor, counts: Tensor
    ) -> None:
        """Add a batch: its B labels and what was read.

        Args:
            labels, texts: B each.
            losses, counts: (B,) each, as :meth:`Prediction.losses` gives them.
        """
        if len(labels) != len(texts):
            raise ValueError(f"{len(labels)} labels, but {len(texts)} readings")
        # Where `+=` sets an attribute, a module takes microseconds.
        self._labels.extend(labels)
        self._texts.extend(texts)
        self._losses.append(losses.detach())
        self._counts.append(counts)
        if len(self._labels) >= _AT_A_TIME:
            self._add()

    def forward(self, *batch: Any) -> Any:
        self._add()
        return super().forward(*batch)

    def sync(self, *how: Any, **named: Any) -> None:
        # Also comes before compute() where there is one device.
        self._add()
        super().sync(*how, **named)

    def reset(self) -> None:
        self._forget()
        super().reset()

    def _forget(self) -> None:
        self._labels: list[str] = []
        self._texts: list[str] = []
        self._losses: list[Tensor] = []
        self._counts: list[Tensor] = []

    def _add(self) -> None:
        """Add what has come since the last time to the sums."""
        if not self._labels:
            return
        comparison = Comparison.of(self._labels, self._texts)
        self.samples += comparison.samples
        self.correct += comparison.correct
        self.similarity += comparison.similarity
        self.distance += comparison.distance
        self.characters += comparison.characters
        losses = torch.cat(self._losses).float()
        # No whole number stands for NaN and infinity.
        finite = losses.isfinite()
        counted = losses.where(finite, 0).clamp(max=LARGEST)
        self.loss += (counted * MILLION).round().long().sum()
        self.loss_count += torch.cat(self._counts).sum()
        self.not_finite += (~finite).sum()
        self._forget()

    def compute(self) -> dict[str, Tensor]:
        loss = self.loss / MILLION / self.loss_count
        return {
            "samples": self.samples.float(),
            "accuracy": 100 * self.correct / self.samples,
            "norm_ed": 100 * self.similarity / MILLION / self.samples,
            "cer": 100 * self.distance / self.characters,
            "loss": loss.where(self.not_finite == 0, torch.nan),
        }
