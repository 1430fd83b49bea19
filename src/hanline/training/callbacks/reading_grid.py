"""Pictures of validation samples with their readings, in loggers that can show images."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from hanline.data.base import Batch
from hanline.synthesis.fonts import find_fonts

KEY = "validation/readings"


class ReadingGrid(pl.Callback):
    """Show validation images with their labels and readings.

    TensorBoard, Weights & Biases and MLflow can show images; other loggers are passed over.

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
        """Show the samples of the first dataset's first batch."""
        if dataloader_idx:
            return
        capable = [logger for logger in trainer.loggers if _shows_images(logger)]
        if batch_idx != 0 or not capable or not trainer.is_global_zero or trainer.sanity_checking:
            return
        shown = batch.images[: self.images].permute(0, 2, 3, 1).cpu().numpy()
        grid = reading_grid(list(shown), batch.labels, outputs["texts"])
        for logger in capable:
            _show(logger, grid, trainer.global_step)


def reading_grid(
    images: list[np.ndarray], labels: list[str], texts: list[str], scale: int = 2
) -> np.ndarray:
    """Draw images (H, W, C), uint8, below each other, each with its label and reading beside it.

    A wrong reading is red.

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


def _shows_images(logger: Logger) -> bool:
    return isinstance(logger, TensorBoardLogger | WandbLogger | MLFlowLogger)


def _show(logger: Logger, grid: np.ndarray, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(KEY, grid, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(KEY, [Image.fromarray(grid)], step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_image(logger.run_id, grid, key=KEY, step=step)


def _caption_font(characters: str, size: int) -> ImageFont.FreeTypeFont:
    return find_fonts("bundled", characters, min_coverage=0.0)[0].load(max(10, size))
