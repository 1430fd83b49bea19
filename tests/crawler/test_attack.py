"""Hostile feeds, pages and answers give a message: no traceback, no hang, nothing lost."""

import json
import os
import sqlite3
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest
from crawling import API_HEADERS, CRAWLER, ENVIRONMENT, command, expected, run_crawl
from hostile import Answer, HostileServer, feeds, random_answers, searches
from support.attack import SEED

SOUND = "<rss><channel><item><title>마지막 줄 도착</title></item></channel></rss>".encode()
LIMITS = {
    "DOWNLOAD_TIMEOUT": 3,
    "RETRY_TIMES": 0,
    "RETRY_AFTER_MAX": 1,
    "RETRY_BACKOFF": 0.01,
    "CONCURRENT_REQUESTS": 8,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
    "AUTOTHROTTLE_ENABLED": False,
    "LOG_LEVEL": "INFO",
}
SECONDS = 900  # for a busy machine; each takes seconds on a free one
ATTACK = pytest.mark.attack
# Seeds and numbers of inputs: a few in every run, the rest with -m attack.
SIZES = [(1, 40), pytest.param(2, 150, marks=ATTACK), pytest.param(3, 150, marks=ATTACK)]


@pytest.fixture(scope="module")
def hostile():
    server = HostileServer()
    yield server
    server.shutdown()
    server.server_close()


def attack(server, folder, spider, *arguments, **settings):
    """Crawl the hostile server, and check what must hold after any attack."""
    before = outside(folder)
    done = subprocess.run(
        command(server, folder, spider, *arguments, **{**LIMITS, **settings}),
        cwd=CRAWLER,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr.split("Traceback")[1][-6000:]
    assert done.returncode in (0, 4, 5, 6, 7), done.stderr[-3000:]
    assert outside(folder) == before, "something was written outside the folder"
    check_whole(folder)
    return done


def outside(folder):
    """Every file beside the crawler's folder, and in the folder that it runs in."""
    places = (folder.parent, CRAWLER)
    return {
        path: path.stat().st_size
        for place in places
        for path in place.rglob("*")
        if folder not in path.parents and path != folder and "__pycache__" not in path.parts
    }


def check_whole(folder):
    """The store is sound, every file is whole, each headline is one line and there once."""
    with sqlite3.connect(folder / "headlines.sqlite") as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(folder.glob("*.partial"))
    for path in folder.glob("*.txt"):
        lines = path.read_text(encoding="utf-8").split("\n")
        assert lines.pop() == ""
        assert all(line and line == " ".join(line.split()) for line in lines), path
        assert len(lines) == len(set(lines)), path
    for path in folder.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert json.loads(line)["headline"]


def attack_feeds(server, folder, answers):
    """Give the crawler each answer as a feed, and a sound one after them."""
    server.answers = {f"/{number}": answer for number, answer in enumerate(answers)}
    server.answers["/sound"] = Answer("sound", SOUND, "text/xml")
    listed = folder.with_suffix(".feeds")
    listed.write_text("\n".join(f"{server.address}{path}" for path in server.answers), "utf-8")
    done = attack(server, folder, "rss", "-a", f"feeds_file={listed}")
    assert "마지막 줄 도착" in (folder / "headlines.txt").read_text(encoding="utf-8")
    assert len(set(server.asked)) >= len(answers)
    return done


def attack_search(server, folder, answers):
    """Give the crawler each answer as the search API's to a query."""
    names = [f"q{number}" for number in range(len(answers))]
    server.answers = {
        f"/v1/search/news.json?query={name}&display=100&start=1&sort=date": answer
        for name, answer in zip(names, answers, strict=True)
    }
    before = len(server.asked)
    done = attack(server, folder, "naver_api", "-a", f"queries={','.join(names)}")
    assert len(server.asked) - before >= len(answers)
    return done


def attack_sections(server, folder, first, later):
    """Give the crawler six first pages of sections, and the same fragments after each."""
    server.answers = {f"/section/{100 + i}": answer for i, answer in enumerate(first)}
    asked = len(server.asked)
    fallback = iter(later * 100)
    server.later = fallback
    done = attack(server, folder, "naver_section", SECTION_PAGES_MAX=20)
    assert len(server.asked) > asked
    return done


@pytest.fixture
def read_only(tmp_path):
    """Make a folder that nobody may write to. Root ignores permissions, so it gets a disk."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a read-only disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def sound(running_site):
    """The news site's own documents: feeds, an answer of the API, a page and its fragment."""
    running_site.control(robots="allow", pages=2, per_page=6)
    paths = {
        "feeds": ["/rss/it.xml", "/atom/it.xml", "/rss-euc-kr/it.xml"],
        "search": ["/v1/search/news.json?query=%EA%B0%80&display=10"],
        "page": ["/section/105"],
        "fragment": ["/section/template/SECTION_ARTICLE_LIST?sid=105&next="],
    }

    def read(path):
        headers = {**API_HEADERS, "Referer": f"{running_site.address}/section/105"}
        with urlopen(Request(running_site.address + path, headers=headers)) as answer:
            return answer.read(), answer.headers["Content-Type"]

    return {kind: [read(path) for path in listed] for kind, listed in paths.items()}


def test_hostile_feeds_get_a_message_each(hostile, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("비밀 문장", encoding="utf-8")
    folder = tmp_path / "headlines"
    attack_feeds(hostile, folder, feeds(secret.as_uri()))
    assert "비밀" not in (folder / "headlines.txt").read_text(encoding="utf-8")


def test_hostile_answers_of_the_search_api_get_a_message_each(hostile, tmp_path):
    attack_search(hostile, tmp_path / "headlines", searches())


@pytest.mark.parametrize(("seed", "count"), SIZES)
def test_mutated_feeds_are_read_or_refused(hostile, sound, tmp_path, seed, count, tally):
    answers = random_answers(SEED * 100 + seed, sound["feeds"], count)
    with tally("feeds") as attempts, attempts.all(f"feeds {seed}", count):
        attack_feeds(hostile, tmp_path / "headlines", answers)


@pytest.mark.parametrize(("seed", "count"), SIZES)
def test_mutated_answers_of_the_search_api_are_read_or_refused(
    hostile, sound, tmp_path, seed, count, tally
):
    answers = random_answers(SEED * 100 + seed, sound["search"], count)
    with tally("answers of the search API") as attempts, attempts.all(f"search {seed}", count):
        attack_search(hostile, tmp_path / "headlines", answers)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=ATTACK) for seed in range(2, 10))])
def test_mutated_sections_are_read_or_refused(hostile, sound, tmp_path, seed, tally):
    first = random_answers(SEED * 100 + seed, sound["page"], 6)
    later = random_answers(SEED * 100 + seed, sound["fragment"], 12)
    with tally("pages and fragments") as attempts, attempts.all(f"sections {seed}", 18):
        attack_sections(hostile, tmp_path / "headlines", first, later)


def limited(size):
    """Have every file of this process end at a number of bytes, as on a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
@pytest.mark.parametrize(
    "kilobytes", [1, 30, *(pytest.param(size, marks=ATTACK) for size in (12, 20, 45, 60, 90))]
)
def test_a_full_disk_gives_a_message_and_the_next_run_goes_on(site, tmp_path, kilobytes, tally):
    with tally("no room: crawl") as attempts, attempts.one(f"{kilobytes} kB"):
        check_full_disk(site, tmp_path, kilobytes)


def check_full_disk(site, tmp_path, kilobytes):
    folder = tmp_path / "headlines"
    line = command(site, folder, "naver_section", JOBDIR=folder / "job", NEAR_REPEATS=False)

    def crawl(**options):
        return subprocess.run(
            line,
            cwd=CRAWLER,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
            **options,
        )

    full = crawl(preexec_fn=lambda: limited(kilobytes * 1024))
    assert "Traceback" not in full.stderr, full.stderr.split("Traceback")[1][-6000:]
    assert full.returncode in (1, 2, 7), full.stderr[-3000:]
    assert "cannot" in full.stderr
    done = crawl()
    assert done.returncode == 0, done.stderr[-3000:]
    check_whole(folder)
    assert (folder / "headlines.txt").read_text("utf-8").split("\n")[:-1] == list(
        dict.fromkeys(expected())
    )


def test_a_folder_that_cannot_be_made_gives_a_message(site, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    for place in ("HEADLINES_FOLDER", "JOBDIR"):
        folder = tmp_path / "headlines"
        settings = {place: tmp_path / "file" / "below"}
        done = run_crawl(site, folder, "rss", "-a", f"feeds={site.address}/rss/it.xml", **settings)
        assert done.status == 2 and "cannot open" in done.log, done.log
        assert "Traceback" not in done.log


@pytest.mark.skipif(sys.platform == "win32", reason="Windows mounts nothing read-only here")
def test_a_read_only_folder_gives_a_message(site, tmp_path, read_only):
    done = run_crawl(site, read_only / "headlines", "rss", "-a", f"feeds={site.address}/rss/it.xml")
    assert done.status == 2 and "cannot open" in done.log, done.log
    assert "Traceback" not in done.log
