"""The state with the best value of a metric."""

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from hanline.metrics.registry import find_metric


class BestCheckpoint(ModelCheckpoint):
    """Keep the state with the best value of a metric, as ``best_<monitor>.ckpt``.

    On a tie the newer state wins: at 0 % accuracy a later model has still learned more.

    Args:
        run_dir: the run's folder.
        monitor: a metric's name; whether its best value is the highest follows from the metric.

    Raises:
        HanlineError: the metric does not exist.
    """

    def __init__(self, run_dir: Path, monitor: str) -> None:
        self.metric = find_metric(monitor, "monitor")
        super().__init__(
            dirpath=run_dir,
            filename=f"best_{monitor}",
            monitor=f"validation/{monitor}",
            mode=self.metric.direction,
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Return whether the current value is at least as good as the best; NaN is not."""
        if current is None or math.isnan(current):
            return False
        best = self.best_model_score
        return best is None or not self.metric.is_better(float(best), float(current))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best value, also of a run whose folder was moved."""
        # Lightning forgets it then, and a worse state would take the best one's place.
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})


def best_value(trainer: pl.Trainer, metric: str) -> float | None:
    """Return the best value of a metric in a run; None if no callback keeps it."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint) and callback.metric.name == metric:
            score = callback.best_model_score
            return None if score is None else float(score)
    return None
