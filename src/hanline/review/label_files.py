"""Labels of Label Studio and of PPOCRLabel, read and written.

Of Label Studio it is the JSON of tasks, with a text area, and choices for lines without a text.
Of PPOCRLabel it is ``Label.txt`` with one box an image, and ``rec_gt.txt``.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from hanline.errors import HanlineError
from hanline.review.store import Decision
from hanline.text.normalization import normalize

LABEL_SUFFIXES = (".json", ".txt")
_TEXT, _IMAGE, _CHOICE = "transcription", "image", "legibility"
_CHOICES: dict[Decision, str] = {"not_legible": "not legible", "not_a_line": "not a line"}
# PaddleOCR leaves such a box out of a training.
_IGNORED = "###"
# Label Studio's settings for the tasks below.
LABEL_STUDIO_SETTINGS = f"""<View>
  <Image name="{_IMAGE}" value="$image"/>
  <TextArea name="{_TEXT}" toName="{_IMAGE}" maxSubmissions="1" editable="true"/>
  <Choices name="{_CHOICE}" toName="{_IMAGE}">
    <Choice value="not legible"/>
    <Choice value="not a line"/>
  </Choices>
</View>
"""

Labels = dict[str, tuple[Decision, str]]


class Labeled(NamedTuple):
    """A decided image: its file's name, its width and height, and what was decided."""

    file: str
    size: tuple[int, int]
    decision: Decision
    text: str


def parse_labels(name: str, content: bytes) -> Labels:
    """Return the labels of a file by the names of their images.

    Args:
        name: the file's, for messages; its suffix decides what it is.
        content: its bytes.

    Raises:
        HanlineError: it is not a label file of a known form.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HanlineError(f"{name}: expected UTF-8, but {error}. Save it as UTF-8") from error
    return _of_label_studio(name, text) if name.lower().endswith(".json") else _of_lines(name, text)


def to_label_studio(labeled: Sequence[Labeled]) -> str:
    """Return the JSON of Label Studio's tasks."""
    return (
        json.dumps(
            [
                {
                    "data": {"image": f"/data/local-files/?d={one.file}"},
                    "annotations": [{"result": [_result(one)]}],
                }
                for one in labeled
            ],
            ensure_ascii=False,
            indent=1,
        )
        + "\n"
    )


def to_ppocrlabel(labeled: Sequence[Labeled]) -> str:
    """Return a ``Label.txt`` with a box around each whole image; one not legible is difficult."""
    lines = []
    for one in labeled:
        width, height = one.size
        box = {
            "transcription": one.text if one.decision == "confirmed" else _IGNORED,
            "points": [[0, 0], [width, 0], [width, height], [0, height]],
            "difficult": one.decision != "confirmed",
        }
        boxes = [] if one.decision == "not_a_line" else [box]
        lines.append(f"{one.file}\t{json.dumps(boxes, ensure_ascii=False)}\n")
    return "".join(lines)


def _result(one: Labeled) -> dict[str, Any]:
    if one.decision == "confirmed":
        kind, source, value = "textarea", _TEXT, {"text": [one.text]}
    else:
        kind, source, value = "choices", _CHOICE, {"choices": [_CHOICES[one.decision]]}
    return {"type": kind, "from_name": source, "to_name": _IMAGE, "value": value}


def _of_label_studio(name: str, text: str) -> Labels:
    try:
        tasks = json.loads(text)
        labels: Labels = {}
        for task in tasks if isinstance(tasks, list) else [tasks]:
            image = next(v for v in task["data"].values() if isinstance(v, str))
            kept = [a for a in task.get("annotations", []) if not a.get("was_cancelled")]
            if kept and (label := _decision_of(kept[-1]["result"])):
                labels[_file_of(image)] = label
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
        RecursionError,
    ) as error:
        raise HanlineError(
            f"{name}: expected the JSON that Label Studio exports, a list of tasks with data and "
            f"annotations ({type(error).__name__}: {error}). Export again as JSON"
        ) from error
    return labels


def _decision_of(results: Sequence[dict[str, Any]]) -> tuple[Decision, str] | None:
    for result in results:
        for decision, choice in _CHOICES.items():
            if choice in result["value"].get("choices", []):
                return decision, ""
    for result in results:
        written = result["value"].get("text")
        label = normalize(" ".join(written) if isinstance(written, list) else written or "")
        if label:
            return "confirmed", label
    return None


def _file_of(address: str) -> str:
    """Return the file that an address of Label Studio names, to compare names."""
    parts = urlsplit(address)
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]


def _of_lines(name: str, text: str) -> Labels:
    labels: Labels = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        file, tab, rest = line.partition("\t")
        if not tab:
            raise HanlineError(
                f"{name}: expected an image, a tab and its label in line {number}. Export "
                "Label.txt or rec_gt.txt"
            )
        label = _of_boxes(rest) if rest.startswith("[") else None
        if label is None:
            label = ("confirmed", normalize(rest)) if normalize(rest) else None
        elif label[1] == "several":
            raise HanlineError(
                f"{name}: expected one box an image, but line {number} has more. In PPOCRLabel, "
                "«Export Recognition Results» writes an image for each box; review those"
            )
        if label:
            labels[file] = label
    return labels


def _of_boxes(content: str) -> tuple[Decision, str] | None:
    """Return the decision of a list of boxes; None if it is a text that begins with a bracket."""
    try:
        boxes = json.loads(content)
        texts = [(str(box["transcription"]), bool(box.get("difficult"))) for box in boxes]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not texts:
        return "not_a_line", ""
    if len(texts) > 1:
        return "confirmed", "several"
    text = normalize(texts[0][0])
    if texts[0][1] or text in ("", _IGNORED):
        return "not_legible", ""
    return "confirmed", text
