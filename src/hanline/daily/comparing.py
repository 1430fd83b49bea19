"""Two models' files read the same dataset."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hanline.daily.paired import Gain, paired_gain
from hanline.errors import HanlineError
from hanline.inference.evaluation import samples
from hanline.inference.reader import Reader, Reading
from hanline.metrics.base import Metric
from hanline.metrics.comparison import Comparison
from hanline.metrics.registry import find_metric


def compared(metric: Metric, one: Path, other: Path, dataset: Path) -> Gain:
    """Compare two models on a dataset.

    Raises:
        HanlineError: a file or the dataset cannot be read.
    """
    before, after = (readings(file, dataset) for file in (one, other))
    return paired_gain(metric, before.labels, before.texts, after.texts)


class ReadDataset:
    """A dataset's labels and what a model read, N each; an unreadable image is an empty text."""

    def __init__(self, labels: list[str], results: list[Reading]) -> None:
        self.labels = labels
        self.texts = [result.text for result in results]

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics of readings, by name."""
        return Comparison.of(self.labels, self.texts).values


def readings(model: Path, dataset: Path) -> ReadDataset:
    """Read a dataset with a model's file.

    Raises:
        HanlineError: the file or the dataset cannot be read, or is empty.
    """
    labels: list[str] = []

    def images() -> Iterator[Path | bytes]:
        for image, label in samples(dataset, Counter()):
            labels.append(label)
            yield image

    # A difference between models must not be one of precision.
    reader = Reader(model, precision="32-true")
    results = list(reader.readings(images()))
    if not labels:
        raise HanlineError(f"{dataset}: expected samples, but there are none. Give another dataset")
    return ReadDataset(labels, results)


def describe(gain: Gain, metric: str) -> str:
    """Render a gain, as in «CER 2.10 % → 1.80 %, better by 0.30 [0.10, 0.51], 200 samples»."""
    shown = find_metric(metric, "metric")
    word = "better" if gain.gain >= 0 else "worse"
    sign = 1 if gain.gain >= 0 else -1
    low, high = sorted((sign * gain.low, sign * gain.high))
    digits = shown.decimals
    return (
        f"{shown.title} {shown.text(gain.before)} → {shown.text(gain.after)}, {word} by "
        f"{abs(gain.gain):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}], "
        f"{gain.samples} samples"
    )
