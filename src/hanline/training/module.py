"""The recognizer as Lightning trains it."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hanline.errors import HanlineError
from hanline.formats.checkpoint import add_record, recorded_metrics
from hanline.metrics.registry import metrics
from hanline.models.guidance import Positions
from hanline.models.recognizer import Recognizer
from hanline.training.errors import TrainingDivergedError
from hanline.training.parameter_groups import Decay, parameter_groups
from hanline.training.validation_metrics import ValidationMetrics


class Batch(Protocol):
    """A batch between data and model: images (B, C, H, W), uint8 or float, and B labels."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def positions(self) -> Positions | None: ...


class RecognizerModule(pl.LightningModule):
    """Train and validate a :class:`Recognizer`; see ``conf/module`` for the keys.

    A subclass may override any step. ``module._target_`` names it.

    Args:
        recognizer: the model.
        optimizer: makes the optimizer from a list of parameter groups.
        scheduler: makes the scheduler of the learning rate from the optimizer and the run's steps.
        decay: see :func:`hanline.training.parameter_groups.parameter_groups`.
        align_weight: the first weight of the loss that uses the letters' positions.
        align_steps: the step at which that weight is 0.

    Attributes:
        measured: the metrics of the last validation by name, and its ``step``; empty before it.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        optimizer: Callable[[Any], Optimizer],
        scheduler: Callable[[Optimizer, int], LRScheduler],
        decay: Decay = "all",
        align_weight: float = 0.0,
        align_steps: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= align_weight < float("inf") or align_steps < 0:
            raise HanlineError(
                f"module.align_weight={align_weight}, module.align_steps={align_steps}: expected "
                "numbers of at least 0. 0 trains without the letters' positions"
            )
        self.recognizer = recognizer
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.decay = decay
        self.align_weight = align_weight
        self.align_steps = align_steps
        self.metrics = ValidationMetrics()
        # Of the datasets of data.more_validation, by name; filled when a run begins.
        self.more_metrics = nn.ModuleDict()
        self.measured: dict[str, float] = {}

    def forward(self, images: Tensor, labels: list[str]) -> Tensor:
        """Return the mean loss of a batch, a scalar."""
        return self.recognizer.loss(images, labels)

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Return ``loss``, the batch's mean, and ``label_losses``, (B,)."""
        features = self.recognizer.features(batch.images)
        prediction, weight = self.recognizer.prediction, self._align_weight()
        along_line = self.recognizer.feature_extraction.along_line
        if batch.positions is None or not weight or not along_line:
            losses, counts = prediction.losses(features, batch.labels)
            loss = losses.sum() / counts.sum()
        else:
            losses, counts, aligned = prediction.guided_losses(
                features, batch.labels, batch.positions
            )
            loss = losses.sum() / counts.sum() + weight * aligned
            self.log("train/alignment_loss", aligned, batch_size=len(batch.labels))
        self.log("train/loss", loss, batch_size=len(batch.labels))
        return {"loss": loss, "label_losses": losses.detach()}

    def _align_weight(self) -> float:
        """Return the weight of the loss that uses positions: it falls to 0 in a line."""
        left = 1 - self.global_step / self.align_steps if self.align_steps else 0.0
        return self.align_weight * max(0.0, left)

    def setup(self, stage: str) -> None:
        """Make the metrics of each of ``data.more_validation``."""
        data = getattr(self.trainer, "datamodule", None)
        self.more_metrics = nn.ModuleDict(
            {name: ValidationMetrics() for name in getattr(data, "more_validation", ())}
        )

    def validation_step(
        self, batch: Batch, batch_index: int, dataloader_idx: int = 0
    ) -> dict[str, Any]:
        """Measure a batch, and return its ``texts`` and ``confidences`` for the callbacks."""
        features = self.recognizer.features(batch.images)
        losses, counts = self.recognizer.prediction.losses(features, batch.labels)
        texts, confidences = self.recognizer.prediction.decode(self.recognizer.prediction(features))
        self._measured_sets()[dataloader_idx].update(batch.labels, texts, losses, counts)
        return {"texts": texts, "confidences": confidences}

    def on_validation_epoch_end(self) -> None:
        """Log every metric as ``validation/<name>``, or as ``validation/<dataset>/<name>``."""
        # The metrics have summed over all devices, so every one logs the same values.
        values = self.metrics.compute()
        for name, value in values.items():
            self.log(f"validation/{name}", value, rank_zero_only=False)
        self.metrics.reset()
        for dataset, measured in zip(self.more_metrics, self._measured_sets()[1:], strict=True):
            for name, value in measured.compute().items():
                self.log(f"validation/{dataset}/{name}", value, rank_zero_only=False)
            measured.reset()
        self.measured = {name: values[name] for name in metrics()} | {"step": self.global_step}

    def _measured_sets(self) -> list[ValidationMetrics]:
        more = [part for part in self.more_metrics.values() if isinstance(part, ValidationMetrics)]
        return [self.metrics, *more]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimizer and the scheduler, which counts steps."""
        optimizer = self.make_optimizer(parameter_groups(self.recognizer, self.decay))
        # A fused optimizer could unscale 16-bit gradients itself, but only after they are clipped.
        # With this, Lightning has them unscaled before, as for any other optimizer.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        scheduler = self.make_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put Hanline's own record into a checkpoint.

        Its ``metrics`` are those of the last validation by name, with the ``step`` of it.

        Raises:
            TrainingDivergedError: a weight is not finite; no checkpoint is written then.
        """
        if not finite(checkpoint["state_dict"].values()):
            raise TrainingDivergedError(
                f"the training diverged: a weight is not finite after step {self.global_step}, and "
                "no checkpoint is written. Lower optimizer.lr"
            )
        add_record(checkpoint, self.recognizer, self.measured)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the metrics of the last validation."""
        self.measured = recorded_metrics(checkpoint)


def finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all numbers of some tensors are finite."""
    checks = [tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]
    return not checks or bool(torch.stack(checks).all())
