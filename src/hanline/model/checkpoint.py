"""Recognisers out of checkpoint files, which may come from anywhere and are only ever read."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from hanline.errors import HanlineError
from hanline.model.lightning_module import CHECKPOINT_KEY
from hanline.model.recognizer import Recognizer

PARTS = (
    "transformation",
    "feature_extraction",
    "sequence_modeling",
    "prediction",
    "charset",
    "image",
    "max_label_length",
)


def load_recognizer(path: Path) -> Recognizer:
    """The recogniser of a Hanline checkpoint, on the CPU, ready to read.

    Raises:
        HanlineError: the file is missing, damaged, no checkpoint of Hanline, or holds more than
            plain data.
    """
    content = load_weights_file(path)
    record = content.get(CHECKPOINT_KEY)
    if not isinstance(record, dict) or not isinstance(content.get("state_dict"), dict):
        raise HanlineError(
            f"{path} is no checkpoint of Hanline: it does not say what model it is of. "
            "A run keeps its checkpoints as best_accuracy.ckpt and last.ckpt"
        )
    spec = record["recognizer"]
    if not isinstance(spec, dict) or set(spec) != set(PARTS):
        raise HanlineError(
            f"{path} was written by Hanline {record.get('version')}, whose models this version "
            "does not know"
        )
    recognizer = Recognizer(**spec)
    state = {
        key.removeprefix("recognizer."): tensor
        for key, tensor in content["state_dict"].items()
        if key.startswith("recognizer.")
    }
    try:
        recognizer.load_state_dict(state)
    except RuntimeError as error:
        raise HanlineError(
            f"the weights in {path} do not fit the model that it names: {error}"
        ) from error
    return recognizer.eval()


def load_weights_file(path: Path) -> dict[str, Any]:
    """The content of a file that torch saved: tensors and plain values, nothing else.

    Raises:
        HanlineError: the file is missing, damaged, or holds anything that would have to be
            executed to be loaded.
    """
    if not path.is_file():
        raise HanlineError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise HanlineError(
            f"{path} is refused: it is damaged, or holds more than weights and plain values, which "
            f"would have to be executed to be loaded ({reason})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HanlineError(f"{path} is damaged, or was not saved by torch: {error}") from error
    if not isinstance(content, dict):
        raise HanlineError(f"{path} holds a {type(content).__name__}, not the weights of a model")
    return content
