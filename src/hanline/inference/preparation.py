"""Prepares a model to read: opens its file, and chooses its device and its precision."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from hanline.errors import HanlineError
from hanline.formats.base import Runnable
from hanline.formats.registry import open_model
from hanline.models.precision import ReadingPrecision, best_precision, check_precision
from hanline.pretrained import model_path
from hanline.quantization.torch_int8 import in_eight_bits

logger = logging.getLogger(__name__)
Checkpoint = str | Path | Runnable


@dataclass(frozen=True)
class PreparedModel:
    """A model that is ready to read.

    Attributes:
        runnable: the model, on its device.
        device: where it reads.
        precision: the numbers that it reads in, never ``auto``.
        in_bfloat16: whether it reads under autocast; 8 bits are for a part of the layers only.
    """

    runnable: Runnable
    device: torch.device
    precision: ReadingPrecision
    in_bfloat16: bool


def prepare(checkpoint: Checkpoint, device: str, precision: ReadingPrecision) -> PreparedModel:
    """Open a model and make it ready to read.

    Args:
        checkpoint: a file, the name of a shipped model, or a model.
        device: ``auto``, or one of torch's names.
        precision: see :class:`hanline.Reader`.

    Raises:
        HanlineError: the file cannot be opened, or the device or the precision is not possible.
    """
    chosen = None if device == "auto" else _device(device)
    if isinstance(checkpoint, str | Path):
        checkpoint = open_model(model_path(checkpoint))
    chosen = chosen or checkpoint.best_device()
    model = checkpoint.to(chosen).eval()
    quantized = in_eight_bits(model, chosen, precision)
    if precision in ("auto", "int8"):
        # The rest of a model in 8 bits, and any other model, reads in the next fastest.
        precision, _ = best_precision(chosen.type)
    elif warning := check_precision("precision", precision, chosen.type):
        logger.warning(warning)
    return PreparedModel(
        quantized or model,
        chosen,
        "int8" if quantized else precision,
        precision == "bf16-mixed",
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise HanlineError(f"there is no device {name!r} here: {reason}") from error
    return device
