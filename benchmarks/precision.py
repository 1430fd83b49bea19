"""Trains the same in float32 and in bfloat16, with several seeds, and compares where both end.

    python benchmarks/precision.py [--words FILE] [--seeds 1 2 3] [--steps N] [KEY=VALUE ...]

The compact CRNN, on drawn words; the accuracy is that of words that it never saw.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from measuring import describe_machine
from rich.console import Console
from rich.table import Table
from time_to_accuracy import draw, own_command, watch, words_arguments

PRECISIONS = ("32-true", "bf16-mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words_arguments(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=4000, help="of each training")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for hanline train")
    given = parser.parse_args()
    print(describe_machine())
    table = Table("seed", *PRECISIONS, box=None, pad_edge=False)
    ends: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for seed in given.seeds:
        for precision in PRECISIONS:
            print(f"seed {seed}, {precision}", flush=True)
            ends[precision].append(last_accuracy(given, seed, precision))
        table.add_row(str(seed), *(f"{ends[precision][-1]:.2f} %" for precision in PRECISIONS))
    table.add_row(
        "mean", *(f"{statistics.mean(ends[precision]):.2f} %" for precision in PRECISIONS)
    )
    Console().print(table)


def last_accuracy(given: argparse.Namespace, seed: int, precision: str) -> float:
    """Of the state that a training ends with, in percent."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder, given.words, given.samples)
        overrides = [
            f"trainer.precision={precision}",
            f"seed={seed}",
            f"trainer.max_steps={given.steps}",
            f"trainer.val_check_interval={given.steps}",
            *given.overrides,
        ]
        course = watch(own_command(folder, overrides), accuracy=101, minutes=24 * 60)
    return course.points[-1][1] if course.points else 0.0


if __name__ == "__main__":
    main()
