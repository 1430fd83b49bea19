"""A warning, with its likely cause, of a model that goes on reading nothing."""

import logging
from typing import Any

import pytorch_lightning as pl

from hanline.data.base import Batch
from hanline.errors import HanlineError

logger = logging.getLogger(__name__)
# Readings of which this share is empty count as blanks only.
EMPTY_SHARE = 0.99
# A loss that falls by this share between two validations is still learning.
FALLING = 0.01


class BlankWarning(pl.Callback):
    """Warn once if some validations in a row read almost nothing but empty texts.

    CTC begins with a phase of blanks: the loss falls while nothing is read yet. The warning says
    whether the loss still falls, and what to change if it does not.

    Args:
        validations: how many in a row.

    Raises:
        HanlineError: validations is below 1.
    """

    def __init__(self, validations: int) -> None:
        if validations < 1:
            raise HanlineError(
                f"callbacks.blank_warning.validations={validations}: expected at least 1"
            )
        self.validations = validations
        self._readings = 0
        self._empty = 0
        self._losses: list[float] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        self._readings = self._empty = 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count empty readings of the first dataset."""
        if dataloader_idx:
            return
        self._readings += len(outputs["texts"])
        self._empty += outputs["texts"].count("")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn if the validations in a row are as many as asked for."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self._empty < EMPTY_SHARE * self._readings:
            self._losses.clear()
            return
        loss = trainer.callback_metrics.get("validation/loss")
        self._losses.append(float("nan") if loss is None else float(loss))
        if len(self._losses) == self.validations and trainer.is_global_zero:
            logger.warning(
                "the last %d validations read almost nothing but empty texts, until step %d. %s",
                self.validations,
                trainer.global_step,
                _cause(self._losses, trainer.optimizers[0].param_groups[0]["lr"]),
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the losses of the validations so far that read nothing."""
        return {"losses": list(self._losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        self._losses = list(state_dict["losses"])


def _cause(losses: list[float], learning_rate: float) -> str:
    first, last = losses[0], losses[-1]
    if len(losses) > 1 and last < (1 - FALLING) * first:
        return (
            f"The validation loss falls, from {first:.3f} to {last:.3f}: the model is in the phase "
            "of blanks with which CTC begins, and leaves it later. Shorter texts and a larger "
            "data.batch_size shorten it"
        )
    return (
        f"The validation loss does not fall, {first:.3f} to {last:.3f}, at a learning rate of "
        f"{learning_rate:.2g}: it is too high or too low, or the labels do not fit the images. "
        "Try optimizer.lr a factor of 3 lower, and look at some samples of the dataset"
    )
