"""How long a day's headlines take against a large store: ``python benchmarks/crawler_repeats.py``.

Builds a store of invented headlines in a temporary folder, then settles a day in a process of its
own, whose memory is measured from its start.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hanline.system.progress import progress
from hanline_crawler.items import Headline, Page
from hanline_crawler.output import write_all, write_day
from hanline_crawler.store import Store

DAY = "2026-03-02"
THRESHOLD = 90.0
CHUNK = 8192


def main() -> None:
    """Build the store, settle a day of it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=2_000_000, help="headlines in the store")
    parser.add_argument("--crawled", type=int, default=30_000, help="headlines of the day")
    parser.add_argument("--settle", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.settle:
        print(json.dumps(settle(Path(options.settle), options.stored, options.crawled)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        seconds = build(Path(temporary), options.stored)
        command = [sys.executable, __file__, "--settle", temporary]
        command += ["--stored", str(options.stored), "--crawled", str(options.crawled)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )
        size = sum(path.stat().st_size for path in Path(temporary).glob("*.sqlite"))
    figures = {
        "headlines in the store": f"{options.stored:,}",
        "built in": f"{seconds:.0f} s",
        "store on disk": f"{size / 1e6:,.0f} MB",
        **json.loads(done.stdout),
    }
    table = Table(title="a day against the store")
    table.add_column("")
    table.add_column("", justify="right")
    for name, figure in figures.items():
        table.add_row(name, figure)
    Console().print(table)


def build(folder: Path, count: int) -> float:
    """Fill a store, and return the seconds that it took.

    Returns:
        The seconds that it took.
    """
    news = News(seed=1)
    began = time.monotonic()
    with (
        Store(folder / "headlines.sqlite", THRESHOLD) as store,
        store.transaction(),
        progress("filling the store", count) as advance,
    ):
        left = count
        while left:
            size = min(left, CHUNK)
            taken = store.add_texts([(news.headline(), "") for _ in range(size)])
            left -= len(taken)
            advance(len(taken))
    return time.monotonic() - began


def settle(folder: Path, stored: int, crawled: int) -> dict[str, str]:
    """Settle a day: half of it new, a third repeats, a sixth with a changed particle or mark.

    Returns:
        The figures.
    """
    rng = random.Random(2)
    before = News(seed=1)
    old = [before.headline() for _ in range(min(stored, 4 * crawled))]
    picked = rng.sample(old, crawled // 2)
    repeats = picked[: crawled // 3]
    changed = [before.changed(headline, rng) for headline in picked[crawled // 3 :]]
    other = News(seed=3)
    texts = [other.headline() for _ in range(crawled - len(picked))] + repeats + changed
    rng.shuffle(texts)
    items = [Headline(text, "it", "가람일보", "", "", None, "", "benchmark") for text in texts]
    pages = [Page("it", 1 + i // 36, items[i : i + 36], None) for i in range(0, len(items), 36)]
    memory_before = peak_memory()
    with Store(folder / "headlines.sqlite", THRESHOLD) as store:
        began = time.monotonic()
        store.settle("benchmark", DAY, pages)
        settled = time.monotonic()
        write_day(store, folder, DAY)
        write_all(store, folder)
        written = time.monotonic()
        counts = store.counts("benchmark")["it"]
    memory = peak_memory()
    return {
        "headlines of the day": f"{counts.headlines:,}",
        "settled in": f"{settled - began:.1f} s",
        "all files written in": f"{written - settled:.1f} s",
        "peak memory of the process": "unknown" if memory is None else f"{memory:,.0f} MB",
        "of it before settling": "unknown" if memory_before is None else f"{memory_before:,.0f} MB",
        "new": f"{counts.new:,} of {crawled - len(picked):,}",
        "exact repeats found": f"{counts.repeats:,} of {len(repeats):,}",
        "near repeats found": f"{counts.near:,} of {len(changed):,}",
    }


def peak_memory() -> float | None:
    """Return this process's peak memory in MB, or None on Windows, which does not report it."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


class News:
    """Headlines by the million: of invented words, some of them far more frequent than others.

    Args:
        seed: another one gives other headlines of the same words.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._words = invented_words(30_000)
        # As words of a language are: the hundredth is a tenth as frequent as the first.
        self._weights: list[float] = []
        total = 0.0
        for rank in range(1, len(self._words) + 1):
            total += rank**-0.5
            self._weights.append(total)

    def headline(self) -> str:
        """Return the next headline."""
        rng = self._rng
        words = rng.choices(
            self._words, cum_weights=self._weights, k=rng.choice((5, 6, 7, 7, 8, 9))
        )
        if rng.random() < 0.3:
            words[rng.randrange(len(words))] = f"{rng.randrange(1, 1000)}{rng.choice('명건%년')}"
        if rng.random() < 0.4:
            words[1] += rng.choice(("…", ",", "·"))
        return " ".join(words)

    def changed(self, headline: str, rng: random.Random) -> str:
        """Return the headline with one particle or mark changed."""
        words = headline.split()
        i = rng.choice([i for i, word in enumerate(words) if not word[0].isdigit()])
        if rng.random() < 0.5:
            words[i] = words[i].rstrip("…,·") + rng.choice(("은", "는", "이", "에서", "도"))
        else:
            words[i] = f"'{words[i]}'"
        return " ".join(words)


def invented_words(count: int, seed: int = 0) -> list[str]:
    """Return invented words of two to four syllables, for millions of different headlines."""
    rng = random.Random(seed)
    syllables = [chr(code) for code in range(ord("가"), ord("힣"), 7)]
    return ["".join(rng.choices(syllables, k=rng.choice((2, 2, 3, 3, 4)))) for _ in range(count)]


if __name__ == "__main__":
    main()
