"""The record that Hanline's own model files carry, and the recognizer that it describes.

The record is made of plain values. ``format_version`` rises whenever a reader that ignores a new
key would read wrongly. So unknown keys of a known version are ignored, and a newer version is
refused. Version 1 has no ``format_version``.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hanline import __version__
from hanline.configs import STAGES
from hanline.data.images import ImageFormat
from hanline.errors import HanlineError
from hanline.models.confidence import ConfidenceScale
from hanline.models.recognizer import Recognizer

FORMAT_VERSION = 2
# Files of version 1 may name their stages by the first of these packages.
FORMER_PACKAGE, STAGE_PACKAGE = "hanline.model.", "hanline.models."
# The largest values that a file may claim.
HEIGHT, WIDTH, LABEL_LENGTH = 4096, 65_536, 10_000
# A stage's number is at most this, or the largest size of the file's tensors if that is more.
NUMBER = 1024
_RANGES, _SUM = "ranges", "sha256"
_SCALE, _DELAY = "confidence_scale", "delay"
# The largest numbers of a confidence scale, and the largest delay in heights of an image.
_STEEPEST, _LATEST = 100.0, 2.0


def write(recognizer: Recognizer, history: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the record of a recognizer.

    Args:
        recognizer: the model.
        history: see :class:`hanline.formats.base.ModelFile`; None leaves it out.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "recognizer": recognizer.spec,
    }
    if history is not None:
        record["history"] = dict(history)
    if recognizer.ranges is not None:
        record[_RANGES] = {name: list(bounds) for name, bounds in recognizer.ranges.items()}
    return record | measured(recognizer.confidence_scale, recognizer.delay)


def measured(scale: ConfidenceScale | None, delay: float) -> dict[str, Any]:
    """Return the entries of a record that ``hanline calibrate`` measures."""
    entries: dict[str, Any] = {} if scale is None else {_SCALE: asdict(scale)}
    return entries | ({_DELAY: delay} if delay else {})


def with_measured(record: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with other entries of :func:`measured`, sealed again if it was."""
    rest = {key: value for key, value in record.items() if key not in (_SCALE, _DELAY, _SUM)}
    return sealed(rest | dict(entries)) if _SUM in record else rest | dict(entries)


def read(record: object, path: Path) -> dict[str, Any]:
    """Check a record.

    Returns:
        ``spec``, ``history`` and ``extras`` of a :class:`hanline.formats.base.ModelFile`.

    Raises:
        HanlineError: it is of a newer version, or describes no recognizer.
    """
    if not isinstance(record, Mapping):
        raise HanlineError(f"{path}: expected a description of a model, not {_short(record)}")
    check_version(record, path)
    spec = _checked_spec(record.get("recognizer"), path)
    history, ranges = record.get("history"), record.get(_RANGES)
    extras: dict[str, Any] = {} if ranges is None else {_RANGES: _checked_ranges(ranges, path)}
    if _SCALE in record:
        extras[_SCALE] = _checked_scale(record[_SCALE], path)
    if _DELAY in record:
        extras[_DELAY] = _checked_delay(record[_DELAY], path)
    return {
        "spec": spec,
        "history": dict(history) if isinstance(history, Mapping) else {},
        "extras": extras,
    }


def check_version(record: Mapping[str, Any], path: Path) -> int:
    """Return the format version of a record.

    Raises:
        HanlineError: it is newer than this version of Hanline, or no version.
    """
    version = record.get("format_version", 1)
    if type(version) is not int or version < 1:
        raise HanlineError(f"{path} is damaged: its format_version is {_short(version)}")
    if version > FORMAT_VERSION:
        raise HanlineError(
            f"{path} was made by a newer version of Hanline (format {version}; this one, "
            f"{__version__}, reads up to {FORMAT_VERSION}): update Hanline"
        )
    return version


def sealed(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with a SHA-256 of its own content, for files without checksums."""
    return {**note, _SUM: _sum(note)}


def check_seal(note: Mapping[str, Any], path: Path) -> None:
    """Refuse a record that differs from what was sealed. One without a seal passes.

    Raises:
        HanlineError: it is damaged, or was edited.
    """
    if note.get(_SUM) not in (None, _sum(note)):
        raise HanlineError(
            f"{path} is damaged: the {_SUM} of its description is wrong. Copy it again; if you "
            f"have edited it, delete the line {_SUM}"
        )


def _sum(note: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in note.items() if key != _SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def build(
    spec: Mapping[str, Any], state: Mapping[str, Tensor], extras: Mapping[str, Any], path: Path
) -> Recognizer:
    """Build the recognizer of a file, with its weights, on the CPU, ready to read.

    Args:
        spec, state, extras: of a :class:`hanline.formats.base.ModelFile`.
        path: the file, for messages.

    Raises:
        HanlineError: the spec describes nothing that can be built, or the weights do not fit it.
    """
    most = max([NUMBER, len(state), *(size for tensor in state.values() for size in tensor.shape)])
    for stage in STAGES:
        _check_numbers(stage, spec[stage], most, path)
    try:
        # First without memory: a few bytes may describe a model that no memory holds.
        with torch.device("meta"):
            shapes = {name: t.shape for name, t in Recognizer(**spec).state_dict().items()}
        _check_shapes(shapes, state)
        recognizer = Recognizer(**spec)
        recognizer.load_state_dict(state)
    except HanlineError as error:
        raise HanlineError(f"{path} describes a model that cannot be built: {error}") from error
    except (TypeError, ValueError, KeyError, RuntimeError, MemoryError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise HanlineError(f"{path} describes a model that cannot be built: {reason}") from error
    recognizer.ranges = extras.get(_RANGES)
    recognizer.confidence_scale = extras.get(_SCALE)
    recognizer.delay = extras.get(_DELAY, 0.0)
    return recognizer.eval()


def _check_shapes(shapes: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    wrong = [
        f"{name} is {list(state[name].shape) if name in state else 'missing'}"
        f"{f', not {list(shapes[name])}' if name in shapes else ', which the model has not'}"
        for name in sorted(shapes.keys() | state.keys())
        if name not in state or shapes.get(name) != state[name].shape
    ]
    if wrong:
        raise HanlineError(
            f"its weights do not fit: {'; '.join(wrong[:3])}{' …' if len(wrong) > 3 else ''}"
        )


def _checked_spec(spec: object, path: Path) -> dict[str, Any]:
    """Return a recognizer's spec out of a file, without unknown keys."""

    def refuse(key: str, value: object, rule: str) -> HanlineError:
        return HanlineError(f"{path} describes no model: {key} is {_short(value)}, not {rule}")

    if not isinstance(spec, Mapping):
        raise refuse("recognizer", spec, "a mapping")
    checked: dict[str, Any] = {}
    for stage in STAGES:
        config = spec.get(stage)
        if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
            raise refuse(stage, config, "the config of a stage")
        target = config.get("_target_")
        if isinstance(target, str) and target.startswith(FORMER_PACKAGE):
            config = {**config, "_target_": STAGE_PACKAGE + target.removeprefix(FORMER_PACKAGE)}
        checked[stage] = dict(config)
    checked["charset"] = spec.get("charset")
    if not isinstance(checked["charset"], str):
        raise refuse("charset", checked["charset"], "a text")
    image = spec.get("image")
    if not isinstance(image, Mapping):
        raise refuse("image", image, "a mapping")
    for key, most in (("height", HEIGHT), ("width", WIDTH), ("channels", 3)):
        size = image.get(key, 0)
        if not _is_whole(size, most) and not (key == "width" and size is None):
            raise refuse(f"image.{key}", size, f"a whole number from 1 to {most}")
    if not isinstance(image.get("keep_ratio"), bool):
        raise refuse("image.keep_ratio", image.get("keep_ratio"), "true or false")
    checked["image"] = {key: image[key] for key in ("height", "width", "channels", "keep_ratio")}
    try:
        ImageFormat(**checked["image"])
    except HanlineError as error:
        raise HanlineError(f"{path} describes no model: {error}") from error
    checked["max_label_length"] = length = spec.get("max_label_length")
    if not _is_whole(length, LABEL_LENGTH):
        raise refuse("max_label_length", length, f"a whole number from 1 to {LABEL_LENGTH}")
    return checked


def _check_numbers(key: str, config: Any, most: float, path: Path) -> None:
    """Refuse numbers of a stage that cannot belong to the file's tensors."""
    values = [config]
    while values:
        value = values.pop()
        if isinstance(value, Mapping | list | tuple):
            values += value.values() if isinstance(value, Mapping) else value
        elif isinstance(value, int | float) and not abs(value) <= most:
            raise HanlineError(
                f"{path} describes a model that cannot be built: {key} has the number "
                f"{_short(value)}, expected at most {most}"
            )


def _checked_ranges(ranges: object, path: Path) -> dict[str, tuple[float, float]]:
    try:
        checked = {str(name): (float(a), float(b)) for name, (a, b) in dict(ranges).items()}  # type: ignore[call-overload]
        sound = all(math.isfinite(a) and a <= b < math.inf for a, b in checked.values())
    except (TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise HanlineError(f"{path} is damaged: its {_RANGES} are no pairs of numbers")
    return checked


def _checked_scale(scale: object, path: Path) -> ConfidenceScale:
    names = {"slope", "offset"}
    if isinstance(scale, Mapping) and names <= scale.keys():
        slope, offset = scale["slope"], scale["offset"]
        if _is_number(slope, _STEEPEST) and slope > 0 and _is_number(offset, _STEEPEST):
            return ConfidenceScale(float(slope), float(offset))
    raise HanlineError(f"{path} is damaged: its {_SCALE} is {_short(scale)}, not two numbers")


def _checked_delay(delay: object, path: Path) -> float:
    if not _is_number(delay, _LATEST):
        raise HanlineError(f"{path} is damaged: its {_DELAY} is {_short(delay)}")
    return float(delay)  # type: ignore[arg-type]  # it is a number


def _is_number(value: object, most: float) -> bool:
    return type(value) in (int, float) and abs(value) <= most  # type: ignore[arg-type]  # a number


def _is_whole(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply; a number of too many digits
        text = type(value).__name__
    return text if len(text) <= 60 else text[:60] + "…"
