"""Spoils labels of rendered words, and counts how many `hanline audit` ranks first.

    python benchmarks/auditing.py [--lines N] [--spoiled N] [--first N] [--seed N]

A quarter each is another line's label, lacks a letter, has one more, and has another letter. The
goal: of 2,000 lines with 40 spoiled labels, 36 are among the first 60.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hanline import Reader
from hanline.inference.audit import audit

LETTERS = "가나다라마바사1230"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--spoiled", type=int, default=40)
    parser.add_argument("--first", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--renderer", default="broadcast")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        command = [sys.executable, "-m", "hanline.cli.main", "synthesize", f"output={words}"]
        options = ["synthesis.fonts=bundled", "part=validation", f"renderer={given.renderer}"]
        subprocess.run([*command, *options, f"samples={given.lines}"], check=True)
        gt = words / "gt.txt"
        rows = [line.split("\t") for line in gt.read_text(encoding="utf-8").splitlines()]
        labels, wrong = spoil([label for _, label in rows], given.spoiled, given.seed)
        lines = [f"{path}\t{label}\n" for (path, _), label in zip(rows, labels, strict=True)]
        gt.write_text("".join(lines), encoding="utf-8")
        suspects = audit(Reader(), words, Path(folder) / "audit", 0)
        paths = [rows[i][0] for i in wrong]
        ranks = sorted(s.rank for s in suspects if s.sample in paths)
        found = sum(rank <= given.first for rank in ranks)
        print(f"{found} of {len(wrong)} spoiled labels are among the first {given.first}")
        print(f"of {len(rows)} lines; the last spoiled one has rank {ranks[-1]}")


def spoil(labels: Sequence[str], count: int, seed: int) -> tuple[list[str], list[int]]:
    """Return labels of which some are wrong, and the numbers of those."""
    generator = random.Random(seed)
    numbers = generator.sample(range(len(labels)), count)
    spoiled = list(labels)
    for turn, number in enumerate(numbers):
        label = labels[number]
        at = generator.randrange(len(label))
        other = generator.choice([c for c in LETTERS if c != label[at]])
        kinds = (
            generator.choice([one for one in labels if one != label]),
            label[:at] + label[at + 1 :] or other,
            label[:at] + other + label[at:],
            label[:at] + other + label[at + 1 :],
        )
        spoiled[number] = kinds[turn % 4]
    return spoiled, numbers


if __name__ == "__main__":
    main()
