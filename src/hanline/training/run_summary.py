"""What a run settles and logs before it begins."""

import logging
import os

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator

from hanline.data.datamodule import TextImageData
from hanline.models.recognizer import Recognizer
from hanline.system.malloc import keep_freed_memory
from hanline.system.parallel import available_cpus

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
        return "set by OMP_NUM_THREADS"
    cpus = available_cpus()
    return f"torch's choice for {cpus} CPUs; OMP_NUM_THREADS sets another number"


def retain_freed_memory(trainer: pl.Trainer) -> None:
    """Keep freed memory for the next step if the CPU trains, and log it."""
    if isinstance(trainer.accelerator, CPUAccelerator) and keep_freed_memory():
        logger.info("memory: kept when a step frees it, since new pages cost time in every step")
