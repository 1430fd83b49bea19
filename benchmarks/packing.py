"""A folder of word images and its gt.txt → an LMDB set: ``hanline pack`` and DTRB's own script.

    python benchmarks/packing.py --dtrb PATH [--images N ...]

Both decode every image to see that it can be, and write the same samples.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from measuring import Row, command, copy_rate, dtrb_argument, in_turns, one_core
from word_images import dtrb_packing, silent, size_of, temporary_folder, write_folder

from hanline.data.image_folder import GT
from hanline.data.lmdb_store import LMDBStore


def arguments(parser: argparse.ArgumentParser) -> None:
    dtrb_argument(parser)
    parser.add_argument("--images", type=int, nargs="+", default=[16_500, 100_000])
    parser.add_argument("--processes", type=int, default=0, help="of hanline pack")


def rows(given: argparse.Namespace) -> Iterable[Row]:
    for images in given.images:
        yield from rows_of(images, given)


def rows_of(images: int, given: argparse.Namespace) -> Iterable[Row]:
    with temporary_folder() as folder:
        source = write_folder(folder / "words", images)
        # Each byte is read from a file and written to another.
        limit = images / (2 * size_of(source) / copy_rate(2))
        sides = [lambda: hanline_pack(source, folder / "hanline", given.processes)]
        if given.dtrb:
            sides.append(lambda: dtrb_pack(given.dtrb, source, folder / "dtrb"))
        ours, *theirs = in_turns(*sides)
        with one_core():
            (alone,) = in_turns(lambda: hanline_pack(source, folder / "hanline", 1))
        if given.dtrb:
            check_equal(folder / "hanline", folder / "dtrb")
    for what, rate, goal in (("two cores", ours, 2.0), ("one core", alone, None)):
        yield Row(
            f"pack {images:,} images, {what}",
            "images/s",
            rate,
            theirs[0] if theirs else None,
            "DTRB, one core",
            goal=goal,
            limit=limit,
            limited_by="bytes",
        )


# In a process of its own, as `hanline pack` is one: a second one is forked from it, or imports what
# its script does. In this script's own that would be torch.
PACK = """
import sys, time
from pathlib import Path
from hanline.data.packing import pack

gt, target, processes = sys.argv[1:]
start = time.perf_counter()
report = pack(Path(gt), Path(target), int(processes))
print(report.packed / (time.perf_counter() - start))
"""


def hanline_pack(source: Path, target: Path, processes: int) -> float:
    """Images a second."""
    shutil.rmtree(target, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", PACK, source / GT, target, str(processes)],
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
    )
    return float(done.stdout)


def dtrb_pack(checkout: Path, source: Path, target: Path) -> float:
    """Images a second of DTRB's createDataset."""
    shutil.rmtree(target, ignore_errors=True)
    module = dtrb_packing(checkout)
    start = time.perf_counter()
    with silent():
        module.createDataset(str(source), str(source / GT), str(target))
    seconds = time.perf_counter() - start
    return len(LMDBStore(target)) / seconds


def check_equal(one: Path, other: Path) -> None:
    """Both sets hold the same samples."""
    one_store, other_store = LMDBStore(one), LMDBStore(other)
    assert len(one_store) == len(other_store)
    everything = range(len(one_store))
    assert one_store.read(everything) == other_store.read(everything)


if __name__ == "__main__":
    command(__doc__, arguments, rows)
