"""Reads a folder of lines with Hanline and with Tesseract, and compares both with its gt.txt.

    python benchmarks/accuracy.py FOLDER [--tessdata DIR] [--checkpoint FILE] [--html FILE]

Both read on one core, and both texts are made uniform alike before they are compared. Tesseract is
the installed one (Debian: tesseract-ocr and tesseract-ocr-kor), each picture taken as one line.
"""

import argparse
import base64
import html
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from hanline import Reader
from hanline.data.image_folder import GT, read_gt
from hanline.metrics.comparison import Comparison
from hanline.metrics.punctuation import fold_punctuation
from hanline.system.malloc import keep_freed_memory


@dataclass(frozen=True)
class Result:
    """What one reader made of all lines."""

    name: str
    texts: list[str]
    lines_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with images and gt.txt")
    parser.add_argument("--checkpoint", default="shipped", help="instead of the shipped one")
    parser.add_argument("--tessdata", type=Path, help="a folder with another kor.traineddata")
    parser.add_argument("--html", type=Path, default=Path("accuracy.html"), help="the page written")
    given = parser.parse_args()
    rows = [row for row in read_gt(given.folder / GT) if not row.problem]
    if not rows:
        sys.exit(f"error: {given.folder / GT} names no image that is there")
    images = [row.image for row in rows]
    labels = [fold_punctuation(row.label) for row in rows]
    results = [hanline(images, given.checkpoint)]
    if shutil.which("tesseract"):
        results.append(tesseract(images, given.tessdata))
    else:
        print("tesseract is not installed: Debian has it as tesseract-ocr and tesseract-ocr-kor")
    print_table(labels, results)
    given.html.write_text(page(images, labels, results), encoding="utf-8")
    print(f"written: {given.html}")


def hanline(images: list[Path], checkpoint: str) -> Result:
    """Read with Hanline on one core; the time is that of reading, files and all."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    # As hanline predict has it.
    keep_freed_memory()
    reader = Reader(checkpoint, device="cpu")
    texts = [reading.text for reading in reader.read(images)]
    # A few lines are read in a moment: as often as it takes to be timed.
    times = max(1, 200 // len(images))
    start = time.perf_counter()
    for _ in range(times):
        reader.read(images)
    seconds = time.perf_counter() - start
    return Result(
        "Hanline", [fold_punctuation(text) for text in texts], len(images) * times / seconds
    )


def tesseract(images: list[Path], tessdata: Path | None) -> Result:
    """Read with Tesseract on one core; the time is that of all lines less that of starting."""
    _, starting = run_tesseract(images[:1], tessdata)
    texts, seconds = run_tesseract(images, tessdata)
    rate = (len(images) - 1) / (seconds - starting) if len(images) > 1 else 1 / seconds
    name = "Tesseract" + (f" ({tessdata.name})" if tessdata else "")
    return Result(name, [fold_punctuation(text) for text in texts], rate)


def run_tesseract(images: list[Path], tessdata: Path | None) -> tuple[list[str], float]:
    """Return the texts of some lines, and the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "images.txt"
        names.write_text("".join(f"{image.resolve()}\n" for image in images), encoding="utf-8")
        command = ["tesseract", str(names), "stdout", "-l", "kor", "--psm", "7"]
        if tessdata:
            command += ["--tessdata-dir", str(tessdata)]
        start = time.perf_counter()
        ended = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            check=False,
            env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        )
        seconds = time.perf_counter() - start
    if ended.returncode:
        sys.exit(f"error: tesseract failed: {ended.stderr.strip()}")
    # A form feed ends each page, and the words of a line may come as several lines.
    pages = ended.stdout.split("\f")[: len(images)]
    return pages + [""] * (len(images) - len(pages)), seconds


def print_table(labels: list[str], results: list[Result]) -> None:
    table = Table(
        *("reader", "lines", "exact", "CER with spaces", "CER without", "lines/s on one core"),
        box=None,
        pad_edge=False,
    )
    for result in results:
        figures = Comparison.of(labels, result.texts)
        without = Comparison.of(
            [label.replace(" ", "") for label in labels],
            [text.replace(" ", "") for text in result.texts],
        )
        table.add_row(
            result.name,
            str(len(labels)),
            str(figures.sums["accuracy"]["correct"]),
            f"{figures['cer']:.2f} %",
            f"{without['cer']:.2f} %",
            f"{result.lines_per_second:.1f}",
        )
    Console().print(table)


def page(images: list[Path], labels: list[str], results: list[Result]) -> str:
    """Return an HTML page: each line's picture, its label, and the readings with their errors."""
    parts = [
        "<!doctype html><meta charset='utf-8'><title>Readings</title>",
        "<style>body{font:16px sans-serif}img{max-width:100%;max-height:80px;display:block}",
        "td{padding:2px 8px}del{background:#fcc}ins{background:#cfc}section{margin:1em 0}</style>",
    ]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        data = base64.b64encode(image.read_bytes()).decode()
        kind = image.suffix.lower().removeprefix(".").replace("jpg", "jpeg")
        parts.append(f"<section><img alt='' src='data:image/{kind};base64,{data}'><table>")
        parts.append(f"<tr><td>{html.escape(image.name)}<td>{html.escape(label)}")
        for result in results:
            marked = differences(label, result.texts[number])
            parts.append(f"<tr><td>{html.escape(result.name)}<td>{marked}")
        parts.append("</table></section>")
    return "\n".join(parts)


def differences(label: str, text: str) -> str:
    """Mark in a reading the surplus characters as inserted and the missing ones as deleted."""
    marked = []
    for edit in Levenshtein.opcodes(label, text):
        expected = html.escape(label[edit.src_start : edit.src_end])
        read = html.escape(text[edit.dest_start : edit.dest_end])
        if edit.tag == "equal":
            marked.append(read)
        else:
            marked.append(f"<del>{expected}</del>" if expected else "")
            marked.append(f"<ins>{read}</ins>" if read else "")
    return "".join(marked)


if __name__ == "__main__":
    main()
