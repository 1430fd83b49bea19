"""``last.ckpt``: the state from which a run can go on."""

import logging
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from hanline.data.base import Batch
from hanline.errors import HanlineError
from hanline.system.files import replacing

logger = logging.getLogger(__name__)


class TrainingStopped(Exception):  # noqa: N818, a stop by a signal is not an error
    """A signal ended the run, after ``last.ckpt`` was saved.

    Attributes:
        signal_number: which signal.
        checkpoint: the saved state.
    """

    def __init__(self, signal_number: int, checkpoint: Path) -> None:
        super().__init__(signal_number, checkpoint)
        self.signal_number = signal_number
        self.checkpoint = checkpoint


class LastCheckpoint(Checkpoint):
    """Keep ``last.ckpt``: at each validation, at the end, and when the run is stopped.

    After Ctrl-C or SIGTERM the step ends first, and the validation that follows it if one does. So
    the run can go on as if it had not been stopped. A second Ctrl-C stops at once.

    If one process trains and the run fails outside a step of the optimizer, for example because a
    data worker is gone, the state is saved as well.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.path = Path(run_dir) / "last.ckpt"
        self._received: int | None = None
        self._former_handlers: dict[int, Any] = {}
        self._saved_step = 0
        self._changing_weights = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals."""
        self._saved_step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former_handlers[number] = signal.signal(number, self._receive)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note that weights are about to change."""
        self._changing_weights = True

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save and stop if a signal has come and the step is whole."""
        self._changing_weights = False
        batches = trainer.fit_loop.total_batch_idx + 1
        if batches % trainer.accumulate_grad_batches:
            return  # A state holds no gradients: those of half a step would be lost.
        received = self._received_by_any(trainer, pl_module)
        if not received:
            return
        self.save(trainer)
        # A resumed run begins with a step. So a validation that is due takes place before the end;
        # should that take too long for whoever stops the run, the state is saved already.
        if not trainer.should_stop and batches % trainer.val_check_interval:
            raise TrainingStopped(received, self.path)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and stop if a signal has come."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.save(trainer)
        received = self._received_by_any(trainer, pl_module)
        if received:
            raise TrainingStopped(received, self.path)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if the last step is not saved; say so if the run ended early."""
        if trainer.global_step > self._saved_step:
            self.save(trainer)
        if trainer.global_step < trainer.max_steps and trainer.is_global_zero:
            logger.info("ended after step %d of %d", trainer.global_step, trainer.max_steps)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save after a failure that left the weights whole."""
        is_failure = isinstance(exception, Exception) and not isinstance(
            exception, TrainingStopped | HanlineError
        )
        # Other processes would have to save with this one, and may be gone.
        alone = trainer.world_size == 1 and trainer.state.fn == "fit"
        if not (is_failure and alone) or self._changing_weights:
            return
        if trainer.global_step > self._saved_step:
            try:
                self.save(trainer)
            except Exception as error:
                # Whatever prevents it: the first failure is the one to report.
                logger.warning("%s cannot be saved: %s", self.path, error)
            else:
                logger.info("saved %s after step %d", self.path, trainer.global_step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give signals back to whoever had them."""
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._former_handlers.clear()

    def save(self, trainer: pl.Trainer) -> None:
        """Save the state; the former file remains until the new one is whole."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if trainer.is_global_zero:
            with replacing(self.path) as aside:
                trainer.save_checkpoint(aside, weights_only=False)
        else:
            trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_step = trainer.global_step

    def _received_by_any(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
        """Return the signal that has come to any process, or 0: all must stop together."""
        received = self._received or 0
        if trainer.world_size > 1:
            everyones = trainer.strategy.reduce(
                torch.tensor(received, device=pl_module.device), reduce_op="max"
            )
            received = int(everyones)
        return received

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self._received = number
        os.write(2, b"\nstopping after this step; last.ckpt will be saved\n")
