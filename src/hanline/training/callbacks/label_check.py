"""A warning of labels that the model cannot write."""

import logging

import pytorch_lightning as pl
import torch

from hanline.models.recognizer import Recognizer
from hanline.training.module import RecognizerModule

logger = logging.getLogger(__name__)


class LabelCheck(pl.Callback):
    """Warn at the start of labels that need more time steps than the model has."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count such labels, in the first process."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, RecognizerModule)
        recognizer = pl_module.recognizer
        width = recognizer.spec["image"]["width"]
        # If image.width is null, a line has as many steps as its text asks for.
        if not trainer.is_global_zero or width is None:
            return
        steps = time_steps(recognizer)
        count = recognizer.prediction.count_unalignable(data.label_lengths(), steps)
        if count:
            logger.warning(
                "%d labels of the training and validation datasets need more than the %d time "
                "steps that the model has for image.width=%d. The model learns nothing from them "
                "and never reads them. Raise image.width for more steps, or set max_label_length "
                "below %d to leave long labels out",
                count,
                steps,
                width,
                steps,
            )


def time_steps(recognizer: Recognizer) -> int:
    """Return the number of time steps (T) of a recognizer's features; its image width is fixed."""
    image = recognizer.spec["image"]
    device = next(recognizer.parameters()).device
    blank = torch.zeros(1, image["channels"], image["height"], image["width"], device=device)
    was_training = recognizer.training
    with torch.no_grad():
        steps = recognizer.eval().features(blank).shape[1]
    recognizer.train(was_training)
    return steps
