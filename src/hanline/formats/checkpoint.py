"""Hanline's checkpoints, ``.ckpt``: written by training runs and imports, read by everything.

This file writes them and reads them. A run's checkpoint is Lightning's, with a record of the
recognizer that :func:`add_record` puts in.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats import record
from hanline.formats.base import Format, ModelFile, write_all
from hanline.formats.torch_file import checked_tensors, load_weights_file, peek, saved
from hanline.models.recognizer import Recognizer

KEY = "hanline"
_METRICS = "metrics"
# The attribute of the LightningModule that is the recognizer.
_PREFIX = "recognizer."
# The file that a run writes beside its checkpoints, and its keys that say where weights come from.
RUN_CONFIG = "config.yaml"
DATA_KEYS = ("finetune_from", "corpus", "synthesis", "renderer", "data")


@dataclass(frozen=True)
class Checkpoint(Format):
    """See the module's docstring."""

    name: ClassVar = "checkpoint"
    title: ClassVar = "a checkpoint of Hanline"
    suffixes: ClassVar = (".ckpt",)

    def matches(self, path: Path) -> bool:
        return KEY in peek(path)

    def load(self, path: Path) -> ModelFile:
        return model_of(load_weights_file(path), path)

    def save(
        self,
        path: Path,
        recognizer: Recognizer,
        history: Mapping[str, Any],
        batches: Iterable[Tensor] | None = None,
    ) -> list[Path]:
        state = {_PREFIX + name: tensor for name, tensor in recognizer.state_dict().items()}
        content = {KEY: record.write(recognizer, history), "state_dict": state}
        return write_all({path: saved(content)})

    def save_measured(self, path: Path, output: Path, entries: Mapping[str, Any]) -> list[Path]:
        content = dict(load_weights_file(path))
        model_of(content, path)  # It refuses other files.
        content[KEY] = record.with_measured(content[KEY], entries)
        return write_all({output: saved(content)})


def add_record(
    checkpoint: dict[str, Any], recognizer: Recognizer, metrics: Mapping[str, float]
) -> None:
    """Put into a run's checkpoint what it takes to read with it.

    Args:
        checkpoint: Lightning's; its ``state_dict`` has the recognizer below ``recognizer.``.
        recognizer: the trained model.
        metrics: those of the last validation by name, with its ``step``; empty if there was none.
    """
    checkpoint[KEY] = record.write(recognizer) | {_METRICS: dict(metrics)}


def recorded_metrics(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that :func:`add_record` put in; empty if there are none."""
    metrics = checkpoint[KEY].get(_METRICS)
    return dict(metrics) if isinstance(metrics, dict) else {}


def model_of(content: Mapping[str, Any], path: Path) -> ModelFile:
    """Return the model in the content of a checkpoint.

    Args:
        content: the result of :func:`hanline.formats.torch_file.load_weights_file`.
        path: the file, for messages. A run's configuration lies beside it.

    Raises:
        HanlineError: it is not a checkpoint of Hanline, or of a newer version.
    """
    note, tensors = content.get(KEY), content.get("state_dict")
    if not isinstance(note, dict) or not isinstance(tensors, dict):
        raise HanlineError(
            f"{path} is not a checkpoint of Hanline: it does not say what model it is of. "
            "A run keeps its checkpoints as best_accuracy.ckpt and last.ckpt"
        )
    parts = record.read(note, path)
    state = {
        str(key).removeprefix(_PREFIX): tensor
        for key, tensor in tensors.items()
        if str(key).startswith(_PREFIX) and isinstance(tensor, Tensor)
    }
    parts["history"] = parts["history"] or _history_of_run(content, path)
    return ModelFile(state=checked_tensors(state, path), **parts)


def _history_of_run(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    history: dict[str, Any] = {"version": str(content[KEY].get("version"))}
    if isinstance(content.get("global_step"), int):
        history["steps"] = content["global_step"]
    if metrics := _metrics(content, path):
        history[_METRICS] = metrics
    try:
        settings = yaml.safe_load((path.parent / RUN_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return history  # Nothing more is known.
    if isinstance(settings, dict):
        known = {key: settings[key] for key in DATA_KEYS if settings.get(key) is not None}
        history["training"] = known
    return history


def _metrics(content: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Return the validation metrics of a run's checkpoint by name, in the metrics' units."""
    metrics = recorded_metrics(content)
    if metrics:
        return {
            str(name): float(value)
            for name, value in metrics.items()
            # JSON has no infinite numbers.
            if isinstance(value, int | float) and name != "step" and math.isfinite(value)
        }
    # Format 1 has them in the state of the callback that kept the file.
    states = content.get("callbacks")
    for state in states.values() if isinstance(states, dict) else ():
        if not isinstance(state, dict) or state.get("current_score") is None:
            continue
        if Path(str(state.get("best_model_path"))).name == path.name:
            metric = str(state.get("monitor")).removeprefix("validation/")
            return {metric: float(state["current_score"])}
    return {}
