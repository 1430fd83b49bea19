"""A module for runs under test: its loss is not finite in certain steps."""

from typing import Any

from torch import Tensor

from hanline.training.module import RecognizerModule


class DivergingModule(RecognizerModule):
    """Trains as :class:`RecognizerModule`, but loses some labels.

    Args:
        first, last: steps, counted from 0, in which the first label's loss is infinite.
    """

    def __init__(self, first: int, last: int, **given: Any) -> None:
        super().__init__(**given)
        self.first = first
        self.last = last

    def training_step(self, batch: Any, batch_index: int) -> dict[str, Tensor]:
        trained = super().training_step(batch, batch_index)
        if self.first <= self.global_step <= self.last:
            trained["loss"] = trained["loss"] * float("inf")
            trained["label_losses"][0] = float("inf")
        return trained
