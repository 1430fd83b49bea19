"""A warning of stored labels that do not fit their images."""

import logging

import pytorch_lightning as pl
import torch

from hanline.data.augmentation import AugmentedSamples
from hanline.data.base import ENDLESS, batch_of
from hanline.data.datamodule import TextImageData
from hanline.text.label_fit import misfit
from hanline.training.module import RecognizerModule

logger = logging.getLogger(__name__)
# The first ones of each dataset that are read.
SAMPLES = 64


class LabelFit(pl.Callback):
    """Read the first samples of each stored dataset before the first step, and compare.

    A model that is fine-tuned can read already. So it notices a ``gt.txt`` whose labels are shifted
    by a line, from which training would learn nothing but wrong.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn of each dataset whose labels do not fit."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set while it runs
        if not (trainer.is_global_zero and isinstance(data, TextImageData)):
            return
        assert isinstance(pl_module, RecognizerModule)
        pl_module.eval()
        for group in data.train_groups:
            samples = group.samples
            if isinstance(samples, AugmentedSamples):
                samples = samples.stored
            if len(samples) >= ENDLESS:
                continue  # Rendered lines have their own text.
            numbers = range(min(SAMPLES, len(samples)))
            stored = [sample for n in numbers for sample in samples.samples([n])]
            texts = []
            for sample in stored:
                batch = batch_of([sample], data.image_format)
                with torch.no_grad(), trainer.precision_plugin.val_step_context():
                    texts += pl_module.recognizer.read(batch.images.to(pl_module.device))[0]
            problem = misfit([sample.label for sample in stored], texts)
            if problem:
                logger.warning(
                    "%s: %s. Look at its first samples, and pack it again with the right labels",
                    group.name,
                    problem,
                )
        pl_module.train()
