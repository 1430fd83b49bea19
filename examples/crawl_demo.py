"""Crawl a news site on this machine, day by day: ``python examples/crawl_demo.py``."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

EXAMPLES = Path(__file__).parent
CRAWLER = EXAMPLES.parent / "crawler"
FIRST_DAY = date(2026, 3, 2)


def main() -> int:
    """Crawl some days and compare their files.

    Returns:
        0, or 1 if a crawl failed or a day's ``.new.txt`` has a headline of an earlier day.
    """
    parser = argparse.ArgumentParser(description="Crawl a news site of invented headlines.")
    parser.add_argument("--days", type=int, default=2, help="how many, at least 2")
    parser.add_argument("--folder", help="where to put the files; a temporary one without it")
    parser.add_argument("--pages", type=int, default=20, help="pages of each of the six sections")
    options = parser.parse_args()
    if options.days < 2:
        parser.error(f"--days {options.days}: expected at least 2")
    days = [(FIRST_DAY + timedelta(days=i)).isoformat() for i in range(options.days)]
    with tempfile.TemporaryDirectory() as temporary, running_server() as address:
        folder = Path(options.folder or temporary).resolve()
        for number, day in enumerate(days, start=1):
            control(address, day=number, pages=options.pages, robots="refuse")
            print(f"\nDay {number}: {address} on {day}, 9:00 in Korea", flush=True)
            status = crawl(
                "naver_section",
                NAVER_NEWS_URL=address,
                HEADLINES_FOLDER=folder,
                HEADLINES_CLOCK=f"{day}T09:00:00+09:00",
                CONTACT="demo@localhost",
                # The site's robots.txt refuses as the real one does. This one is ours.
                ROBOTSTXT_OBEY=False,
                DOWNLOAD_DELAY=0,
                AUTOTHROTTLE_START_DELAY=0.05,
                PROGRESS_SECONDS=2,
                LOG_LEVEL="INFO",
            )
            if status:
                print(f"the crawl ended with {status}", file=sys.stderr)
                return 1
        return _compare(folder, days, kept=bool(options.folder))


def _compare(folder: Path, days: list[str], kept: bool) -> int:
    def read(name: str) -> list[str]:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        print(f"{name:<22}{len(lines):>9,}")
        return lines

    print("\nfile                  headlines")
    known: list[str] = []
    again = wrong = 0
    for day in days:
        everything, new = read(f"{day}.txt"), read(f"{day}.new.txt")
        again += len(set(known) & set(everything))
        wrong += len(set(known) & set(new))
        known += new
    print(f"\n{again:,} headlines again on a later day, {wrong} of them called new")
    once = read("headlines.txt") == known and len(set(known)) == len(known)
    print(f"headlines.txt has each once: {'yes' if once else 'NO'}")
    if kept:
        print(f"the files are in {folder}")
    return 0 if again and not wrong and once else 1


def crawl(spider: str, *arguments: str, **settings: object) -> int:
    """Run ``scrapy crawl`` in a process of its own.

    Args:
        spider: the spider's name.
        arguments: more arguments, such as ``-a``, ``sections=politics``.
        settings: settings, for ``-s``.

    Returns:
        Its exit status.
    """
    command = [sys.executable, "-m", "scrapy", "crawl", spider, *arguments]
    for name, value in settings.items():
        command += ["-s", f"{name}={value}"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=CRAWLER, env=environment, check=False).returncode


@contextmanager
def running_server() -> Iterator[str]:
    """Run the news site in a process of its own.

    Yields:
        Its address.
    """
    server = subprocess.Popen(
        [sys.executable, "-m", "news_site"],
        cwd=EXAMPLES,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def control(address: str, **options: object) -> None:
    """Set what the server does; earlier settings end."""
    body = json.dumps(options).encode()
    urlopen(Request(f"{address}/control", body, {"Content-Type": "application/json"})).close()


if __name__ == "__main__":
    sys.exit(main())
