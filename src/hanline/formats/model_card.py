"""Write model cards, which describe exported models to those who have only the files."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hanline import __version__
from hanline.configs import STAGES
from hanline.metrics.registry import metrics

# Metrics of format 1 that have other names now.
_RENAMED_METRICS = {"norm_ed": "edit_similarity"}


def model_card(
    name: str,
    what: str,
    spec: Mapping[str, Any],
    history: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> str:
    """Write a model card in Markdown.

    Args:
        name: the model's, for the title.
        what: the format of the files.
        spec: :attr:`hanline.models.recognizer.Recognizer.spec`.
        history: see :class:`hanline.formats.base.ModelFile`.
        notes: more facts on these files, a paragraph each.
    """
    image = spec["image"]
    colors = "grey" if image["channels"] == 1 else "RGB"
    if image["width"] is None:
        fit = "ratio kept to a few percent"
    elif image["keep_ratio"]:
        fit = "ratio kept, the last column repeated up to the width"
    else:
        fit = "stretched to that size"
    stages = {stage: dict(spec[stage]) for stage in STAGES}
    # Files of format 1 call them figures.
    measured = history.get("metrics") or history.get("figures") or {}
    lines = [
        f"# {name}",
        "",
        f"A text recognizer, as {what}; written by Hanline {__version__}.",
        "",
        "| | |",
        "|---|---|",
        f"| architecture | {architecture(spec)} |",
        f"| images | {image_size(image)}, {colors}, {fit}; bicubic, then (x/255 − 0.5)/0.5 |",
        f"| charset | {len(spec['charset'])} characters |",
        f"| longest text | {spec['max_label_length']} characters |",
        f"| trained by | {_origin(history)} |",
        f"| steps | {history.get('steps', 'unknown')} |",
        *(f"| validation {key} | {_metric_text(key, value)} |" for key, value in measured.items()),
    ]
    if not measured:
        lines.append("| validation metrics | unknown |")
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


def _metric_text(key: str, value: float) -> str:
    """Render a metric's value in its unit; the key may have a remark after a comma."""
    name = key.partition(",")[0]
    metric = metrics().get(_RENAMED_METRICS.get(name, name))
    # The metric may be of a package that is not installed here.
    return metric.text(value) if metric else f"{value:g}"


def architecture(spec: Mapping[str, Any]) -> str:
    """Return the names of the stages' classes, joined by dashes."""
    return " – ".join(spec[stage]["_target_"].rpartition(".")[2] for stage in STAGES)


def image_size(image: Mapping[str, Any]) -> str:
    """Return the size of a recognizer's images, in words."""
    if image["width"] is None:
        return f"{image['height']} pixels high, as wide as their text"
    return f"{image['height']}×{image['width']} pixels"


def _origin(history: Mapping[str, Any]) -> str:
    if "imported_from" in history:
        return f"others: {history['imported_from']}"
    return f"Hanline {history.get('version', 'of an unknown version')}"


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True, sort_keys=False)).rstrip()
