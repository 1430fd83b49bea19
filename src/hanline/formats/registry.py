"""Model files of every format that can be read with, opened."""

from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.checkpoint import (
    build_recognizer,
    checked_tensors,
    load_weights_file,
    spec_and_state,
)
from hanline.formats.dtrb import is_dtrb_state, recognizer_state
from hanline.formats.onnx import SUFFIX as ONNX
from hanline.formats.onnx import OnnxRecognizer
from hanline.formats.safetensors_file import SUFFIX as SAFETENSORS
from hanline.formats.safetensors_file import load_safetensors, read_safetensors
from hanline.models.recognizer import Recognizer
from hanline.training.module import CHECKPOINT_KEY

# The reader of headlines that comes with Hanline, and what it is called where a file could stand.
SHIPPED = "shipped"
_SHIPPED_FILE = Path(str(resources.files("hanline"))) / "weights" / "headline.safetensors"


def model_file(name: str | Path) -> Path:
    """The file of a model: ``shipped`` stands for the one that comes with Hanline."""
    return _SHIPPED_FILE if name == SHIPPED else Path(name)


def open_recognizer(path: Path) -> Recognizer | OnnxRecognizer:
    """What reads images as a file says: a checkpoint, a safetensors file or an ONNX model.

    Raises:
        HanlineError: the file is missing, damaged, or none of the three.
    """
    if path.suffix == ONNX:
        return OnnxRecognizer(path)
    if path.suffix == SAFETENSORS:
        return load_safetensors(path)
    return build_recognizer(*spec_and_state(checkpoint_content(path), path), path)


def checkpoint_content(path: Path) -> dict[str, Any]:
    """What a checkpoint of Hanline holds.

    Raises:
        HanlineError: the file is missing, damaged, or a model of others, which must be imported.
    """
    content = load_weights_file(path)
    if is_dtrb_state(content):
        raise HanlineError(
            f"{path} is a model of DTRB or EasyOCR, which does not say its charset nor the size of "
            f"its images: make a checkpoint of it with hanline import dtrb {path} charset=…"
        )
    return content


def open_weights(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Weights to train further from, under the names of a recogniser.

    Args:
        path: a checkpoint, a safetensors file, or a ``.pth`` of DTRB or EasyOCR.

    Returns:
        The recogniser's spec, None where the file does not say it; and its tensors.

    Raises:
        HanlineError: the file is missing, damaged, or none of these.
    """
    if path.suffix == SAFETENSORS:
        stored = read_safetensors(path)
        return stored.spec, stored.tensors
    content = load_weights_file(path)
    if CHECKPOINT_KEY in content:
        return spec_and_state(content, path)
    if is_dtrb_state(content):
        return None, recognizer_state(checked_tensors(content, path))
    raise HanlineError(
        f"{path} is neither a checkpoint of Hanline nor a model of DTRB or EasyOCR: finetune_from "
        "needs one"
    )
