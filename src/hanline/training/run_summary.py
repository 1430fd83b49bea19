"""What a run settles and says of itself before it begins."""

import logging
import os

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator

from hanline.data.datamodule import TextImageData
from hanline.models.recognizer import Recognizer
from hanline.system.malloc import keep_freed_memory
from hanline.system.parallel import available_cpus
from hanline.training.module import RecognizerModule

logger = logging.getLogger(__name__)


def log_start(trainer: pl.Trainer, recognizer: Recognizer, data: TextImageData) -> None:
    """Log the model's size, the devices, and what was chosen for this machine, and why."""
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
        "%s × %d, batches of %d on each device",
        type(trainer.accelerator).__name__.removesuffix("Accelerator"),
        trainer.world_size,
        data.batch_size,
    )
    logger.info("layout: channels last, in which convolutions are fastest")
    threads = torch.get_num_threads()
    logger.info("threads: %d, %s", threads, _threads_reason(threads))
    logger.info("data workers: %d, of one thread each, %s", data.num_workers, data.workers_reason)


def _threads_reason(threads: int) -> str:
    if "OMP_NUM_THREADS" in os.environ:
        return "as OMP_NUM_THREADS says"
    cpus = available_cpus()
    return f"as torch chooses for {cpus} CPUs; OMP_NUM_THREADS sets another number"


def retain_freed_memory(trainer: pl.Trainer) -> None:
    """Keep freed memory for the next step, where a processor trains; say so."""
    if isinstance(trainer.accelerator, CPUAccelerator) and keep_freed_memory():
        logger.info("memory: kept when a step frees it, since new pages cost time in every step")


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
        count = recognizer.prediction.count_unalignable(data.label_lengths(), steps)
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
