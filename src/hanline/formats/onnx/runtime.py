"""Reading with an ONNX model, by onnxruntime and numpy."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats import record
from hanline.formats.onnx import METADATA, require
from hanline.models.confidence import least_of_runs, with_least

_GPU = "CUDAExecutionProvider"


class OnnxRecognizer:
    """Reads images with onnxruntime; a :class:`hanline.formats.base.Runnable`.

    Args:
        path: a file of :class:`hanline.formats.onnx.Onnx`.

    Attributes:
        spec: :attr:`Recognizer.spec` of the recognizer that was exported.
        confidence_scale: :attr:`Recognizer.confidence_scale` of it.

    Raises:
        HanlineError: the file is missing, damaged or not Hanline's, or onnxruntime is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise HanlineError(f"{path}: expected a model's file, but there is none")
        self.path = path
        self._session = open_session(path, ["CPUExecutionProvider"])
        note = _checked_metadata(self._session, path)
        known = record.read(note, path)
        self.spec: dict[str, Any] = known["spec"]
        self.confidence_scale = known["extras"].get("confidence_scale")
        self._decoding = _checked_decoding(note, path)

    @staticmethod
    def best_device() -> torch.device:
        """Return a GPU if this onnxruntime can use one, else the CPU."""
        gpu = _GPU in _runtime().get_available_providers() and torch.cuda.is_available()
        return torch.device("cuda" if gpu else "cpu")

    def to(self, device: torch.device) -> "OnnxRecognizer":
        """Read on a device from now on.

        Raises:
            HanlineError: the onnxruntime that is installed has no provider for it.
        """
        if device.type == "cpu":
            return self
        if device.type != "cuda" or _GPU not in _runtime().get_available_providers():
            raise HanlineError(
                f"the onnxruntime here cannot read on {device}: set device=cpu, or install "
                "onnxruntime-gpu in its place"
            )
        provider = (_GPU, {"device_id": device.index or 0})
        self._session = open_session(self.path, [provider, "CPUExecutionProvider"])
        return self

    def eval(self) -> "OnnxRecognizer":
        """Return the model: it is always ready to read."""
        return self

    def read_all(self, batches: Sequence[Tensor]) -> list[tuple[list[str], list[float]]]:
        """Read batches (B, C, H, W), each of its own width, as :meth:`read` does."""
        return [self.read(images) for images in batches]

    def read(self, images: Tensor) -> tuple[list[str], list[float]]:
        """Read images, uint8 (B, C, H, W): return B texts and their confidences."""
        try:
            classes, probabilities = self._session.run(None, {"images": images.cpu().numpy()})
            return decode(classes, probabilities, self._decoding, self.spec["charset"])
        except Exception as error:
            # onnxruntime's own errors have no common class but this. A model that was edited may
            # give classes that its charset has not.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise HanlineError(f"{self.path} cannot read these images: {reason}") from error


def decode(
    classes: np.ndarray,
    probabilities: np.ndarray,
    decoding: Mapping[str, Any],
    characters: Sequence[str],
) -> tuple[list[str], list[float]]:
    """Decode classes and probabilities (B, T) to B texts and their confidences.

    Args:
        decoding: see :attr:`hanline.models.stage.Prediction.decoding`.
        characters: of each class from ``first_character``.
    """
    first = decoding["first_character"]
    characters_only = classes >= first
    if "blank" in decoding:
        # Each character once, where it starts. All steps decide.
        characters_only[:, 1:] &= classes[:, 1:] != classes[:, :-1]
        confidences = probabilities.prod(axis=1)
        least = least_of_runs(classes, probabilities, decoding["blank"])
    else:
        going = (classes == decoding["end"]).cumsum(axis=1) == 0
        # The last step is there to end a text, not to lengthen it.
        going[:, -1] = False
        characters_only &= going
        confidences = np.where(going, probabilities, 1.0).prod(axis=1)
        least = np.where(characters_only, probabilities, 1.0).min(axis=1)
        # A text that ends at once has no character to be sure of.
        confidences = np.where(going[:, 0], confidences, 0.0)
    texts = [
        "".join(characters[c - first] for c in line[keep])
        for line, keep in zip(classes, characters_only, strict=True)
    ]
    return texts, with_least(texts, confidences.tolist(), least.tolist())


def _checked_metadata(session: Any, path: Path) -> dict[str, Any]:
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    except UnicodeDecodeError as error:
        raise HanlineError(f"the metadata of {path} is damaged: {error}") from error
    if text is None:
        raise HanlineError(
            f"{path} does not say what it reads: it was not written by hanline export format=onnx"
        )
    try:
        note = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HanlineError(f"the metadata of {path} is damaged: {error}") from error
    if not isinstance(note, dict):
        raise HanlineError(f"the metadata of {path} is damaged: it is not a mapping")
    if record.check_version(note, path) > 1:
        record.check_seal(note, path)
        graph = note.get("graph")
        size = graph.get("bytes") if isinstance(graph, dict) else None
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(size if type(size) is int else 0)).hexdigest()
        if not isinstance(graph, dict) or graph.get("sha256") != digest:
            raise HanlineError(f"{path} is damaged: its checksum is wrong. Copy it again")
    return note


def _checked_decoding(note: Mapping[str, Any], path: Path) -> dict[str, Any]:
    decoding = note.get("decoding")
    if isinstance(decoding, dict):
        specials = [decoding[key] for key in ("blank", "end") if key in decoding]
        numbers = [*specials, decoding.get("first_character")]
        whole = len(numbers) == 2 and all(type(number) is int for number in numbers)
        if whole and 0 <= numbers[0] < numbers[1] <= record.NUMBER:
            return decoding
    raise HanlineError(f"the metadata of {path} is damaged: its decoding has no blank and no end")


def open_session(path: Path, providers: list[Any]) -> Any:
    """Open a session of onnxruntime.

    Raises:
        HanlineError: the file is damaged, or onnxruntime is missing.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        # onnxruntime's own errors have no common class but this.
        reason = str(error).splitlines()[0]
        raise HanlineError(f"{path} is damaged, or no ONNX model: {reason}") from error


def _runtime() -> Any:
    require("onnxruntime")
    import onnxruntime

    return onnxruntime
