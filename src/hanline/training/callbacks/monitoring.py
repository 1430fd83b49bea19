"""What a run shows while it goes on: progress, throughput, and pictures with their readings."""

import logging
import sys
import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from hanline.data.base import Batch
from hanline.synthesis.fonts import find_fonts

logger = logging.getLogger(__name__)


def progress_bar() -> ProgressBar:
    """A bar on a terminal, plain lines in a log."""
    return RichProgressBar() if sys.stderr.isatty() else ProgressLines()


class ProgressLines(ProgressBar):
    """A line at every ``log_every_n_steps``, from the first process."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        if self._enabled and step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            rate = trainer.callback_metrics.get("train/images_per_second")
            speed = f", {rate:.0f} images/s" if rate is not None else ""
            loss = outputs["loss"].item()
            print(f"step {step} of {trainer.max_steps}: loss {loss:.4f}{speed}", flush=True)


class Throughput(pl.Callback):
    """Logs ``train/images_per_second``, over all devices, and the learning rate.

    Time spent in validation does not count.
    """

    def __init__(self) -> None:
        self._images = 0
        self._since = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start_anew()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start_anew()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self._images += len(batch.labels) * trainer.world_size
        if (batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            rate = self._images / (time.monotonic() - self._since)
            pl_module.log("train/images_per_second", rate)
            pl_module.log("train/learning_rate", trainer.optimizers[0].param_groups[0]["lr"])
            self._start_anew()

    def _start_anew(self) -> None:
        self._images = 0
        self._since = time.monotonic()


class ReadingGrid(pl.Callback):
    """Shows validation images in TensorBoard, each with its label and what was read.

    Args:
        images: how many of the first validation samples are shown.
    """

    def __init__(self, images: int) -> None:
        self.images = images

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        boards = [board for board in trainer.loggers if isinstance(board, TensorBoardLogger)]
        if batch_idx != 0 or not boards or not trainer.is_global_zero:
            return
        shown = batch.images[: self.images].permute(0, 2, 3, 1).cpu().numpy()
        grid = reading_grid(list(shown), batch.labels, outputs["texts"])
        for board in boards:
            board.experiment.add_image(
                "validation/readings", grid, trainer.global_step, dataformats="HWC"
            )


def reading_grid(
    images: list[np.ndarray], labels: list[str], texts: list[str], scale: int = 2
) -> np.ndarray:
    """Images (H, W, C), uint8, below each other, each with its label and its reading beside it.

    A wrong reading stands in red.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = images[0].shape[0] * scale, images[0].shape[1] * scale
    font = _caption_font("".join(labels), height // 3)
    grid = Image.new("RGB", (2 * width, height * len(images)), "white")
    draw = ImageDraw.Draw(grid)
    for row, (pixels, label, text) in enumerate(zip(images, labels, texts, strict=False)):
        picture = Image.fromarray(pixels.squeeze()).convert("RGB").resize((width, height))
        top = row * height
        grid.paste(picture, (0, top))
        draw.text((width + 4, top), label, "black", font)
        draw.text((width + 4, top + height // 2), text, "black" if text == label else "red", font)
    return np.asarray(grid)


def _caption_font(characters: str, size: int) -> ImageFont.FreeTypeFont:
    return find_fonts("bundled", characters, min_coverage=0.0)[0].load(max(10, size))
