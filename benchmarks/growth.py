"""How cost grows with the work: samples, width of images, length of labels, number of classes.

    python benchmarks/growth.py [--samples N] [--packed N] [--plot FILE]

Opening and packing are those of benchmarks/opening.py and packing.py; loss and decoding are those
of a CTC head with features as None-VGG-BiLSTM-CTC has them, forward and back. All on one core.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import Row, command, one_core, rate_of
from opening import first_opening, opening, write_labels
from packing import hanline_pack
from word_images import temporary_folder, write_folder

from hanline.models.prediction.ctc import CTCPrediction
from hanline.text.charset import Charset

SAMPLES = "samples"
WIDTHS = (100, 200, 400, 800)
LENGTHS = (1, 5, 10, 20)
CLASSES = (100, 1_400, 5_000, 11_500)
# Of the head's features; and the columns of pixels that one of its steps covers.
CHANNELS, STRIDE = 256, 4
BATCH = 32


@dataclass(frozen=True)
class Growth:
    """Seconds of a piece of work by its size; if the size is not a count, per image."""

    work: str
    axis: str
    seconds: dict[int, float]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, default=1_000_000, help="the most that are opened")
    parser.add_argument("--packed", type=int, default=10_000, help="the most that are packed")
    parser.add_argument("--plot", type=Path, help="to write, .svg or .png; needs the extra [bench]")


def rows(given: argparse.Namespace) -> Iterable[Row]:
    if given.plot and not importlib.util.find_spec("matplotlib"):
        sys.exit("error: a plot needs matplotlib: pip install '.[bench]'")
    with one_core():
        found = list(growths(given))
    if given.plot:
        plot(found, given.plot)
    for growth in found:
        for size, seconds in growth.seconds.items():
            of_samples = growth.axis == SAMPLES
            yield Row(
                f"{growth.work}: {size:,} {growth.axis}",
                "samples/s" if of_samples else "images/s",
                (size if of_samples else 1) / seconds,
                None,
                "",
            )


def growths(given: argparse.Namespace) -> Iterable[Growth]:
    """Everything measured."""
    with temporary_folder() as folder:
        first, second = {}, {}
        for count in sizes_up_to(given.samples):
            path = write_labels(folder / f"labels-{count}", count)
            first[count] = count / max(first_opening(path) for _ in range(2))
            second[count] = count / max(opening(path) for _ in range(5))
        yield Growth("open, the first time", SAMPLES, first)
        yield Growth("open, the second time", SAMPLES, second)
        packed = {}
        for count in sizes_up_to(given.packed):
            source = write_folder(folder / f"words-{count}", count)
            packed[count] = count / max(hanline_pack(source, folder / "set", 1) for _ in range(3))
        yield Growth("pack", SAMPLES, packed)
    for work in ("loss", "decoding"):
        for axis, seconds in (
            ("pixels wide", {width: head(work, width=width) for width in WIDTHS}),
            ("characters a label", {length: head(work, length=length) for length in LENGTHS}),
            ("classes", {classes: head(work, classes=classes) for classes in CLASSES}),
        ):
            yield Growth(f"CTC {work}, images", axis, seconds)


def sizes_up_to(most: int) -> list[int]:
    """1,000, 10,000 and so on."""
    return [10**power for power in range(3, 10) if 10**power <= most]


def head(work: str, width: int = 400, length: int = 5, classes: int = 1_400) -> float:
    """Seconds for an image."""
    characters = "".join(chr(ord("가") + i) for i in range(min(classes, 11_172)))
    characters += "".join(chr(ord("一") + i) for i in range(classes - len(characters)))
    prediction = CTCPrediction(CHANNELS, Charset(characters), max_label_length=length)
    features = torch.randn(BATCH, width // STRIDE, CHANNELS, requires_grad=work == "loss")
    labels = [characters[i : i + length] for i in range(BATCH)]

    def loss() -> None:
        prediction.loss(features, labels).backward()

    def decoding() -> None:
        with torch.no_grad():
            prediction.read(features)

    done: Callable[[], None] = loss if work == "loss" else decoding
    done()
    return 1 / max(rate_of(done, BATCH, seconds=0.1) for _ in range(4))


def plot(found: list[Growth], path: Path) -> None:
    """One picture an axis, both scales logarithmic."""
    from matplotlib import pyplot

    # Text stays text, and the same figures give the same file.
    pyplot.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "hanline"}
    axes = list(dict.fromkeys(growth.axis for growth in found))
    figure, pictures = pyplot.subplots(1, len(axes), figsize=(4 * len(axes), 3.4))
    for axis, picture in zip(axes, pictures, strict=True):
        for growth in found:
            if growth.axis == axis:
                work = growth.work.removesuffix(", images")
                picture.loglog(*zip(*growth.seconds.items(), strict=True), "o-", label=work)
        picture.set_xlabel(axis)
        picture.grid(alpha=0.3)
        picture.legend(fontsize="small")
    pictures[0].set_ylabel("seconds")
    pictures[1].set_ylabel("seconds an image")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    command(__doc__, arguments, rows)
