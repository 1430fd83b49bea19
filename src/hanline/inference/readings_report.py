"""Readings as a table on the screen."""

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanline.inference.reader import Reading


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
