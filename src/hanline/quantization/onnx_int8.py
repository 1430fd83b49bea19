"""An ONNX model with 8-bit weights: smaller, and often quicker on a processor."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from hanline.errors import HanlineError
from hanline.formats.onnx import OnnxRecognizer
from hanline.inference.reader import Reader

# Convolutions are left as they are: onnxruntime multiplies them more slowly in 8 bits.
QUANTIZED = ["MatMul", "Gemm", "LSTM"]
ROUNDS = 3


@dataclass(frozen=True)
class Speed:
    """Images a second and bytes, of a model and of its 8-bit self."""

    before: float
    after: float
    bytes_before: int
    bytes_after: int

    def __str__(self) -> str:
        return (
            f"{self.before:.0f} → {self.after:.0f} images a second "
            f"({self.after / self.before:.2f}×), {self.bytes_before / 1e6:.1f} → "
            f"{self.bytes_after / 1e6:.1f} MB"
        )


def write_int8(path: Path, output: Path) -> None:
    """Write a model again with the weights of its matrices as 8-bit integers, one scale a column.

    Args:
        path: a file of :func:`hanline.formats.onnx.write_onnx`.
        output: the file to write.
    """
    aside = output.with_name(output.name + ".partial")
    root = logging.getLogger()
    level = root.level
    # It advises a preparation that this graph has had from its exporter.
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            str(path),
            str(aside),
            op_types_to_quantize=QUANTIZED,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    finally:
        root.setLevel(level)
    model: Any = onnx.load(str(aside))
    model.metadata_props.clear()
    model.metadata_props.extend(onnx.load(str(path)).metadata_props)
    onnx.save(model, str(aside))
    aside.replace(output)


def compare_speed(path: Path, small: Path, images: Iterable[Path | bytes]) -> Speed:
    """Read images with both, in turns, and take the best round of each; decoding does not count.

    Args:
        path, small: the model, and its 8-bit self.
        images: image files; those that cannot be read are left out.

    Raises:
        HanlineError: none can be read.
    """
    recognizers = [OnnxRecognizer(file) for file in (path, small)]
    batches = list(Reader(recognizers[0], "cpu", batch_size=32).batches(images))
    count = sum(len(batch) for batch in batches)
    if not count:
        raise HanlineError("there is no image to measure the speed with")
    seconds = [float("inf")] * 2
    for _ in range(ROUNDS):
        for i, recognizer in enumerate(recognizers):
            started = time.perf_counter()
            for batch in batches:
                recognizer.read(batch)
            seconds[i] = min(seconds[i], time.perf_counter() - started)
    before, after = (count / s for s in seconds)
    return Speed(before, after, path.stat().st_size, small.stat().st_size)
