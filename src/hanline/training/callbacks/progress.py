"""The progress of a training on the screen."""

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar

from hanline.data.base import Batch


def progress_bar() -> ProgressBar:
    """Return a bar for a terminal, or plain lines for a log."""
    return RichProgressBar() if sys.stderr.isatty() else ProgressLines()


class ProgressLines(ProgressBar):
    """Print a line at every ``log_every_n_steps``, from the first process."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True

    def enable(self) -> None:
        """Print lines."""
        self._enabled = True

    def disable(self) -> None:
        """Print nothing."""
        self._enabled = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Print the step, the loss and the speed."""
        step = trainer.global_step
        if self._enabled and step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            rate = trainer.callback_metrics.get("train/images_per_second")
            speed = f", {rate:.0f} images/s" if rate is not None else ""
            loss = outputs["loss"].item()
            print(f"step {step} of {trainer.max_steps}: loss {loss:.4f}{speed}", flush=True)
