"""Hostile feeds, pages and answers give a message: no traceback, no hang, nothing lost."""

import json
import sqlite3
import subprocess
from urllib.request import Request, urlopen

import pytest
from crawling import API_HEADERS, CRAWLER, ENVIRONMENT, command
from hostile import Answer, HostileServer, feeds, random_answers, searches

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
SECONDS = 240


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
    assert "Traceback" not in done.stderr, done.stderr.split("Traceback")[1][-3000:]
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


def test_mutated_feeds_are_read_or_refused(hostile, sound, tmp_path):
    attack_feeds(hostile, tmp_path / "headlines", random_answers(1, sound["feeds"], 40))


def test_mutated_answers_of_the_search_api_are_read_or_refused(hostile, sound, tmp_path):
    attack_search(hostile, tmp_path / "headlines", random_answers(1, sound["search"], 40))


def test_mutated_sections_are_read_or_refused(hostile, sound, tmp_path):
    answers = random_answers(1, sound["page"], 6)
    attack_sections(
        hostile, tmp_path / "headlines", answers, random_answers(2, sound["fragment"], 6)
    )
