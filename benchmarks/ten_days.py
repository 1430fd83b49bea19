"""Ten days of ``hanline update`` on the news site of this machine, against a reader never updated.

    python benchmarks/ten_days.py [--folder DIR] [--poisoned DAY] [--minutes N]

From day four on the headlines have letters of that day, and from day six on the captions have
another font. The table has the character error rate on each day's new text and on the fixed
dataset.
It takes hours on two cores; examples/update_demo.py is three of these days in small.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from update_demo import Size, run_days, table

DAYS = range(1, 11)


def main() -> int:
    """Do the days, and print the table and whether the goals are met.

    Returns:
        0, or 1 if a day could not be done.
    """
    parser = argparse.ArgumentParser(description="Ten days of hanline update.")
    parser.add_argument("--folder", help="where to put the files; a temporary one without it")
    parser.add_argument("--poisoned", type=int, default=8, help="a day of shifted labels")
    parser.add_argument("--minutes", type=float, default=30, help="the longest training of a day")
    parser.add_argument("--steps", type=int, default=800, help="of the training of a day")
    options = parser.parse_args()
    size = Size(
        pages=20,
        steps=options.steps,
        learning_rate=0.0002,
        minutes=options.minutes,
        new_lines=2000,
        compared=400,
        real=60,
    )
    with tempfile.TemporaryDirectory() as temporary:
        rows = run_days(
            list(DAYS), Path(options.folder or temporary).resolve(), size, options.poisoned
        )
    print(table(rows))
    print(json.dumps(rows, ensure_ascii=False, indent=2))
    known = [row for row in rows if "never updated" in row]
    halved = sum(row["in use"] <= row["never updated"] / 2 for row in known)
    print(f"errors at most half of those of the reader never updated: on {halved} of {len(known)}")
    worse = [
        row["day"]
        for row in known
        if row["promoted"] and row["fixed after"] - row["fixed before"] > 0.2
    ]
    print(f"days on which the fixed dataset lost more than 0.2 points: {worse or 'none'}")
    return 0 if len(rows) == len(DAYS) else 1


if __name__ == "__main__":
    sys.exit(main())
