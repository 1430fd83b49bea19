"""A validation after the last step."""

from typing import Any

import pytorch_lightning as pl

from hanline.data.base import Batch


class LastValidation(pl.Callback):
    """End a run with a validation, even if its last step falls between two."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Ask for the end after the last step."""
        if trainer.global_step >= trainer.max_steps:
            # Lightning validates before it stops.
            trainer.should_stop = True
