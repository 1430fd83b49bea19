"""``log_train.txt``: losses, metrics and some readings at each validation, as DTRB has it."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from hanline.data.base import Batch
from hanline.metrics.registry import reading_metrics

WIDTH = 25


class LogTrain(pl.Callback):
    """Append to ``log_train.txt`` at every validation, and print the same.

    Args:
        run_dir: the run's folder.
        readings: how many of the first validation samples are shown.

    Attributes:
        best: the best value of each metric so far, by name.
    """

    def __init__(self, run_dir: Path, readings: int) -> None:
        self.path = Path(run_dir) / "log_train.txt"
        self.readings = readings
        self.best: dict[str, float] = {}
        self.seconds_before = 0.0
        self._started = 0.0
        self._loss_sum: Tensor | float = 0.0
        self._loss_count = 0
        self._shown: list[tuple[str, str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Sum the loss on the device: reading it at each step would make the host wait for it."""
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
        """Keep the first readings of the first dataset."""
        if dataloader_idx:
            return
        if batch_idx == 0:
            self._shown = []
        missing = self.readings - len(self._shown)
        read = zip(batch.labels, outputs["texts"], outputs["confidences"], strict=True)
        self._shown += list(read)[:missing]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the entry of a validation."""
        if trainer.sanity_checking:
            return
        measured = {
            name.removeprefix("validation/"): float(value)
            for name, value in trainer.callback_metrics.items()
        }
        values = {name: measured[name] for name in reading_metrics() if name in measured}
        for name, value in values.items():
            metric = reading_metrics()[name]
            if name not in self.best or metric.is_better(value, self.best[name]):
                self.best[name] = value
        train_loss = float(self._loss_sum) / max(1, self._loss_count)
        self._loss_sum, self._loss_count = 0.0, 0
        valid_loss = measured.get("loss", float("nan"))
        text = self._text(trainer, train_loss, valid_loss, values, _by_dataset(measured))
        if trainer.is_global_zero:
            print(text, flush=True)
            if not trainer.fast_dev_run:  # type: ignore[attr-defined]
                with self.path.open("a", encoding="utf-8") as log:
                    log.write(text + "\n")

    def state_dict(self) -> dict[str, Any]:
        """Return the best values, the time and the loss since the last validation."""
        return {
            "best": dict(self.best),
            "seconds": self._elapsed(),
            "loss": [float(self._loss_sum), self._loss_count],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        self.best = dict(state_dict["best"])
        self.seconds_before = state_dict["seconds"]
        self._loss_sum, self._loss_count = state_dict["loss"]

    def _elapsed(self) -> float:
        return self.seconds_before + time.monotonic() - self._started

    def _text(
        self,
        trainer: pl.Trainer,
        train_loss: float,
        valid_loss: float,
        values: dict[str, float],
        more: dict[str, dict[str, float]],
    ) -> str:
        rule = "-" * 80
        lines = [
            f"[{trainer.global_step}/{trainer.max_steps}] Train loss: {train_loss:0.5f}, "
            f"Valid loss: {valid_loss:0.5f}, Elapsed_time: {self._elapsed():0.5f}",
            _values_line("Current", values),
            _values_line("Best", {name: self.best[name] for name in values}),
            *(f"{dataset}: {_values_line('Current', known)}" for dataset, known in more.items()),
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


def _by_dataset(measured: dict[str, float]) -> dict[str, dict[str, float]]:
    """Return the metrics of each of ``data.more_validation``."""
    found: dict[str, dict[str, float]] = {}
    for key, value in measured.items():
        dataset, _, name = key.rpartition("/")
        if dataset and name in reading_metrics():
            found.setdefault(dataset, {})[name] = value
    return found


def _values_line(which: str, values: dict[str, float]) -> str:
    return ", ".join(f"{f'{which}_{name}':17s}: {value:0.3f}" for name, value in values.items())
