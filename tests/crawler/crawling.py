"""Crawls in processes of their own, and what they must find."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from hanline_crawler.cleaning import HeadlineCleaning
from news_site.news import SECTIONS, News

ROOT = Path(__file__).parents[2]
CRAWLER = ROOT / "crawler"
EXAMPLES = ROOT / "examples"
# As fast as the loopback is; everything else is as users have it.
FAST = {
    "DOWNLOAD_DELAY": 0,
    "AUTOTHROTTLE_START_DELAY": 0.01,
    "AUTOTHROTTLE_MAX_DELAY": 0.02,
    "RETRY_BACKOFF": 0.05,
    "RETRY_TIMES": 2,
    "DOWNLOAD_TIMEOUT": 10,
    "ROBOTSTXT_OBEY": False,
    "CONTACT": "tests@localhost",
    "HEADLINES_CLOCK": "2026-03-02T09:00:00+09:00",
}


class Site:
    """The demonstration's server, and what it was asked."""

    def __init__(self, address):
        self.address = address

    def control(self, **options):
        body = json.dumps(options).encode()
        urlopen(Request(f"{self.address}/control", body)).close()

    def log(self):
        with urlopen(f"{self.address}/log") as answer:
            return json.load(answer)

    def asked(self):
        return [entry["path"] for entry in self.log()]


@dataclass
class Crawl:
    """A crawl that has ended."""

    status: int
    log: str
    table: str
    folder: Path

    def lines(self, name):
        return (self.folder / name).read_text(encoding="utf-8").splitlines()

    def items(self, day="2026-03-02"):
        return [json.loads(line) for line in self.lines(f"{day}.jsonl")]

    def report(self):
        """The youngest report."""
        reports = (self.folder / "reports").glob("*.json")
        path = max(reports, key=lambda path: path.stat().st_mtime_ns)
        return json.loads(path.read_text(encoding="utf-8"))


def command(site, folder, spider, *arguments, **settings):
    """``scrapy crawl`` as a command line."""
    settings = {
        **FAST,
        "NAVER_NEWS_URL": site.address,
        "NAVER_API_URL": site.address,
        "HEADLINES_FOLDER": folder,
        **settings,
    }
    line = [sys.executable, "-m", "scrapy", "crawl", spider, *arguments]
    for name, value in settings.items():
        line += ["-s", f"{name}={value}"]
    return line


API_HEADERS = {"X-Naver-Client-Id": "demo-id", "X-Naver-Client-Secret": "demo-secret"}
ENVIRONMENT = {
    **os.environ,
    "PYTHONIOENCODING": "utf-8",
    "COLUMNS": "200",
    "NAVER_CLIENT_ID": "demo-id",
    "NAVER_CLIENT_SECRET": "demo-secret",
}


def run_crawl(site, folder, spider, *arguments, environment=None, **settings):
    """Crawl, and wait for the end."""
    done = subprocess.run(
        command(site, folder, spider, *arguments, **settings),
        cwd=CRAWLER,
        env={**ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    return Crawl(done.returncode, done.stderr, done.stdout, folder)


WORLD = {"pages": 3, "per_page": 8}


def shown(section, day=1, **world):
    """The articles of a section in the order of its pages: first the clusters above the list."""
    articles = News(day=day, **{**WORLD, **world}).articles(section)
    return [each for each in articles if each.cluster][:10] + articles


def expected(sections=SECTIONS, day=1, **cleaning):
    clean = HeadlineCleaning(**cleaning)
    return [clean(a.title).text for section in sections for a in shown(section, day)]
