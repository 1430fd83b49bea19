"""The model card: what an exported model is, for those who get nothing but the files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hanline import __version__
from hanline.training.module import CHECKPOINT_KEY

# The file that a training run writes beside its checkpoints, and what of it tells where the weights
# come from.
RUN_CONFIG = "config.yaml"
DATA_KEYS = ("finetune_from", "corpus", "synthesis", "data")


def history_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Where a checkpoint's weights come from, as plain values.

    Args:
        content: what the checkpoint holds.
        path: the checkpoint; a training run's configuration lies beside it.

    Returns:
        What is known of: ``version`` that trained it, ``steps``, ``figures`` in percent,
        ``training`` (the run's own settings of its data), ``imported_from``.
    """
    record = content[CHECKPOINT_KEY]
    if isinstance(record.get("history"), dict):
        return dict(record["history"])
    history: dict[str, Any] = {"version": str(record.get("version"))}
    if isinstance(content.get("global_step"), int):
        history["steps"] = content["global_step"]
    figures = _figures(content.get("callbacks"), path)
    if figures:
        history["figures"] = figures
    config = path.parent / RUN_CONFIG
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return history  # Only what is there can be told.
    if isinstance(settings, dict):
        history["training"] = {
            key: settings[key] for key in DATA_KEYS if settings.get(key) is not None
        }
    return history


def model_card(
    name: str,
    what: str,
    spec: Mapping[str, Any],
    history: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> str:
    """A model card in Markdown.

    Args:
        name: the model's, for the title.
        what: the format of the files.
        spec: :attr:`hanline.models.recognizer.Recognizer.spec`.
        history: see :func:`history_of`.
        notes: what else is to be known of these files, a paragraph each.
    """
    image = spec["image"]
    colours = "grey" if image["channels"] == 1 else "RGB"
    if image["width"] is None:
        fit = "ratio kept to a few percent"
    elif image["keep_ratio"]:
        fit = "ratio kept, the last column repeated up to the width"
    else:
        fit = "stretched to that size"
    stages = {
        stage: dict(spec[stage])
        for stage in ("transformation", "feature_extraction", "sequence_modeling", "prediction")
    }
    names = [config["_target_"].rpartition(".")[2] for config in stages.values()]
    figures = history.get("figures") or {}
    lines = [
        f"# {name}",
        "",
        f"A text recogniser, as {what}; written by Hanline {__version__}.",
        "",
        "| | |",
        "|---|---|",
        f"| architecture | {' – '.join(names)} |",
        f"| images | {image_size(image)}, {colours}, {fit}; bicubic, then (x/255 − 0.5)/0.5 |",
        f"| charset | {len(spec['charset'])} characters |",
        f"| longest text | {spec['max_label_length']} characters |",
        f"| trained by | {_origin(history)} |",
        f"| steps | {history.get('steps', 'unknown')} |",
        *(f"| validation {key} | {value:.2f} % |" for key, value in figures.items()),
    ]
    if not figures:
        lines.append("| validation figures | unknown |")
    for note in notes:
        lines += ["", note]
    lines += ["", "## Stages", "", "```yaml", _yaml(stages), "```"]
    lines += ["", "## Training data", ""]
    training = history.get("training")
    lines += ["```yaml", _yaml(training), "```"] if training else ["Unknown."]
    lines += ["", "## Charset", "", "In the order of its classes.", ""]
    # Indented, so that no character means anything to Markdown.
    characters = spec["charset"]
    lines += [f"    {characters[start : start + 60]}" for start in range(0, len(characters), 60)]
    return "\n".join(lines) + "\n"


def image_size(image: Mapping[str, Any]) -> str:
    """The size of a recogniser's images, in words."""
    if image["width"] is None:
        return f"{image['height']} pixels high, as wide as their text"
    return f"{image['height']}×{image['width']} pixels"


def _origin(history: Mapping[str, Any]) -> str:
    if "imported_from" in history:
        return f"others: {history['imported_from']}"
    return f"Hanline {history.get('version', 'of an unknown version')}"


def _figures(callbacks: object, path: Path) -> dict[str, float]:
    """What the validation gave, in percent: the figure for whose sake this file was kept, or, for
    other files of a run, the run's best until then."""
    states = callbacks if isinstance(callbacks, dict) else {}
    for state in states.values():
        if not isinstance(state, dict) or state.get("current_score") is None:
            continue
        if Path(str(state.get("best_model_path"))).name == path.name:
            figure = str(state.get("monitor")).removeprefix("validation/")
            return {figure: float(state["current_score"])}
    best = states.get("LogTrain", {}).get("best", {})
    return {f"{figure}, the run's best until then": float(value) for figure, value in best.items()}


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True, sort_keys=False)).rstrip()
