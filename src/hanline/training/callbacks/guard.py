"""The guard: a fine-tuned model must not read an older dataset worse than before."""

import logging
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hanline.data.datamodule import TextImageData
from hanline.errors import HanlineError
from hanline.metrics.registry import find_metric
from hanline.training.callbacks.best_checkpoint import BestCheckpoint
from hanline.training.module import RecognizerModule
from hanline.training.validation_metrics import ValidationMetrics

logger = logging.getLogger(__name__)
# The name of the guard's dataset in data.more_validation.
GUARD = "guard"


class Guard(BestCheckpoint):
    """Keep the best state of those that read the guard's dataset well enough: best_guarded.ckpt.

    The dataset is measured before the first step, and at every validation.

    Args:
        run_dir: the run's folder.
        metric: the metric on the guard's dataset, and the one by which the best state is chosen.
        most_lost: how much worse it may be than before the first step, in the metric's unit.
        stop: whether the run ends at the first validation that is worse than that.

    Attributes:
        before: the metric before the first step.

    Raises:
        HanlineError: most_lost is negative, or the metric does not exist.
    """

    def __init__(self, run_dir: Path, metric: str, most_lost: float, stop: bool) -> None:
        if not 0 <= most_lost < math.inf:
            raise HanlineError(
                f"guard.most_lost={most_lost}: expected a number of at least 0, in the unit of "
                f"{metric}. 0 lets nothing get worse"
            )
        find_metric(metric, "guard.metric")
        super().__init__(run_dir, metric)
        self.filename = "best_guarded"
        self.most_lost = most_lost
        self.stop = stop
        self.before: float | None = None
        self._kept: str | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the guard's dataset before the first step."""
        super().on_train_start(trainer, pl_module)
        if self.before is not None:
            return  # The run is resumed.
        assert isinstance(pl_module, RecognizerModule)
        self.before = self._measure(trainer, pl_module)
        if trainer.is_global_zero:
            logger.info(
                "guard: %s is %s before the first step, and may lose %s",
                self._title,
                self.metric.text(self.before),
                self.metric.text(self.most_lost),
            )

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Return whether the state is within the bound, and the best of those."""
        now = trainer.callback_metrics.get(f"validation/{GUARD}/{self.metric.name}")
        if now is None or self.before is None:
            return False
        lost = self.lost(float(now))
        if lost > self.most_lost or math.isnan(lost):
            if trainer.is_global_zero:
                logger.warning(
                    "guard: at step %d %s is %s, %s worse than before; at most %s is allowed, so "
                    "this state is not best_guarded.ckpt",
                    trainer.global_step,
                    self._title,
                    self.metric.text(float(now)),
                    self.metric.text(lost),
                    self.metric.text(self.most_lost),
                )
            if self.stop:
                trainer.should_stop = True
            return False
        chosen = super().check_monitor_top_k(trainer, current)
        if chosen:
            self._kept = (
                f"of step {trainer.global_step}, with {self._title} {self.metric.text(float(now))}"
            )
        return chosen

    def lost(self, now: float) -> float:
        """Return how much worse a value is than before the first step; negative if better."""
        assert self.before is not None
        return (self.before - now) * (1 if self.metric.direction == "max" else -1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log which state is kept."""
        super().on_train_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        if self._kept:
            logger.info("guard: best_guarded.ckpt is the state %s", self._kept)
        else:
            logger.warning(
                "guard: no state is within the bound, so there is no best_guarded.ckpt. Lower "
                "optimizer.lr, mix in samples like those of guard.dataset (data.mix), or raise "
                "guard.most_lost"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured and kept."""
        return super().state_dict() | {"before": self.before, "kept": self._kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        super().load_state_dict(state_dict)
        self.before, self._kept = state_dict["before"], state_dict["kept"]

    @property
    def _title(self) -> str:
        return f"{self.metric.title} of guard.dataset"

    def _measure(self, trainer: pl.Trainer, module: RecognizerModule) -> float:
        data = trainer.datamodule  # type: ignore[attr-defined]  # set while it runs
        assert isinstance(data, TextImageData)
        metrics = ValidationMetrics().to(module.device)
        module.eval()
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            for batch in data.loader_of(GUARD):
                if batch is None:
                    continue  # All its images are damaged.
                moved = trainer.strategy.batch_to_device(batch)
                features = module.recognizer.features(moved.images)
                prediction = module.recognizer.prediction
                losses, counts = prediction.losses(features, moved.labels)
                texts, _ = prediction.decode(prediction(features))
                metrics.update(moved.labels, texts, losses, counts)
        module.train()
        return metrics.compute()[self.metric.name]
