"""Text recognition models of PaddleOCR (PP-OCRv4, PP-OCRv5) as ONNX files, read by onnxruntime.

Such a file takes images (B, 3, 48, W), BGR in [−1, 1], and gives the probabilities (B, T, classes)
of CTC. Its dictionary is in the file's metadata, as ``character``, in an ``inference.yml`` beside
it, or in a ``.txt`` of its name. Class 0 is the blank; a space may follow the dictionary.

Its weights cannot be trained further here, since Hanline has none of its backbones.
"""

import mmap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import yaml
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.base import Description, Format, ModelFile, Runnable
from hanline.formats.onnx import with_metadata
from hanline.formats.onnx.runtime import decode, open_session

_METADATA = "character"
# How Protocol Buffers write that key.
_MARK = b"\x0a\x09" + _METADATA.encode()
_CONFIG = "inference.yml"
_HEIGHT, _LENGTH = 48, 100
_DECODING = {"kind": "ctc", "blank": 0, "first_character": 1}
# Of an inference.yml and of a dictionary; theirs have some 100 kilobytes.
_MOST_BYTES = 2**22


@dataclass(frozen=True)
class Paddle(Format):
    """See the module's docstring."""

    name: ClassVar = "paddle"
    title: ClassVar = "a recognition model of PaddleOCR as ONNX"
    suffixes: ClassVar = (".onnx",)

    def matches(self, path: Path) -> bool:
        return path.suffix in self.suffixes and (
            _has_mark(path) or _dictionary_file(path) is not None
        )

    def load(self, path: Path) -> ModelFile:
        raise HanlineError(
            f"{path}: expected a file with weights to take, but Hanline has none of the backbones "
            f"of {self.title}. Read with it: hanline predict checkpoint={path}"
        )

    def rewritten(self, path: Path, said: Description) -> bytes:
        model = PaddleRecognizer(path, said.charset.characters if said.charset else None)
        if said.stages is not None or said.max_label_length is not None:
            raise HanlineError(
                f"input={path}: expected no model and no max_label_length beside it, since the "
                "file has its own. Leave them out"
            )
        return with_metadata(path.read_bytes(), {_METADATA: "\n".join(model.dictionary)})

    def open(self, path: Path) -> Runnable:
        return PaddleRecognizer(path)


class PaddleRecognizer:
    """Reads images with onnxruntime; a :class:`hanline.formats.base.Runnable`.

    Args:
        path: an ONNX file of PaddleOCR.
        dictionary: its characters; None takes those of the file.

    Attributes:
        spec: ``charset``, ``image`` and ``max_label_length``.
        dictionary: what each class after the blank writes.

    Raises:
        HanlineError: the file is missing, damaged, of another kind, or its dictionary is missing or
            of another length.
    """

    def __init__(self, path: Path, dictionary: Sequence[str] | None = None) -> None:
        if not path.is_file():
            raise HanlineError(f"{path}: expected a model's file, but there is none")
        self.path = path
        self._session = open_session(path, ["CPUExecutionProvider"])
        found = dictionary if dictionary is not None else _dictionary(self._session, path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [list(part.shape) for part in (*inputs, *outputs)]
        if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[0][1] != 3 or len(shapes[1]) != 3:
            raise HanlineError(
                f"{path}: expected a model that maps images (B, 3, H, W) to probabilities "
                f"(B, T, classes), but it has {shapes}. Take the recognition model of PaddleOCR"
            )
        self._input = inputs[0].name
        height, width = (size if type(size) is int else None for size in shapes[0][2:])
        image = {"height": height or _HEIGHT, "width": width, "channels": 3, "keep_ratio": True}
        classes = shapes[1][2] if type(shapes[1][2]) is int else self._count(image)
        if classes == len(found) + 2:
            found = [*found, " "]
        if classes != len(found) + 1:
            raise HanlineError(
                f"{path}: expected a dictionary of {classes - 1} characters, or of one fewer "
                f"without the space, but it has {len(found)}. Give the one that it was trained "
                f"with: hanline import paddle {path} charset=file charset.path=…"
            )
        # Labels and readings are in this form, which some dictionaries are not.
        self.dictionary = [unicodedata.normalize("NFC", character) for character in found]
        characters = dict.fromkeys("".join(self.dictionary))
        self.spec: dict[str, Any] = {
            "charset": "".join(characters),
            "image": image,
            "max_label_length": _LENGTH,
        }

    @staticmethod
    def best_device() -> torch.device:
        """Return the CPU, on which onnxruntime always reads."""
        return torch.device("cpu")

    def to(self, device: torch.device) -> "PaddleRecognizer":
        """Read on a device from now on.

        Raises:
            HanlineError: it is not the CPU.
        """
        if device.type != "cpu":
            raise HanlineError(f"device={device}: expected cpu for {self.path}. Set device=cpu")
        return self

    def eval(self) -> "PaddleRecognizer":
        """Return the model: it is always ready to read."""
        return self

    def read_all(self, batches: Sequence[Tensor]) -> list[tuple[list[str], list[float]]]:
        """Read batches (B, 3, H, W), uint8 RGB, each of its own width."""
        return [self._read(images) for images in batches]

    def _read(self, images: Tensor) -> tuple[list[str], list[float]]:
        # OpenCV, with which it was trained, has blue first.
        pixels = images.flip(1).float().div(127.5).sub(1).cpu().numpy()
        probabilities = self._run(pixels)
        return decode(
            probabilities.argmax(axis=2), probabilities.max(axis=2), _DECODING, self.dictionary
        )

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        try:
            (probabilities,) = self._session.run(None, {self._input: pixels})
        except Exception as error:
            # onnxruntime's own errors have no common class but this.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise HanlineError(f"{self.path} cannot read these images: {reason}") from error
        return np.asarray(probabilities)

    def _count(self, image: dict[str, Any]) -> int:
        """Return the number of classes of a file that does not say it, by reading a blank image."""
        blank = np.zeros((1, 3, image["height"], image["width"] or 320), dtype=np.float32)
        return int(self._run(blank).shape[2])


def _dictionary(session: Any, path: Path) -> list[str]:
    """Return the dictionary in a file's metadata, or beside it."""
    text = session.get_modelmeta().custom_metadata_map.get(_METADATA)
    if text is not None:
        return list(text.split("\n"))
    file = _dictionary_file(path)
    if file is None:
        raise HanlineError(
            f"{path}: expected its dictionary in {_CONFIG} or {path.stem}.txt beside it. Put one "
            f"there, or give it: hanline import paddle {path} charset=file charset.path=…"
        )
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES).decode()
        if file.name != _CONFIG:
            return content.removesuffix("\n").replace("\r\n", "\n").split("\n")
        characters = yaml.safe_load(content)["PostProcess"]["character_dict"]
        if not isinstance(characters, list):
            raise TypeError("character_dict is not a list")
        return [str(character) for character in characters]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise HanlineError(f"{file}: expected the dictionary of {path} ({reason})") from error


def _dictionary_file(path: Path) -> Path | None:
    beside = (path.with_suffix(".txt"), path.with_name(_CONFIG))
    return next((file for file in beside if file.is_file()), None)


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return view.rfind(_MARK) >= 0
    except (OSError, ValueError):  # an empty file has nothing to map
        return False
