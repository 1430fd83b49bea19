"""ONNX models: a graph that onnxruntime runs without torch, and a record in the file's metadata.

The graph takes ``images``, uint8 (B, C, H, W), and gives ``classes``, int64 (B, T), the best class
of each step, and ``probabilities``, float32 (B, T). Everything else that a reader must know is JSON
in the metadata, under ``hanline``. That entry is the end of the file, and has the number and the
SHA-256 of the bytes before it.
"""

import hashlib
import json
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats import record
from hanline.formats.base import Format, ModelFile, Runnable, write_all
from hanline.models.recognizer import Recognizer

METADATA = "hanline"
# How Protocol Buffers write that key.
_MARK = b"\x0a\x07" + METADATA.encode()


@dataclass(frozen=True)
class Onnx(Format):
    """Options: see ``conf/format/onnx.yaml``."""

    int8: bool = False

    name: ClassVar = "onnx"
    title: ClassVar = "an ONNX model"
    suffixes: ClassVar = (".onnx",)

    def matches(self, path: Path) -> bool:
        # Others write ONNX files too. The metadata is at the end of the file.
        try:
            with path.open("rb") as file:
                view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                with view:
                    return path.suffix in self.suffixes and view.rfind(_MARK) >= 0
        except (OSError, ValueError):  # an empty file has nothing to map
            return False

    def load(self, path: Path) -> ModelFile:
        raise HanlineError(
            f"{path}: expected a file with weights to take, but {self.title} can only be read "
            "with. Take the checkpoint that it was made of"
        )

    def open(self, path: Path) -> Runnable:
        from hanline.formats.onnx.runtime import OnnxRecognizer

        return OnnxRecognizer(path)

    def save(
        self,
        path: Path,
        recognizer: Recognizer,
        history: Mapping[str, Any],
        batches: Iterable[Tensor] | None = None,
    ) -> list[Path]:
        require("onnx", "onnxscript", *(["onnxruntime"] if self.int8 else []))
        if recognizer.prediction.decoding is None:
            raise HanlineError(
                f"format=onnx: expected a prediction with a decoding, but "
                f"{type(recognizer.prediction).__name__} has none"
            )
        if self.int8 and batches is None:
            raise HanlineError(
                "format.int8=true: expected dataset=…, to measure how it changes the readings. "
                "Give an LMDB dataset, or a folder with images and gt.txt"
            )
        from hanline.formats.onnx.export import exported

        model = exported(recognizer)
        files = {path: _with_metadata(model, recognizer, history, path.stem)}
        if self.int8:
            from hanline.quantization.onnx_int8 import quantize_weights

            small = path.with_suffix(f".int8{path.suffix}")
            files[small] = _with_metadata(quantize_weights(model), recognizer, history, small.stem)
        return write_all(files)


def require(*packages: str) -> None:
    """Refuse to go on without packages that are not installed.

    Raises:
        HanlineError: naming them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise HanlineError(f'ONNX needs {" and ".join(missing)}: pip install ".[onnx]"')


def with_metadata(graph: bytes, entries: Mapping[str, str]) -> bytes:
    """Return a model's file with entries in its metadata, of which a later one counts.

    Raises:
        HanlineError: the package onnx is not installed.
    """
    require("onnx")
    import onnx

    # Parts of a message of Protocol Buffers may follow one another.
    end = onnx.ModelProto()
    for key, value in entries.items():
        entry = end.metadata_props.add()
        entry.key, entry.value = key, value
    return graph + bytes(end.SerializeToString())


def _with_metadata(
    model: Any, recognizer: Recognizer, history: Mapping[str, Any], name: str
) -> bytes:
    """Return a model's file with its record."""
    graph = model.SerializeToString()
    note = record.write(recognizer, history) | {
        "charset": recognizer.spec["charset"],
        "image": recognizer.spec["image"],
        "max_label_length": recognizer.spec["max_label_length"],
        "decoding": recognizer.prediction.decoding,
        "graph": {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()},
    }
    return with_metadata(graph, {METADATA: json.dumps(record.sealed(note)), "name": name})
