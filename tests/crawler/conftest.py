"""A news site in a process of its own, and crawls of it."""

import subprocess
import sys

import pytest
from crawling import EXAMPLES, WORLD, Site, run_crawl


@pytest.fixture(scope="session")
def running_site():
    server = subprocess.Popen(
        [sys.executable, "-m", "news_site"],
        cwd=EXAMPLES,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    yield Site(server.stdout.readline().strip())
    server.kill()
    server.wait()


@pytest.fixture
def site(running_site):
    running_site.control(robots="allow", **WORLD)
    return running_site


@pytest.fixture
def crawl(site, tmp_path):
    """Crawl the site; arguments are those of ``scrapy crawl``, settings are keywords."""

    def run(spider="naver_section", *arguments, folder=None, **more):
        return run_crawl(site, folder or tmp_path / "headlines", spider, *arguments, **more)

    return run
