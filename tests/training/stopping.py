"""A callback for runs under test: has a signal come in the middle of a certain batch."""

import os
from typing import Any

import pytorch_lightning as pl


class SignalAt(pl.Callback):
    """Sends the run's first process a signal.

    Args:
        batch: during which one, counted from 0.
        number: which signal.
    """

    def __init__(self, batch: int, number: int) -> None:
        self.batch = batch
        self.number = number

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.batch and trainer.is_global_zero:
            os.kill(os.getpid(), self.number)
