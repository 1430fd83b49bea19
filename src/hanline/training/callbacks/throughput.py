"""Images a second, and the learning rate."""

import time
from typing import Any

import pytorch_lightning as pl

from hanline.data.base import Batch


class Throughput(pl.Callback):
    """Log ``train/images_per_second``, over all devices, and ``train/learning_rate``.

    Time spent in validation does not count.
    """

    def __init__(self) -> None:
        self._images = 0
        self._since = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        self._restart()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting again."""
        self._restart()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count a batch; log at every ``log_every_n_steps``."""
        self._images += len(batch.labels) * trainer.world_size
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            rate = self._images / (time.monotonic() - self._since)
            pl_module.log("train/images_per_second", rate)
            pl_module.log("train/learning_rate", trainer.optimizers[0].param_groups[0]["lr"])
            self._restart()

    def _restart(self) -> None:
        self._images = 0
        self._since = time.monotonic()
