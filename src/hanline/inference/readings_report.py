"""Readings as a table on the screen, as ``readings.tsv`` and as ``readings.jsonl``."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanline.errors import HanlineError
from hanline.inference.reader import Reading
from hanline.system import files as system_files


def print_readings(
    paths: Sequence[str], readings: Sequence[Reading], labels: Mapping[str, str]
) -> None:
    """Print a table of readings.

    Args:
        paths: the images.
        readings: one for each image.
        labels: the known texts, by path; a wrong reading is red.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("path", no_wrap=True)
    table.add_column("text", overflow="fold")
    if labels:
        table.add_column("label", overflow="fold")
    table.add_column("confidence", justify="right")
    for path, reading in zip(paths, readings, strict=True):
        if reading.problem:
            text = Text(f"not read: {reading.problem}", style="red")
        else:
            text = Text(reading.text)
        row = [Text(path), text]
        if labels:
            label = labels.get(path, "")
            row.append(Text(label, style="" if label == reading.text else "red"))
        row.append(Text("" if reading.problem else f"{reading.confidence:.4f}"))
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        # A log has no width, and a cut path or reading is useless.
        unlimited = console.options.update(width=sys.maxsize)
        console.width = max(1, console.measure(table, options=unlimited).maximum)
    console.print(table)


def write_readings(
    folder: Path, paths: Sequence[str], readings: Sequence[Reading]
) -> tuple[Path, Path]:
    """Write ``readings.tsv`` and ``readings.jsonl`` into a folder; return the two paths.

    Raises:
        HanlineError: they cannot be written there.
    """
    rows = ["path\ttext\tconfidence\tproblem\n"]
    records = []
    for path, reading in zip(paths, readings, strict=True):
        fields = (path, reading.text, f"{reading.confidence:.6f}", reading.problem)
        # A path may hold line ends and tabs, a table's field may not.
        plain = (" ".join(field.splitlines()).replace("\t", " ") for field in fields)
        rows.append("\t".join(plain) + "\n")
        record = {
            "path": path,
            "text": reading.text,
            "confidence": reading.confidence,
            "problem": reading.problem,
        }
        records.append(json.dumps(record, ensure_ascii=False) + "\n")
    tsv, jsonl = folder / "readings.tsv", folder / "readings.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        system_files.write_text(tsv, "".join(rows))
        system_files.write_text(jsonl, "".join(records))
    except OSError as error:
        raise HanlineError(f"cannot write the readings into {folder}: {error}") from error
    return tsv, jsonl
