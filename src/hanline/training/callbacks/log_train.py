"""``log_train.txt``: losses, figures and some readings at each validation, as DTRB has it."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from hanline.data.base import Batch

WIDTH = 25


class LogTrain(pl.Callback):
    """Appends to ``log_train.txt`` at every validation, and prints the same.

    Args:
        run_dir: the run's folder.
        readings: how many of the first validation samples are shown.
    """

    def __init__(self, run_dir: Path, readings: int) -> None:
        self.path = Path(run_dir) / "log_train.txt"
        self.readings = readings
        self.best = {"accuracy": -1.0, "norm_ed": -1.0}
        self.seconds_before = 0.0
        self._started = 0.0
        self._loss_sum: Tensor | float = 0.0
        self._loss_count = 0
        self._shown: list[tuple[str, str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        # Summed on the device: reading a loss at each step would make the host wait for it.
        self._loss_sum = self._loss_sum + outputs["loss"].detach()
        self._loss_count += 1

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._shown = []
        missing = self.readings - len(self._shown)
        read = zip(batch.labels, outputs["texts"], outputs["confidences"], strict=True)
        self._shown += list(read)[:missing]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {
            name: float(trainer.callback_metrics[f"validation/{name}"])
            for name in ("loss", "accuracy", "norm_ed")
        }
        train_loss = float(self._loss_sum) / max(1, self._loss_count)
        self._loss_sum, self._loss_count = 0.0, 0
        self.best = {name: max(best, figures[name]) for name, best in self.best.items()}
        text = self._text(trainer, train_loss, figures)
        if trainer.is_global_zero:
            print(text, flush=True)
            with self.path.open("a", encoding="utf-8") as log:
                log.write(text + "\n")

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "seconds": self._elapsed(),
            "loss": [float(self._loss_sum), self._loss_count],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.seconds_before = state_dict["seconds"]
        self._loss_sum, self._loss_count = state_dict["loss"]

    def _elapsed(self) -> float:
        return self.seconds_before + time.monotonic() - self._started

    def _text(self, trainer: pl.Trainer, train_loss: float, figures: dict[str, float]) -> str:
        rule = "-" * 80
        lines = [
            f"[{trainer.global_step}/{trainer.max_steps}] Train loss: {train_loss:0.5f}, "
            f"Valid loss: {figures['loss']:0.5f}, Elapsed_time: {self._elapsed():0.5f}",
            _figures_line("Current", figures),
            _figures_line("Best", self.best),
            rule,
            f"{'Ground Truth':{WIDTH}s} | {'Prediction':{WIDTH}s} | Confidence Score & T/F",
            rule,
            *(
                f"{label:{WIDTH}s} | {text:{WIDTH}s} | {confidence:0.4f}\t{text == label}"
                for label, text, confidence in self._shown
            ),
            rule,
        ]
        return "\n".join(lines)


def _figures_line(which: str, figures: dict[str, float]) -> str:
    return (
        f"{which + '_accuracy':17s}: {figures['accuracy']:0.3f}, "
        f"{which + '_norm_ED':17s}: {figures['norm_ed']:0.2f}"
    )
