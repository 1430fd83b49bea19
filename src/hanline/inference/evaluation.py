"""Evaluation of a reader on images whose text is known."""

import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from hanline.data.image_folder import GT, read_gt
from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.data.shards import check_shards_complete
from hanline.errors import HanlineError
from hanline.inference.calibration import Calibration, calibration
from hanline.inference.reader import Reader, Reading
from hanline.metrics.comparison import Comparison
from hanline.metrics.registry import reading_metrics
from hanline.text.character_stats import character_class, count_classes
from hanline.text.normalization import normalize


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a reader on a dataset.

    Attributes:
        total: all metrics, over the samples that could be read.
        by_length: the same by the label's length, in characters.
        confusions: counts by (character of the label, what was read for it). The first is empty if
            a character was added, the second if one was left out.
        characters: counts of the labels' characters by class.
        misread: how many of those were read as others or left out.
        unread: counts of samples that could not be read, by reason.
        calibration: whether the confidences of the samples that could be read mean what they say;
            None if it was not asked for.
    """

    total: Comparison
    by_length: dict[int, Comparison]
    confusions: Counter[tuple[str, str]]
    characters: dict[str, int]
    misread: dict[str, int]
    unread: Counter[str]
    calibration: Calibration | None = None


def evaluate(
    reader: Reader,
    dataset: Path,
    lowercase: bool,
    each: Callable[[str, Path | bytes, Reading, str], None] | None = None,
    parts: bool = False,
    calibrated: bool = False,
) -> Evaluation:
    """Read a dataset and compare.

    Args:
        dataset: an LMDB dataset, a folder of them, or a folder with images and ``gt.txt``.
        lowercase: compare in lower case.
        each: called with each sample's name, image, reading and label.
        parts: whether ``each`` wants the parts of the readings.
        calibrated: compare the confidences too.

    Raises:
        HanlineError: it is none of these, or none of its samples can be read.
    """
    labels: list[str] = []
    confidences: list[float] = []
    right: list[bool] = []
    waiting: deque[tuple[str, Path | bytes]] = deque()

    def images() -> Iterator[Path | bytes]:
        for name, image, label in _named_samples(dataset, unread):
            labels.append(label)
            if each:
                waiting.append((name, image))
            yield image

    unread: Counter[str] = Counter()
    pairs_by_length: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    confusions: Counter[tuple[str, str]] = Counter()
    readings = reader.readings(images(), parts=True) if parts else reader.readings(images())
    for number, reading in enumerate(readings):
        if each:
            each(*waiting.popleft(), reading, labels[number])
        if reading.problem:
            unread[reading.problem.split(":")[0]] += 1
            continue
        label, text = labels[number], reading.text
        if lowercase:
            label, text = label.lower(), text.lower()
        pairs_by_length[len(label)].append((label, text))
        confidences.append(reading.confidence)
        right.append(label == text)
        for edit in Levenshtein.editops(label, text):
            expected = label[edit.src_pos] if edit.tag != "insert" else ""
            read = text[edit.dest_pos] if edit.tag != "delete" else ""
            confusions[expected, read] += 1
    if not pairs_by_length:
        raise HanlineError(f"no sample of {dataset} can be read: {dict(unread) or 'it is empty'}")
    by_length = {
        length: Comparison.of(*zip(*pairs, strict=True))
        for length, pairs in sorted(pairs_by_length.items())
    }
    total = Comparison.of(
        *zip(*(pair for pairs in pairs_by_length.values() for pair in pairs), strict=True)
    )
    characters = count_classes(label for pairs in pairs_by_length.values() for label, _ in pairs)
    misread = dict.fromkeys(characters, 0)
    for (expected, _), count in confusions.items():
        if expected:
            misread[character_class(expected)] += count
    return Evaluation(
        total,
        by_length,
        confusions,
        characters,
        misread,
        unread,
        calibration(confidences, right) if calibrated else None,
    )


def samples(dataset: Path, unread: Counter[str]) -> Iterator[tuple[Path | bytes, str]]:
    """Yield the images and labels of an LMDB dataset, a folder of them, or one with ``gt.txt``.

    Args:
        unread: bad rows of a ``gt.txt`` are counted here.
    """
    for _, image, label in _named_samples(dataset, unread):
        yield image, label


def _named_samples(dataset: Path, unread: Counter[str]) -> Iterator[tuple[str, Path | bytes, str]]:
    """Yield the samples with their names: an image's path, or a dataset's with a number."""
    if (dataset / GT).is_file():
        for row in read_gt(dataset / GT):
            if row.problem:
                unread[row.problem] += 1
            else:
                yield row.image.as_posix(), row.image, row.label
        return
    try:
        paths = find_datasets(dataset)
    except HanlineError as error:
        raise HanlineError(f"{error}, and no {GT}: there is nothing to evaluate") from error
    for path in check_shards_complete(dataset, paths):
        store = LMDBStore(path)
        for start in range(0, len(store), 256):
            chunk = store.read(range(start, min(start + 256, len(store))))
            for number, (image, label) in enumerate(chunk, start + 1):
                yield f"{path.as_posix()}#{number}", image, normalize(label)


def compare(readings: dict[str, Reading], labels: dict[str, str]) -> Comparison:
    """Compare readings, by path, with the labels that are known; an unread image is wrong."""
    known = [path for path in readings if path in labels]
    return Comparison.of([labels[path] for path in known], [readings[path].text for path in known])


def print_evaluation(evaluation: Evaluation, confusions: int) -> None:
    """Print all metrics, also by length, the misread characters by class, and confusions.

    Args:
        confusions: how many of the most frequent ones.
    """
    print(summary(evaluation.total))
    for reason, count in evaluation.unread.most_common():
        print(f"not read: {count} × {reason}")
    console = Console()
    walked = reading_metrics()
    titles = [metric.title for metric in walked.values()]
    table = Table("length", "samples", *titles, box=None, pad_edge=False)
    for length, comparison in evaluation.by_length.items():
        values = [f"{comparison[name]:.{metric.decimals}f}" for name, metric in walked.items()]
        table.add_row(str(length), str(comparison.samples), *values)
    console.print(table)
    table = Table("characters", "in labels", "misread", "%", box=None, pad_edge=False)
    for name, count in evaluation.characters.items():
        if count:
            misread = evaluation.misread[name]
            table.add_row(name, str(count), str(misread), f"{100 * misread / count:.2f}")
    console.print(table)
    table = Table("label", "read as", "times", box=None, pad_edge=False)
    for (expected, read), count in evaluation.confusions.most_common(confusions):
        table.add_row(repr(expected) if expected else "-", repr(read) if read else "-", str(count))
    console.print(table)


def summary(comparison: Comparison) -> str:
    """Render all metrics in one line, with titles and units."""
    walked = reading_metrics()
    values = (f"{metric.title} {metric.text(comparison[name])}" for name, metric in walked.items())
    return f"{comparison.samples} samples: {', '.join(values)}"


def as_json(evaluation: Evaluation) -> str:
    """Return the whole evaluation as JSON."""
    record: dict[str, Any] = {
        "total": _as_record(evaluation.total),
        "by_length": {str(n): _as_record(c) for n, c in evaluation.by_length.items()},
        "by_class": {
            name: {"characters": count, "misread": evaluation.misread[name]}
            for name, count in evaluation.characters.items()
        },
        "confusions": [
            {"label": expected, "read": read, "times": count}
            for (expected, read), count in evaluation.confusions.most_common()
        ],
        "unread": dict(evaluation.unread),
    }
    if evaluation.calibration:
        record["calibration"] = evaluation.calibration.as_record()
    return json.dumps(record, ensure_ascii=False, indent=2) + "\n"


def _as_record(comparison: Comparison) -> dict[str, Any]:
    return {"samples": comparison.samples, **comparison.values, "sums": comparison.sums}
