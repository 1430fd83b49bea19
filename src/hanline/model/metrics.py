"""The metrics of a validation, summed so that several devices give the figures that one would."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from hanline.text.metrics import Comparison

# Similarities and losses are summed in millionths.
FRACTIONS = 1_000_000


class ReadingMetrics(Metric):
    """Accuracy, normalised edit distance and CER of readings, in percent, and the mean loss.

    All sums are whole numbers, so that no order of adding them up can change a figure.
    """

    full_state_update = False
    samples: Tensor
    correct: Tensor
    similarity: Tensor
    distance: Tensor
    characters: Tensor
    loss: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("samples", "correct", "similarity", "distance", "characters", "loss"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Sequence[str], texts: Sequence[str], loss: Tensor) -> None:
        """Add a batch: its labels, what was read, and its mean loss."""
        comparison = Comparison.of(labels, texts)
        self.samples += comparison.samples
        self.correct += comparison.correct
        self.similarity += round(comparison.similarity * FRACTIONS)
        self.distance += comparison.distance
        self.characters += comparison.characters
        self.loss += (loss.detach().float() * (comparison.samples * FRACTIONS)).round().long()

    def compute(self) -> dict[str, Tensor]:
        return {
            "samples": self.samples.float(),
            "accuracy": 100 * self.correct / self.samples,
            "norm_ed": 100 * self.similarity / FRACTIONS / self.samples,
            "cer": 100 * self.distance / self.characters,
            "loss": self.loss / FRACTIONS / self.samples,
        }
