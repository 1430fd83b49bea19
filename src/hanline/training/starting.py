"""What a run says of itself before it begins."""

import logging

import pytorch_lightning as pl
import torch

from hanline.data.datamodule import TextImageData
from hanline.model.lightning_module import RecognizerModule
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


class LabelCheck(pl.Callback):
    """Warns at the start of labels that the model cannot write, and so learns nothing from."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, RecognizerModule) and isinstance(data, TextImageData)
        recognizer = pl_module.recognizer
        width = recognizer.spec["image"]["width"]
        # Where widths follow the images, a line has as many steps as its text asks for.
        if not trainer.is_global_zero or width is None:
            return
        steps = time_steps(recognizer)
        count = recognizer.prediction.unwritable(data.label_shapes(), steps)
        if count:
            logger.warning(
                "%d labels of the training and validation sets need more than the %d steps that "
                "the model has in an image %d pixels wide: it learns nothing from them and never "
                "reads them. A larger image.width has more steps; a max_label_length below %d "
                "leaves long labels out",
                *(count, steps, width, steps),
            )


def time_steps(recognizer: Recognizer) -> int:
    """How many steps (T) a recogniser's features have, where its images are of one width."""
    image = recognizer.spec["image"]
    device = next(recognizer.parameters()).device
    blank = torch.zeros(1, image["channels"], image["height"], image["width"], device=device)
    was_training = recognizer.training
    with torch.no_grad():
        steps = recognizer.eval().features(blank).shape[1]
    recognizer.train(was_training)
    return steps
