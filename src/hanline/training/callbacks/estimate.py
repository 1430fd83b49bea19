"""How long a run will take, estimated from its own first steps."""

import logging
import time
from typing import Any

import pytorch_lightning as pl

logger = logging.getLogger(__name__)


class Estimate(pl.Callback):
    """Logs how long the run will take after its first steps, and again after its first validation.

    Args:
        skipped: the first steps, which are slower than the others and are not measured.
        measured: the steps after them, whose mean time is taken.
    """

    def __init__(self, skipped: int, measured: int) -> None:
        self.skipped = skipped
        self.measured = measured
        self._first_step = 0
        self._done = 0
        self._since = 0.0
        self._step_seconds: float | None = None
        self._validation_began = 0.0
        self._said_after_validation = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the step at which the run begins or goes on."""
        self._first_step = trainer.global_step
        self._since = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measure the steps, and log the first estimate."""
        done = trainer.global_step - self._first_step
        # With accumulated gradients, a batch may end no step.
        if self._step_seconds is not None or done == self._done:
            return
        self._done = done
        if done <= self.skipped:
            self._since = time.monotonic()
        elif done >= self.skipped + self.measured:
            self._step_seconds = (time.monotonic() - self._since) / (done - self.skipped)
            left = trainer.max_steps - trainer.global_step
            if trainer.is_global_zero:
                logger.info(
                    "estimate: about %s for the %d steps left at %.2f s, plus validations",
                    in_words(left * self._step_seconds),
                    left,
                    self._step_seconds,
                )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note when a validation begins."""
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the estimate again, with the validations that are to come."""
        left = trainer.max_steps - trainer.global_step
        if self._step_seconds is None or self._said_after_validation or left <= 0:
            return
        self._said_after_validation = True
        seconds = time.monotonic() - self._validation_began
        between = trainer.global_step - self._first_step
        validations = -(-left // max(1, between))
        if trainer.is_global_zero:
            logger.info(
                "estimate: about %s left, with %d validations of %.0f s",
                in_words(left * self._step_seconds + validations * seconds),
                validations,
                seconds,
            )


def in_words(seconds: float) -> str:
    """Return a duration in the unit that suits it, as in "12 minutes" or "3.5 hours"."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 86400:.1f} days"
