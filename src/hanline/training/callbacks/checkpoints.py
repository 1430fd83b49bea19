"""What a run keeps: its best states, its last one, and its random numbers."""

import os
import random
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from torch import Tensor

from hanline.data.base import Batch


class BestCheckpoint(ModelCheckpoint):
    """Keeps the state with the highest validation figure, as ``best_<figure>.ckpt``.

    Of equal ones the last is kept: a model that reads nothing yet has learnt something still.

    Args:
        run_dir: the run's folder.
        figure: ``accuracy`` or ``norm_ed``.
    """

    def __init__(self, run_dir: Path, figure: str) -> None:
        super().__init__(
            dirpath=run_dir,
            filename=f"best_{figure}",
            monitor=f"validation/{figure}",
            mode="max",
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        best = self.best_model_score
        return current is not None and (best is None or bool(current >= best))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning forgets the best figure of a run whose folder was moved, and a worse state would
        # take the best one's place.
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})


def best_accuracy(trainer: pl.Trainer) -> float | None:
    """The best validation accuracy of a run, in percent; None if it was not measured or kept."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint) and callback.monitor == "validation/accuracy":
            score = callback.best_model_score
            return None if score is None else float(score)
    return None


class TrainingStopped(Exception):  # noqa: N818, being told to stop is no error
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
    """Keeps ``last.ckpt``, saved at each validation and when the run is told to stop.

    Ctrl-C and SIGTERM are heeded at the end of a step, and of the validation that follows it, so
    that the run can go on as if it had not been stopped; a second Ctrl-C stops at once.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.path = Path(run_dir) / "last.ckpt"
        self._received: int | None = None
        self._former_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former_handlers[number] = signal.signal(number, self._receive)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
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
        if trainer.state.fn != "fit":
            return
        self.save(trainer)
        received = self._received_by_any(trainer, pl_module)
        if received:
            raise TrainingStopped(received, self.path)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._former_handlers.clear()

    def save(self, trainer: pl.Trainer) -> None:
        """Save the state; the file of before stands until the new one is whole."""
        aside = self.path.with_name(self.path.name + ".partial")
        trainer.save_checkpoint(aside, weights_only=False)
        if trainer.is_global_zero:
            aside.replace(self.path)

    def _received_by_any(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
        """The signal that has come, or 0: it may reach one process only, and all must stop."""
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


class LastValidation(pl.Callback):
    """Has a run end with a validation, wherever its last step falls between two."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        if trainer.global_step >= trainer.max_steps:
            # Lightning validates before it heeds this.
            trainer.should_stop = True


class RandomState(pl.Callback):
    """Keeps the random numbers' state in checkpoints, so that a resumed run goes on with them."""

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        # Plain values and tensors only: checkpoints are loaded without unpickling code.
        name, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "python": random.getstate(),
            "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Only now: setting up the model and the loaders has drawn random numbers too.
        if self._resumed is None:
            return
        random.setstate(self._resumed["python"])
        np.random.set_state(tuple(self._resumed["numpy"]))
        torch.set_rng_state(self._resumed["torch"].cpu())
        if torch.cuda.is_available() and self._resumed["cuda"]:
            torch.cuda.set_rng_state_all([state.cpu() for state in self._resumed["cuda"]])
        self._resumed = None
