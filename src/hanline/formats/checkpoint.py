"""Recognisers out of checkpoint files, which may come from anywhere and are only ever read."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hanline import __version__
from hanline.errors import HanlineError
from hanline.models.recognizer import Recognizer
from hanline.training.module import CHECKPOINT_KEY

PARTS = (
    "transformation",
    "feature_extraction",
    "sequence_modeling",
    "prediction",
    "charset",
    "image",
    "max_label_length",
)
# Files of version 0.1 name their stages by the first of these packages.
FORMER_PACKAGE, STAGE_PACKAGE = "hanline.model.", "hanline.models."
IMAGE = ("height", "width", "channels", "keep_ratio")


def load_recognizer(path: Path) -> Recognizer:
    """The recogniser of a Hanline checkpoint, on the CPU, ready to read.

    Raises:
        HanlineError: the file is missing, damaged, no checkpoint of Hanline, or holds more than
            plain data.
    """
    return build_recognizer(*spec_and_state(load_weights_file(path), path), path)


def build_recognizer(spec: dict[str, Any], state: Mapping[str, Tensor], path: Path) -> Recognizer:
    """The recogniser that a spec describes, with its weights, on the CPU, ready to read.

    Args:
        spec: what :attr:`Recognizer.spec` was when it was written.
        state: its tensors by name.
        path: where they come from, for messages.

    Raises:
        HanlineError: the spec describes nothing that can be built, or the weights do not fit it.
    """
    try:
        recognizer = Recognizer(**spec)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise HanlineError(f"{path} describes a model that cannot be built: {error}") from error
    try:
        recognizer.load_state_dict(state)
    except RuntimeError as error:
        # torch lists every tensor; the first ones tell enough.
        reason = " ".join(str(error).split())[:300]
        raise HanlineError(
            f"the weights in {path} do not fit the model that it names: {reason} …"
        ) from error
    return recognizer.eval()


def spec_and_state(content: dict[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint says of its recogniser, and the recogniser's tensors by name.

    Args:
        content: what :func:`load_weights_file` gave.
        path: the file, for messages.

    Raises:
        HanlineError: it is no checkpoint of Hanline, or one of another version.
    """
    record, tensors = content.get(CHECKPOINT_KEY), content.get("state_dict")
    if not isinstance(record, dict) or not isinstance(tensors, dict):
        raise HanlineError(
            f"{path} is no checkpoint of Hanline: it does not say what model it is of. "
            "A run keeps its checkpoints as best_accuracy.ckpt and last.ckpt"
        )
    spec = complete_spec(record.get("recognizer"), record.get("version"), path)
    state = {
        str(key).removeprefix("recognizer."): tensor
        for key, tensor in tensors.items()
        if str(key).startswith("recognizer.") and isinstance(tensor, Tensor)
    }
    return spec, checked_tensors(state, path)


def complete_spec(spec: object, version: object, path: Path) -> dict[str, Any]:
    """A spec out of a file, if it has all the parts that this version knows.

    Raises:
        HanlineError: it has others.
    """
    spec = _with_current_targets(spec)
    if not isinstance(spec, dict) or not _is_complete(spec):
        raise HanlineError(
            f"{path} was written by Hanline {version}, whose models this version does not know"
        )
    return spec


def save_recognizer(path: Path, recognizer: Recognizer, history: Mapping[str, Any]) -> None:
    """Write a checkpoint that can be read with and trained further from.

    Args:
        path: the file, which appears whole or not at all.
        recognizer: what it holds.
        history: where the weights come from, as plain values.

    Raises:
        HanlineError: the file cannot be written.
    """
    record = {
        "version": __version__,
        "recognizer": recognizer.spec,
        "history": dict(history),
    }
    state = {f"recognizer.{name}": tensor for name, tensor in recognizer.state_dict().items()}
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({CHECKPOINT_KEY: record, "state_dict": state}, aside)
        aside.replace(path)
    except (OSError, RuntimeError) as error:
        raise HanlineError(f"cannot write {path}: {error}") from error


def checked_tensors(tensors: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Tensors out of a file, if a model can be made of them.

    Raises:
        HanlineError: something is no tensor, a tensor is far larger than what the file holds of
            it, or a number in it is not finite.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise HanlineError(
                f"{path} holds {name!r}, a {type(tensor).__name__}, where weights are expected"
            )
        # A tensor may repeat a few bytes into any size; before anything is computed with it.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise HanlineError(
                f"{name} in {path} claims {list(tensor.shape)}, which is more than the file holds"
            )
        if not bool(tensor.isfinite().all()):
            raise HanlineError(
                f"{name} in {path} holds numbers that are not finite (NaN or infinite): a training "
                "that diverged leaves such weights; take a checkpoint from before"
            )
    return {str(name): tensor for name, tensor in tensors.items()}


def load_weights_file(path: Path) -> dict[str, Any]:
    """The content of a file that torch saved: tensors and plain values, nothing else.

    Raises:
        HanlineError: the file is missing, damaged, or holds anything that would have to be
            executed to be loaded.
    """
    if not path.is_file():
        raise HanlineError(f"there is no checkpoint {path}")
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words advise to load it all the same; only the name in them is of use.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f": {named[1]}" if named else ""
        raise HanlineError(
            f"{path} is refused: it is damaged, or holds more than weights and plain values, which "
            f"would have to be executed to be loaded{what}"
        ) from error
    except Exception as error:
        # Whatever a broken file makes torch stumble over: no list of these is ever complete.
        reason = str(error) or type(error).__name__
        raise HanlineError(f"{path} is damaged, or was not saved by torch: {reason}") from error
    if not isinstance(content, dict):
        raise HanlineError(f"{path} holds a {type(content).__name__}, not the weights of a model")
    return content


def _check_archive(path: Path) -> None:
    """Refuse an archive with a wrong checksum, or one that would unpack to more than its own size:
    torch compresses nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            # torch itself does not look at the checksums.
            broken = None if unpacked > path.stat().st_size else archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # Older files are no archives, and what is damaged will not load.
    if unpacked > path.stat().st_size:
        raise HanlineError(
            f"{path} is refused: it has {path.stat().st_size:,} bytes and would unpack to "
            f"{unpacked:,}, while files that torch saves are not compressed"
        )
    if broken:
        raise HanlineError(f"{path} is damaged: the checksum of {broken} in it is wrong")


def _with_current_targets(spec: object) -> object:
    """Give stages that files name by a former package their name of today."""
    if not isinstance(spec, dict):
        return spec
    current = {}
    for part, value in spec.items():
        target = value.get("_target_") if isinstance(value, dict) else None
        if isinstance(target, str) and target.startswith(FORMER_PACKAGE):
            current[part] = value | {"_target_": STAGE_PACKAGE + target[len(FORMER_PACKAGE) :]}
        else:
            current[part] = value
    return current


def _is_complete(spec: dict[str, Any]) -> bool:
    image = spec.get("image")
    return (
        set(spec) == set(PARTS)
        and isinstance(spec["charset"], str)
        and isinstance(image, dict)
        and set(image) == set(IMAGE)
        and all(
            isinstance(value, int) or (name == "width" and value is None)
            for name, value in image.items()
        )
    )
