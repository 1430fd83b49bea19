"""safetensors: weights in a file that can hold nothing else, and a JSON of the config beside it.

Both files have a SHA-256: the ``.safetensors`` of its table of tensors and their bytes, in its
metadata; the ``.json`` of its own content. Files of format 1 have none. Delete the line of a
``.json`` that was edited by hand.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load, save
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats import record
from hanline.formats.base import Format, ModelFile, write_all
from hanline.formats.torch_file import checked_tensors
from hanline.models.recognizer import Recognizer
from hanline.quantization.torch_int8 import calibrate

_SUM = "sha256"
_METADATA = "__metadata__"
_FORMAT = "hanline"


@dataclass(frozen=True)
class Safetensors(Format):
    """Options: see ``conf/format/safetensors.yaml``."""

    half: bool = False
    int8: bool = False

    name: ClassVar = "safetensors"
    title: ClassVar = "weights in safetensors, and the config in JSON"
    suffixes: ClassVar = (".safetensors",)

    def load(self, path: Path) -> ModelFile:
        config = path.with_suffix(".json")
        for file in (path, config):
            if not file.is_file():
                raise HanlineError(
                    f"{file}: expected a file, but there is none. The weights are in a "
                    ".safetensors, and the model's config is in a .json of the same name"
                )
        note = _checked_record(config)
        parts = record.read(note, config)
        try:
            content = path.read_bytes()
            tensors = load(content)
            stored = _checksum(content)
        except Exception as error:
            # The package has an error of its own, and torch others for shapes it cannot make.
            raise HanlineError(f"{path} is damaged, or no safetensors file: {error}") from error
        # Files of format 1 have no checksum.
        if stored[0] not in (stored[1], None) or (
            stored[0] is None and record.check_version(note, config) > 1
        ):
            raise HanlineError(f"{path} is damaged: its checksum is wrong. Copy it again")
        return ModelFile(state=checked_tensors(tensors, path), **parts)

    def save(
        self,
        path: Path,
        recognizer: Recognizer,
        history: Mapping[str, Any],
        batches: Iterable[Tensor] | None = None,
    ) -> list[Path]:
        if self.int8:
            if batches is None:
                raise HanlineError(
                    "format.int8=true: expected dataset=…, images to measure the bounds of the "
                    "features on. Give an LMDB dataset, or a folder with images and gt.txt"
                )
            recognizer.ranges = calibrate(recognizer, batches)
        # Convolutions lie in memory channels last, which the format cannot say.
        tensors = {
            name: (
                tensor.half() if self.half and tensor.is_floating_point() else tensor
            ).contiguous()
            for name, tensor in recognizer.state_dict().items()
        }
        note = record.sealed({"format": _FORMAT, **record.write(recognizer, history)})
        text = json.dumps(note, ensure_ascii=False, indent=2) + "\n"
        metadata = {_SUM: _checksum(save(tensors))[1]}
        files = {path: save(tensors, metadata), path.with_suffix(".json"): text.encode()}
        return write_all(files)

    def save_measured(self, path: Path, output: Path, entries: Mapping[str, Any]) -> list[Path]:
        self.load(path)  # It refuses damaged files.
        note = record.with_measured(_checked_record(path.with_suffix(".json")), entries)
        text = json.dumps(note, ensure_ascii=False, indent=2) + "\n"
        contents = {output: path.read_bytes()} if output != path else {}
        return write_all(contents | {output.with_suffix(".json"): text.encode()})


def _checked_record(config: Path) -> dict[str, Any]:
    try:
        note = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HanlineError(f"{config} is damaged: {error}") from error
    if not isinstance(note, dict) or note.get("format") != _FORMAT:
        raise HanlineError(f"{config} does not describe a model of Hanline")
    record.check_version(note, config)
    record.check_seal(note, config)
    return note


def _checksum(content: bytes) -> tuple[str | None, str]:
    """Return the checksum in a file's metadata, None if it has none, and the one that it has."""
    start = 8 + struct.unpack("<Q", content[:8])[0]
    table = json.loads(content[8:start])
    stored = table.pop(_METADATA, {}).get(_SUM)
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode())
    digest.update(memoryview(content)[start:])
    return stored, digest.hexdigest()
