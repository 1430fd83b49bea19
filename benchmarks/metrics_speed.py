"""All metrics of many readings: Hanline, and an edit distance in Python.

    python benchmarks/metrics_speed.py [--readings N]

The other is nltk's edit distance, which DTRB takes, or where nltk is not installed the textbook's.
It judges a share of the readings.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from hydra.utils import instantiate
from measuring import Row, command, in_turns, one_core
from word_images import DISTINCT, charset, composed, drawn_with, words

from hanline.metrics.comparison import Comparison
from hanline.training.validation_metrics import ValidationMetrics

Pairs = tuple[Sequence[str], Sequence[str]]
# A validation compares a batch at a time.
BATCH = 192
# The other judges one of this many readings.
SHARE = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--readings", type=int, default=100_000)


def rows(given: argparse.Namespace) -> Iterable[Row]:
    with one_core():
        for what, texts in (("words", words()), ("lines of up to 25 characters", lines())):
            pairs = labels_and_readings(texts, given.readings)
            few = pairs[0][: given.readings // SHARE], pairs[1][: given.readings // SHARE]
            ours, batched, theirs = in_turns(
                partial(rate_of, Comparison.of, pairs),
                partial(validation, *pairs),
                partial(rate_of, in_python, few),
            )
            for how, rate in (("at once", ours), (f"by {BATCH}", batched)):
                yield Row(
                    f"compare {given.readings:,} {what}, {how}",
                    "readings/s",
                    rate,
                    theirs,
                    OTHER,
                    goal=50.0,
                )


def lines() -> list[str]:
    """Return runs of words."""
    config = composed("synthesize", "corpus.min_words=8", "corpus.max_words=8").corpus
    return instantiate(config).texts(charset().covers, drawn_with().fonts.can_draw, DISTINCT).train


def labels_and_readings(of: Sequence[str], count: int) -> Pairs:
    """Texts, and what a reader of some 70 % accuracy might read in them."""
    rng = random.Random(0)
    characters = charset().characters
    labels = rng.choices(of, k=count)
    texts = []
    for label in labels:
        text = list(label)
        while rng.random() < 0.25:
            place = rng.randrange(len(text) + 1)
            text[place : place + rng.randrange(2)] = rng.choices(characters, k=rng.randrange(2))
        texts.append("".join(text))
    return labels, texts


def rate_of(compare: Callable[[Sequence[str], Sequence[str]], object], pairs: Pairs) -> float:
    """Return the readings a second."""
    start = time.perf_counter()
    compare(*pairs)
    return len(pairs[0]) / (time.perf_counter() - start)


def validation(labels: Sequence[str], texts: Sequence[str]) -> float:
    """Return the readings a second, as a validation takes them, a batch at a time."""
    losses, counts = torch.zeros(len(labels)), torch.ones(len(labels), dtype=torch.int64)
    batches = [
        (labels[part], texts[part], losses[part], counts[part])
        for part in (slice(start, start + BATCH) for start in range(0, len(labels), BATCH))
    ]
    metrics = ValidationMetrics()
    start = time.perf_counter()
    for batch in batches:
        metrics.update(*batch)
    metrics.compute()
    return len(labels) / (time.perf_counter() - start)


def in_python(labels: Sequence[str], texts: Sequence[str]) -> tuple[float, float]:
    """Return accuracy and normalized edit distance."""
    correct = similarity = 0.0
    for label, text in zip(labels, texts, strict=True):
        correct += label == text
        similarity += 1 - edit_distance(label, text) / max(1, len(label), len(text))
    return correct / len(labels), similarity / len(labels)


def textbook_distance(one: str, other: str) -> int:
    """Return the edit distance, by one row of distances after the other."""
    above = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]


try:
    from nltk.metrics.distance import edit_distance

    OTHER = "nltk"
except ImportError:
    edit_distance, OTHER = textbook_distance, "Python"


if __name__ == "__main__":
    command(__doc__, arguments, rows)
