"""Resuming a run that was stopped: the keys that may change, and whether it can go on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from hanline.errors import HanlineError
from hanline.formats.checkpoint import model_of
from hanline.formats.torch_file import load_weights_file

# The keys that may change in a resumed run: where it computes, how long, what it shows, and where
# its datasets lie now. The comment at resume in conf/train.yaml explains them; a test compares.
CHANGEABLE = (
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.val_check_interval",
    "trainer.log_every_n_steps",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.precision",
    "trainer.benchmark",
    "trainer.detect_anomaly",
    "trainer.profiler",
    "trainer.enable_model_summary",
    "data.num_workers",
    "data.cache_pixels",
    "data.train.dir",
    "data.validation.dir",
    "data.rendered_dir",
)

TARGET = "._target_"


def permitted_changes(overrides: Sequence[str], checkpoint: Path) -> tuple[set[str], set[str]]:
    """Return the changes of the command line in a run that is resumed.

    Args:
        overrides: the command line's arguments.
        checkpoint: the resumed state, for messages.

    Returns:
        The keys that get other values, and the callbacks that are left out.

    Raises:
        HanlineError: an argument would make it another run.
    """
    changed, left_out = set(), set()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key in CHANGEABLE and not override.is_delete():
            changed.add(key)
        elif key.startswith("callbacks.") and key.count(".") == 1 and override.is_delete():
            left_out.add(key.removeprefix("callbacks."))
        elif key.endswith(TARGET) and not override.is_delete():
            continue  # said_targets() has it
        elif key != "resume":
            raise HanlineError(
                f"{key} cannot change in a resumed run: expected one of {', '.join(CHANGEABLE)}, "
                f"or ~callbacks.NAME. Leave out {override.input_line}; or start a new run from "
                f"these weights with finetune_from={checkpoint}"
            )
    return changed, left_out


def said_targets(overrides: Sequence[str]) -> dict[str, str]:
    """Return the targets that the command line repeats, by the key of what they build.

    So a user vouches for code of their own, which the run's config.yaml alone cannot name.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {
        override.key_or_group.removesuffix(TARGET): str(override.value())
        for override in parsed
        if override.key_or_group.endswith(TARGET) and not override.is_delete()
    }


def check_said(said: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Refuse a target on the command line that is not the one with which the run was started.

    Raises:
        HanlineError: the run has another target there, or none.
    """
    for key, target in said.items():
        node: Any = settings
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        former = node.get("_target_") if isinstance(node, Mapping) else None
        if former != target:
            raise HanlineError(
                f"{key}{TARGET}={target}: expected {former}, as the run has it. A resumed run goes "
                "on with its own settings: leave it out"
            )


def relocated(settings: Any, former: str, now: str) -> Any:
    """Return a run's settings with another folder in place of the former one, everywhere."""
    if isinstance(settings, dict):
        return {key: relocated(value, former, now) for key, value in settings.items()}
    return now if settings == former else settings


def check_state(checkpoint: Path, spec: Mapping[str, Any], max_steps: int) -> None:
    """Check that a run with this model can go on from a checkpoint.

    Args:
        checkpoint: the file.
        spec: the model of the run's configuration, as :attr:`Recognizer.spec` has it.
        max_steps: steps of the whole run.

    Raises:
        HanlineError: it is not the state of a run, or of another model, or of a step past the end.
    """
    content = load_weights_file(checkpoint)
    saved = model_of(content, checkpoint).spec or {}
    if "loops" not in content or "optimizer_states" not in content:
        raise HanlineError(
            f"resume={checkpoint}: expected the state of a run, but it holds a model alone. To "
            f"start from its weights: finetune_from={checkpoint}"
        )
    other = [part for part, value in spec.items() if saved[part] != value]
    if other:
        raise HanlineError(
            f"resume={checkpoint}: expected the model of config.yaml beside it, but they differ "
            f"in {', '.join(other)}. If charset=corpus and the corpus has changed, start a new run "
            f"with finetune_from={checkpoint}"
        )
    if content["global_step"] > max_steps:
        raise HanlineError(
            f"trainer.max_steps={max_steps}: expected at least {content['global_step']}, the steps "
            f"that {checkpoint} has done. Raise it"
        )
