"""The recogniser as Lightning trains it."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hanline.formats.checkpoint import add_record
from hanline.metrics.torch_metrics import ReadingMetrics
from hanline.models.recognizer import Recognizer


class Batch(Protocol):
    """What passes between data and model: images (B, C, H, W), uint8 or float, and B labels."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> list[str]: ...


class RecognizerModule(pl.LightningModule):
    """Trains a :class:`Recognizer`, and measures it.

    Args:
        recognizer: what is trained.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning rate's schedule from the optimiser and the steps of the run.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[[Optimizer, int], LRScheduler],
    ) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.make_optimizer = optimizer
        self.make_schedule = schedule
        self.metrics = ReadingMetrics()
        self.measured: dict[str, float] = {}

    def forward(self, images: Tensor, labels: list[str]) -> Tensor:
        return self.recognizer.loss(images, labels)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        loss: Tensor = self.recognizer.loss(batch.images, batch.labels)
        self.log("train/loss", loss, batch_size=len(batch.labels))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        """Measure a batch; what it read goes to the callbacks, which show some of it."""
        features = self.recognizer.features(batch.images)
        losses, counts = self.recognizer.prediction.losses(features, batch.labels)
        texts, confidences = self.recognizer.prediction.decode(self.recognizer.prediction(features))
        self.metrics.update(batch.labels, texts, losses, counts)
        return {"texts": texts, "confidences": confidences}

    def on_validation_epoch_end(self) -> None:
        # The metrics have summed over all devices, so every one logs the same figures.
        self.measured = {name: float(value) for name, value in self.metrics.compute().items()}
        for name, value in self.measured.items():
            self.log(f"validation/{name}", value, rank_zero_only=False)
        self.metrics.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.make_optimizer(self.recognizer.parameters())
        # A fused optimiser could unscale 16-bit gradients itself, but only after they are clipped.
        # So told, Lightning has them unscaled before, as for any other optimiser.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        schedule = self.make_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        add_record(checkpoint, self.recognizer, self.measured)
