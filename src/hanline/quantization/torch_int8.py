"""Reading in 8 bits: a trained recognizer whose convolutions and classes are products of integers.

What each convolution gives is kept in 8 bits between the least and the most that it gave on images
that were measured before (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018). Norms are folded into the convolutions before them,
which also add what passes around them and cut negative values: nothing of that is a pass over the
features of its own.
"""

import copy
import logging
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.precision import ReadingPrecision
from hanline.models.recognizer import Recognizer
from hanline.quantization.int8_graph import CANNOT, Plan
from hanline.quantization.int8_layers import EightBitFeatures, EightBitLinear
from hanline.quantization.int8_products import has_fast_int8, has_int8
from hanline.quantization.int8_ranges import Observer, SeenValues

logger = logging.getLogger(__name__)
_HEAD = "prediction"
_NOT_TORCH = "its runtime has its own precision: export it with format.int8=true"
_NO_RANGES = (
    "the file lacks the bounds of the features: write one with hanline export "
    "checkpoint=… format=safetensors format.int8=true dataset=…"
)


def in_eight_bits(
    model: object, device: torch.device, precision: ReadingPrecision
) -> Recognizer | None:
    """Return a copy of a model that reads in 8 bits, or None if it reads in another precision.

    Args:
        model: ready to read, on the device.
        device: a device of this machine.
        precision: ``int8`` asks for 8 bits; ``auto`` takes them where they are possible and fast.

    Raises:
        HanlineError: the precision is ``int8``, and the model cannot read in it here.
    """
    if precision not in ("auto", "int8"):
        return None
    problem = _NOT_TORCH
    if isinstance(model, Recognizer):
        problem = _missing_here(device) or unsupported_reason(model) or ""
        if not problem and model.ranges is None:
            problem = _NO_RANGES
        if not problem and (precision == "int8" or has_fast_int8()):
            try:
                return quantize(model)
            except HanlineError as error:
                if precision == "int8":
                    raise
                # Perhaps another version has written the file.
                logger.warning(
                    "not reading in 8 bits, which hanline export format.int8=true repairs: %s",
                    error,
                )
    if precision == "int8":
        raise HanlineError(f"precision=int8 is not possible: {problem}")
    return None


def quantize(recognizer: Recognizer) -> Recognizer:
    """Return a recognizer that reads in 8 bits; it cannot be trained.

    Args:
        recognizer: ready to read, on the CPU, with the ``ranges`` of :func:`calibrate`; it is
            left unchanged.

    Raises:
        HanlineError: the ranges are not those of this recognizer.
    """
    ranges = recognizer.ranges or {}
    reading = copy.deepcopy(recognizer).eval()
    plan = Plan(reading.feature_extraction)
    missing = {node.name for node in plan.kept} | {_HEAD}
    missing -= ranges.keys()
    if missing:
        raise HanlineError(
            f"the ranges for 8 bits lack {', '.join(sorted(missing)[:3])}"
            f"{' …' if len(missing) > 3 else ''}: they are of another model, or of another version"
        )
    reading.feature_extraction = EightBitFeatures(plan, ranges, reading.feature_extraction)
    layer = str(reading.prediction.score_layer)
    linear = cast(nn.Linear, getattr(reading.prediction, layer))
    setattr(reading.prediction, layer, EightBitLinear(linear, ranges[_HEAD]))
    return reading


@torch.no_grad()
def calibrate(recognizer: Recognizer, batches: Iterable[Tensor]) -> dict[str, tuple[float, float]]:
    """Return the bounds of a recognizer's features, from those on some images.

    Args:
        recognizer: ready to read, on the CPU.
        batches: images (B, C, H, W), uint8, as many as show all that it will meet.

    Raises:
        HanlineError: it cannot be read with in 8 bits.
    """
    problem = unsupported_reason(recognizer)
    if problem:
        raise HanlineError(f"{CANNOT}: {problem}")
    observer = Observer(Plan(recognizer.feature_extraction))
    for images in batches:
        pixels = images.float().div_(127.5).sub_(1)
        features = observer.run(recognizer.transformation(pixels))
        modeled = recognizer.sequence_modeling(features.contiguous())
        observer.seen.setdefault(_HEAD, SeenValues()).add(modeled)
    if not observer.seen:
        raise HanlineError("there is no image to measure the bounds of the features on")
    return {name: seen.bounds() for name, seen in observer.seen.items()}


def unsupported_reason(recognizer: Recognizer) -> str | None:
    """Return why a recognizer cannot read in 8 bits, or None."""
    if recognizer.prediction.score_layer is None:
        return "its prediction has no single layer that gives the scores"
    if any(True for _ in recognizer.transformation.parameters()):
        return "its transformation is learned"
    return None


def _missing_here(device: torch.device) -> str | None:
    """Return what a device of this machine lacks for 8 bits, or None."""
    if device.type != "cpu":
        return f"it is for processors, and the device is {device}"
    if not has_int8():
        return "this processor, or this torch on it, has no 8-bit products"
    return None
