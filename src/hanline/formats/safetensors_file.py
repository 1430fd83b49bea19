"""safetensors: weights in a file that can hold nothing else, and a JSON of the config beside it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save
from torch import Tensor

from hanline import __version__
from hanline.errors import HanlineError
from hanline.formats.checkpoint import build_recognizer, checked_tensors, complete_spec
from hanline.models.recognizer import Recognizer
from hanline.system import files as system_files

SUFFIX = ".safetensors"
_RANGES = "ranges"


def write_safetensors(
    path: Path, recognizer: Recognizer, history: Mapping[str, Any], half: bool
) -> list[Path]:
    """Write ``NAME.safetensors`` and ``NAME.json``.

    Args:
        path: the first of them.
        recognizer: what is written.
        history: where the weights come from, as plain values.
        half: whether floats are written in 16 bits.

    Returns:
        Both files. The second has the recogniser's ``ranges`` too.
    """
    record = {
        "format": "hanline",
        "version": __version__,
        "recognizer": recognizer.spec,
        "history": dict(history),
    }
    if recognizer.ranges is not None:
        record[_RANGES] = {name: list(bounds) for name, bounds in recognizer.ranges.items()}
    # Convolutions lie in memory channels last, which the format cannot say.
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in recognizer.state_dict().items()
    }
    aside = path.with_name(path.name + ".partial")
    aside.write_bytes(save(tensors))
    aside.replace(path)
    config = path.with_suffix(".json")
    system_files.write_text(config, json.dumps(record, ensure_ascii=False, indent=2) + "\n")
    return [path, config]


class Stored(NamedTuple):
    """What the two files hold.

    Attributes:
        spec: what :attr:`Recognizer.spec` was.
        tensors: by name.
        history: where the weights come from.
        ranges: what :attr:`Recognizer.ranges` was.
    """

    spec: dict[str, Any]
    tensors: dict[str, Tensor]
    history: dict[str, Any]
    ranges: dict[str, tuple[float, float]] | None


def read_safetensors(path: Path) -> Stored:
    """Read both files.

    Raises:
        HanlineError: one of them is missing or damaged.
    """
    config = path.with_suffix(".json")
    for file in (path, config):
        if not file.is_file():
            raise HanlineError(
                f"there is no {file}: the weights stand in a file .safetensors, and what model "
                "they are of in a .json of the same name beside it"
            )
    try:
        record = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HanlineError(f"{config} is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("format") != "hanline":
        raise HanlineError(f"{config} does not describe a model of Hanline")
    spec = complete_spec(record.get("recognizer"), record.get("version"), config)
    try:
        tensors = load_file(str(path))
    except Exception as error:
        # The package has an error of its own, and torch others for shapes it cannot make.
        raise HanlineError(f"{path} is damaged, or no safetensors file: {error}") from error
    history = record.get("history")
    return Stored(
        spec,
        checked_tensors(tensors, path),
        history if isinstance(history, dict) else {},
        _checked_ranges(record.get(_RANGES), config),
    )


def _checked_ranges(ranges: object, config: Path) -> dict[str, tuple[float, float]] | None:
    if ranges is None:
        return None
    try:
        checked = {str(name): (float(a), float(b)) for name, (a, b) in dict(ranges).items()}  # type: ignore[call-overload]
        sound = all(math.isfinite(a) and a <= b < math.inf for a, b in checked.values())
    except (TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise HanlineError(f"{config} is damaged: its {_RANGES} are no pairs of numbers")
    return checked


def load_safetensors(path: Path) -> Recognizer:
    """The recogniser of a safetensors file, on the CPU, ready to read.

    Raises:
        HanlineError: as :func:`read_safetensors`, or the weights do not fit.
    """
    return recognizer_of(read_safetensors(path), path)


def recognizer_of(stored: Stored, path: Path) -> Recognizer:
    """The recogniser that was stored in a file, on the CPU, ready to read.

    Raises:
        HanlineError: the weights do not fit.
    """
    recognizer = build_recognizer(stored.spec, stored.tensors, path)
    recognizer.ranges = stored.ranges
    return recognizer
