"""Callbacks for runs under test: a signal comes in the middle of a certain batch."""

import multiprocessing
import os
import signal
from typing import Any, Literal

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


class KillAt(pl.Callback):
    """Kills a process of the run with SIGKILL, as the system does when memory is full.

    Args:
        batch: during which one, counted from 0.
        which: ``worker`` for a data worker of the first process, ``rank`` for the second process.
    """

    def __init__(self, batch: int, which: Literal["worker", "rank"]) -> None:
        self.batch = batch
        self.which = which

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx != self.batch:
            return
        if self.which == "rank" and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.which == "worker" and trainer.is_global_zero:
            (worker, *_) = multiprocessing.active_children()
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
