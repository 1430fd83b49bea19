"""Every row of every benchmark in one table.

    make bench [DTRB=PATH]
    python benchmarks/all.py [--dtrb PATH] [--only NAME ...]

Without a checkout of DTRB its columns stay empty. What takes hours is left out: time_to_accuracy.py
and precision.py.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator

from measuring import Row, command

# Each has arguments(parser) and rows(given).
BENCHMARKS = [
    *("training_speed", "reading_speed", "loading_speed", "opening", "packing", "drawing"),
    "metrics_speed",
]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument("--dtrb", help="a checkout of DTRB, for the rows that compare with it")


def rows(given: argparse.Namespace) -> Iterator[Row]:
    for name in given.only:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        benchmark = importlib.import_module(name)
        # Each has its own arguments as well, which stay as they are by default.
        parser = argparse.ArgumentParser(prog=name)
        benchmark.arguments(parser)
        compared = given.dtrb and any(
            "--dtrb" in action.option_strings for action in parser._actions
        )
        yield from benchmark.rows(parser.parse_args(["--dtrb", given.dtrb] if compared else []))


if __name__ == "__main__":
    command(__doc__, arguments, rows)
