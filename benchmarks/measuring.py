"""What the benchmarks share: two sides measured in turns, this machine's limits, and one table."""

import argparse
import importlib
import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from rich.console import Console
from rich.table import Table

from hanline.models.precision import best_precision
from hanline.system.parallel import available_cpus


@dataclass(frozen=True)
class Row:
    """A piece of work, done by Hanline and by another.

    Attributes:
        work: what was done.
        unit: what the rates count, such as ``images/s``.
        ours, theirs: rates; ``theirs`` is None where it was not measured.
        other: who the other is.
        goal: the ratio of both that Hanline is meant to reach.
        limit: the rate that the machine could reach, if nothing but what ``limited_by`` names
            took time.
        limited_by: floating-point products, bytes, …
    """

    work: str
    unit: str
    ours: float
    theirs: float | None
    other: str
    goal: float | None = None
    limit: float | None = None
    limited_by: str = ""


Arguments = Callable[[argparse.ArgumentParser], None]
Measure = Callable[[argparse.Namespace], Iterable[Row]]


def command(doc: str, arguments: Arguments, rows: Measure) -> None:
    """Run a benchmark as a command: parse its arguments, measure, print machine and table."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    arguments(parser)
    given = parser.parse_args()
    print(describe_machine())
    measured: list[Row] = []
    try:
        measured.extend(rows(given))
    finally:
        # What took minutes is not lost to a fault in what follows.
        print_rows(measured)


def dtrb_argument(parser: argparse.ArgumentParser) -> None:
    """``--dtrb``, which the rows that compare with DTRB need."""
    parser.add_argument(
        "--dtrb",
        type=Path,
        help="a checkout of clovaai/deep-text-recognition-benchmark to compare with",
    )


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table of all rows."""
    table = Table(
        *("work", "Hanline", "other", "", "ratio", "goal", "of the limit", "limited by"),
        box=None,
        pad_edge=False,
    )
    for row in rows:
        ratio = f"{row.ours / row.theirs:.2f}×" if row.theirs else "–"
        table.add_row(
            row.work,
            f"{number(row.ours)} {row.unit}",
            number(row.theirs) if row.theirs else "–",
            row.other,
            ratio,
            f"{row.goal:g}×" if row.goal else "–",
            f"{row.ours / row.limit:.0%}" if row.limit else "–",
            row.limited_by,
        )
    Console(width=max(160, Console().width)).print(table)


def number(value: float) -> str:
    """Format a rate with three digits that count."""
    digits = max(0, 2 - len(str(int(value))) + 1)
    return f"{value:,.{digits}f}"


def in_turns(*sides: Callable[[], float], rounds: int = 3) -> list[float]:
    """Each side's rate: the median of several rounds, in which the sides take turns.

    What slows a machine down for a while slows all sides.

    Args:
        sides: each does its work once and returns its rate.
        rounds: how often; one more, before, is not counted.
    """
    rates: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        for side, side_rates in zip(sides, rates, strict=True):
            rate = side()
            if turn:
                side_rates.append(rate)
    return [statistics.median(side_rates) for side_rates in rates]


def rate_of(work: Callable[[], object], count: float, seconds: float = 0.0) -> float:
    """How many of ``count`` are done a second, by doing the work at least once and so long."""
    done, start = 0, time.perf_counter()
    while not done or time.perf_counter() - start < seconds:
        work()
        done += 1
    return done * count / (time.perf_counter() - start)


def product_rate(dtype: torch.dtype, threads: int) -> float:
    """Return the operations a second of a product of matrices, two a multiply-add.

    The matrices fit the caches.

    Args:
        dtype: float32, bfloat16, or int8, which is multiplied as oneDNN does for convolutions.
        threads: how many work.
    """
    with threads_of(threads):
        work, operations = _product(dtype)
        work()
        return max(rate_of(work, operations, seconds=0.5) for _ in range(3))


def _product(dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    size = 2048
    if dtype == torch.int8:
        batch, channels, side = 16, 256, 32
        images = torch.randint(0, 256, (batch, channels, side, side), dtype=torch.uint8)
        images = images.to(memory_format=torch.channels_last)
        weight = torch.randint(-127, 128, (channels, channels, 1, 1), dtype=torch.int8)
        scales, zeros = torch.ones(channels), torch.zeros(channels, dtype=torch.int32)
        once, none = [1, 1], [0, 0]
        packed = torch.ops.onednn.qconv_prepack(
            weight, scales, 1.0, 0, once, none, once, 1, list(images.shape)
        )

        def work() -> object:
            return torch.ops.onednn.qconv2d_pointwise(
                *(images, 1.0, 0, packed, scales, zeros, None, once, none, once, 1),
                *(1e4, 0, torch.uint8, "none", [], ""),
            )

        return work, 2.0 * batch * side * side * channels * channels
    left, right = torch.randn(2, size, size).to(dtype)
    return lambda: left @ right, 2.0 * size**3


def copy_rate(threads: int) -> float:
    """Bytes a second that are read from memory and written to it, both counted."""
    source = torch.empty(1 << 28, dtype=torch.uint8)
    target = torch.empty_like(source)
    with threads_of(threads):
        target.copy_(source)
        return max(
            rate_of(lambda: target.copy_(source), 2 * source.numel(), seconds=0.3) for _ in range(3)
        )


@contextmanager
def threads_of(threads: int) -> Iterator[None]:
    """Have torch work in this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_core() -> Iterator[None]:
    """Give this process one core, if the system lets it choose its cores."""
    if not hasattr(os, "sched_setaffinity"):
        with threads_of(1):
            yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        with threads_of(1):
            yield
    finally:
        os.sched_setaffinity(0, before)


def describe_machine() -> str:
    """Return the processor, its cores and numbers, and the versions that a figure depends on."""
    products = "with" if best_precision("cpu")[0] == "bf16-mixed" else "without"
    return (
        f"{_processor()} {products} bf16 products ({torch.backends.cpu.get_cpu_capability()}), "
        f"{available_cpus()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {platform.system()}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def dtrb_module(checkout: Path, name: str) -> ModuleType:
    """Import a module of a DTRB checkout, made to run with the torch of today.

    DTRB imports ``torch._utils._accumulate``, which torch dropped; it is what itertools has.
    """
    if not (checkout / "model.py").is_file():
        sys.exit(f"error: {checkout} is not a checkout of deep-text-recognition-benchmark")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    if not hasattr(torch._utils, "_accumulate"):
        torch._utils._accumulate = itertools.accumulate  # type: ignore[attr-defined]
    return importlib.import_module(name)
