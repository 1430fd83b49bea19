"""Opening a set, which is choosing the samples whose labels are fit: Hanline and DTRB.

    python benchmarks/opening.py --dtrb PATH [--labels N]

Hanline reads the labels the first time and keeps what it found beside the set; DTRB reads them at
every start. The images have one byte: neither reads them here.
"""

import argparse
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from measuring import Row, command, copy_rate, dtrb_argument, in_turns, one_core
from word_images import (
    HEIGHT,
    MAX_LENGTH,
    WIDTH,
    charset,
    dtrb_dataset,
    temporary_folder,
    words,
    write_lmdb,
)

from hanline.data.dataset import LMDBDataset
from hanline.data.dataset_writer import NewSample
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules


def arguments(parser: argparse.ArgumentParser) -> None:
    dtrb_argument(parser)
    parser.add_argument("--labels", type=int, default=1_000_000, help="of the set")


def rows(given: argparse.Namespace) -> Iterable[Row]:
    with temporary_folder() as folder, one_core():
        path = write_labels(folder / "set", given.labels)
        first = [first_opening(path) for _ in range(3)]
        sides = [lambda: opening(path)]
        if given.dtrb:
            # No process may open a set twice.
            dtrb_path = shutil.copytree(path, folder / "dtrb")
            sides.append(lambda: dtrb_opening(given.dtrb, dtrb_path))
        ours, *theirs = in_turns(*sides)
        label_bytes = sum(len(word.encode()) for word in words()) / len(words())
        limit = copy_rate(1) / label_bytes
    for what, rate, goal in (("second", ours, 50.0), ("first", sorted(first)[1], None)):
        yield Row(
            f"open {given.labels:,} labels, the {what} time",
            "labels/s",
            rate,
            theirs[0] if theirs else None,
            "DTRB",
            goal=goal,
            limit=limit,
            limited_by="bytes",
        )


def write_labels(path: Path, count: int) -> Path:
    """Write a dataset of this many words, whose images are one byte."""
    return write_lmdb(path, count, of=[NewSample(b"\0", word) for word in words()])


def opening(path: Path) -> float:
    """Return the labels a second of opening the dataset unchanged."""
    start = time.perf_counter()
    rules = LabelRules(charset(), MAX_LENGTH, lowercase=False, invalid="skip")
    dataset = LMDBDataset([path], ImageFormat(HEIGHT, WIDTH, 1, keep_ratio=False), rules)
    return len(dataset) / (time.perf_counter() - start)


def first_opening(path: Path) -> float:
    """Labels a second of opening the set as one that was never opened."""
    for file in path.glob("*.index"):
        file.unlink()
    return opening(path)


def dtrb_opening(checkout: Path, path: Path) -> float:
    """Labels a second of DTRB's opening."""
    dataset_class, _, options = dtrb_dataset(checkout)
    start = time.perf_counter()
    dataset = dataset_class(str(path), options)
    rate = len(dataset) / (time.perf_counter() - start)
    dataset.env.close()
    return rate


if __name__ == "__main__":
    command(__doc__, arguments, rows)
