"""What a run says of itself before it begins."""

import logging

import pytorch_lightning as pl
import torch

from hanline.data.datamodule import TextImageData
from hanline.model.recognizer import Recognizer

logger = logging.getLogger(__name__)


def log_start(trainer: pl.Trainer, recognizer: Recognizer, data: TextImageData) -> None:
    """Log the model's size, the devices, and how the work is spread over the machine."""
    parameters = sum(p.numel() for p in recognizer.parameters())
    stages = "-".join(
        type(stage).__name__
        for stage in (
            recognizer.transformation,
            recognizer.feature_extraction,
            recognizer.sequence_modeling,
            recognizer.prediction,
        )
    )
    logger.info(
        "%s, %.2f million parameters, %d characters",
        stages,
        parameters / 1e6,
        len(recognizer.charset),
    )
    logger.info(
        "%s × %d, precision %s, %d threads, %d data workers, batches of %d on each device",
        type(trainer.accelerator).__name__.removesuffix("Accelerator"),
        trainer.world_size,
        trainer.precision,
        torch.get_num_threads(),
        data.num_workers,
        data.batch_size,
    )
