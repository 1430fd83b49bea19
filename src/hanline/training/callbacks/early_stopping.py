"""The end of a run whose metric no longer improves."""

import logging

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping as LightningsEarlyStopping

from hanline.metrics.registry import find_metric

logger = logging.getLogger(__name__)


class EarlyStopping(LightningsEarlyStopping):
    """End the run after some validations without a better value of a metric.

    Args:
        monitor: a metric's name.
        patience: validations without a better value before the end.
        min_delta: how much better a value must be to count, in the metric's unit.

    Raises:
        HanlineError: the metric does not exist.
    """

    def __init__(self, monitor: str, patience: int, min_delta: float) -> None:
        super().__init__(
            monitor=f"validation/{monitor}",
            mode=find_metric(monitor, "callbacks.early_stopping.monitor").direction,
            patience=patience,
            min_delta=min_delta,
            check_on_train_epoch_end=False,
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask for the end if the patience is used up."""
        before = trainer.should_stop
        super().on_validation_end(trainer, pl_module)
        if trainer.should_stop and not before and trainer.is_global_zero:
            logger.info(
                "early stopping: %s has not improved in %d validations; its best is %.4f",
                self.monitor,
                self.wait_count,
                float(self.best_score),
            )
