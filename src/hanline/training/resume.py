"""Going on with a run that was stopped: what may be said beside it, and whether it can go on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from hanline.errors import HanlineError
from hanline.formats.checkpoint import model_of
from hanline.formats.torch_file import load_weights_file

# Where a run computes, how long, what it shows, and where its sets lie now. conf/train.yaml has the
# list too.
CHANGEABLE = (
    *("trainer.max_steps", "trainer.val_check_interval", "trainer.log_every_n_steps"),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy"),
    *("trainer.precision", "data.num_workers", "data.cache_pixels"),
    *("data.train_dir", "data.validation_dir", "data.rendered_dir"),
)


def permitted_changes(overrides: Sequence[str], checkpoint: Path) -> tuple[set[str], set[str]]:
    """What the command line changes in a run that is resumed.

    Args:
        overrides: the command line's arguments.
        checkpoint: what is resumed, for messages.

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
        elif key != "resume":
            raise HanlineError(
                f"{key} cannot change in a run that is resumed, which goes on with its own "
                f"settings: leave out {override.input_line}. What can be given beside resume is "
                f"{', '.join(CHANGEABLE)} and ~callbacks.NAME. To train another model, or "
                f"otherwise, from these weights, start a new run with finetune_from={checkpoint}"
            )
    return changed, left_out


def relocated(settings: Any, former: str, now: str) -> Any:
    """A run's settings with another folder for it, wherever that stands in them."""
    if isinstance(settings, dict):
        return {key: relocated(value, former, now) for key, value in settings.items()}
    return now if settings == former else settings


def check_state(checkpoint: Path, spec: Mapping[str, Any], max_steps: int) -> None:
    """Whether a run with this model can go on from a checkpoint.

    Args:
        checkpoint: the file.
        spec: the model of the run's configuration, as :attr:`Recognizer.spec` has it.
        max_steps: steps of the whole run.

    Raises:
        HanlineError: it is no state of a run, or of another model, or of a step past the end.
    """
    content = load_weights_file(checkpoint)
    saved = model_of(content, checkpoint).spec or {}
    if "loops" not in content or "optimizer_states" not in content:
        raise HanlineError(
            f"{checkpoint} holds a model, but not the state of a run, to be resumed: to start from "
            f"its weights: finetune_from={checkpoint}"
        )
    other = [part for part, value in spec.items() if saved[part] != value]
    if other:
        raise HanlineError(
            f"{checkpoint} is of another model than config.yaml beside it: they differ in "
            f"{', '.join(other)}. If the text has changed that charset=corpus takes its characters "
            f"from, start a new run with finetune_from={checkpoint}"
        )
    if content["global_step"] > max_steps:
        raise HanlineError(
            f"{checkpoint} has {content['global_step']} steps behind it, and trainer.max_steps is "
            f"{max_steps}: give it more"
        )
