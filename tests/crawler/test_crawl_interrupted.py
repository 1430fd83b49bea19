"""Killed at any moment, a crawl goes on in the same job folder as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from crawling import CRAWLER, ENVIRONMENT, WORLD, command
from support.attack import chance

# A few in every run, more of them with -m attack.
MOMENTS = [10, pytest.param(24, marks=pytest.mark.attack)]


def start(site, folder, *, script=None, **settings):
    line = command(site, folder, "naver_section", JOBDIR=folder / "job", **settings)
    if script:
        line[1:3] = ["-c", script]
    return subprocess.Popen(
        line, cwd=CRAWLER, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(site, folder, **settings):
    process = start(site, folder, **settings)
    out, log = process.communicate(timeout=240)
    return process.returncode, out.decode(), log.decode()


def contents(folder):
    """The final files, and nothing else that a reader could take for one."""
    assert not list(folder.glob("*.partial"))
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix in (".txt", ".jsonl")
    }


@pytest.mark.parametrize("count", MOMENTS)
def test_killed_at_random_moments_and_resumed_the_files_are_the_same(
    site, tmp_path, whole_files, count, tally
):
    # Pages take as long as the rest, so that there are moments between them.
    site.control(latency=0.05, **WORLD)
    rng = chance("kill crawl")
    # After some of the 18 requests, and a little later: moments that do not depend on how
    # busy the machine is. 0 is while the run starts, 18 while it ends.
    requests = [0, 18, *range(1, 18), *(rng.randint(1, 17) for _ in range(count))]
    rng.shuffle(requests)
    moments = [(number, each, rng.uniform(0, 0.1)) for number, each in enumerate(requests[:count])]

    def killed_and_resumed(moment):
        number, requests, later = moment
        folder = tmp_path / str(number)
        process = start(site, folder, CONTACT=f"moment-{number}")
        while process.poll() is None:
            mine = (e for e in site.log() if e["user_agent"].endswith(f"moment-{number})"))
            if sum(1 for _ in mine) >= requests:
                break
            time.sleep(0.01)
        time.sleep(later)
        killed = process.poll() is None
        process.kill()
        process.communicate()
        status, _, log = finish(site, folder)
        assert status == 0, log
        return killed, "going on after" in log, contents(folder)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(killed_and_resumed, moments))
    pairs = list(zip(moments, results, strict=True))
    in_work = sum(result[0] and 0 < moment[1] < 18 for moment, result in pairs)
    assert in_work >= min(20, count // 2)
    assert sum(went_on for _, went_on, _ in results) >= count // 3
    with tally("SIGKILL: crawl") as attempts:
        for (_, each, _), (_, _, files) in pairs:
            with attempts.one(f"killed after {each} requests"):
                assert files == whole_files


# Where the run dies, and what of its end it has done by then.
ENDS = {
    "in the middle of settling": ("hanline_crawler.store", "Store._write", 1, "before"),
    "after settling, before any file": ("hanline_crawler.crawl_run", "write_day", 1, "before"),
    "while the first file is renamed": ("hanline.system.files", "_replace", 1, "before"),
    "between two files": ("hanline.system.files", "_replace", 2, "before"),
    "after the files, before the report": ("hanline_crawler.crawl_run", "write_all", 1, "after"),
    "before the job is discarded": ("hanline_crawler.job", "Job.discard", 1, "before"),
    "while a page is kept": ("hanline_crawler.job", "Job.fresh", 20, "before"),
}
DYING = """
import importlib, os, signal, sys
module, name, times, when = {where!r}
owner = importlib.import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
original = getattr(owner, name)
def dying(*arguments, **keywords):
    global times
    times -= 1
    if times == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **keywords)
    if times == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, dying)
from scrapy.cmdline import execute
execute(["scrapy", *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL to send oneself")
@pytest.mark.parametrize("end", ENDS)
def test_killed_at_the_worst_moments_and_resumed_the_files_are_the_same(
    site, tmp_path, end, whole_files
):
    folder = tmp_path / "killed"
    process = start(site, folder, script=DYING.format(where=ENDS[end]))
    _, log = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL, log.decode()
    status, _, log = finish(site, folder)
    assert status == 0 and "going on after" in log
    assert contents(folder) == whole_files


@pytest.fixture(scope="module")
def whole_files(running_site, tmp_path_factory):
    running_site.control(robots="allow", **WORLD)
    folder = tmp_path_factory.mktemp("whole") / "headlines"
    assert finish(running_site, folder)[0] == 0
    files = contents(folder)
    assert len(files) == 4 and all(len(content) > 5000 for content in files.values())
    return files


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_with_what_was_read_and_the_same_folder_goes_on(site, tmp_path, stop):
    site.control(latency=0.2, **WORLD)
    folder = tmp_path / "headlines"
    process = start(site, folder)
    while len(site.log()) < 5:
        time.sleep(0.05)
    os.kill(process.pid, stop)
    out, log = process.communicate(timeout=120)
    assert process.returncode == 130, log.decode()
    assert "outcome: interrupted" in out.decode() and "-s JOBDIR=" in log.decode()
    assert "Traceback" not in log.decode()
    half = contents(folder)["headlines.txt"].decode().splitlines()
    assert half
    site.control(**WORLD)
    status, _, log = finish(site, folder)
    assert status == 0 and "going on after" in log
    whole = contents(folder)["headlines.txt"].decode().splitlines()
    assert whole[: len(half)] == half and len(whole) == len(set(whole)) > len(half)
    assert len(site.asked()) < 18


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_ctrl_c_does_not_wait_for_a_long_pause_to_end(site, tmp_path):
    faults = [{"path": "/section/", "kind": "status", "status": 503, "retry_after": 500}]
    site.control(faults=faults, **WORLD)
    process = start(site, tmp_path / "headlines")
    while not site.log():
        time.sleep(0.05)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130 and time.monotonic() - began < 60


def test_a_finished_job_folder_begins_from_the_first_page(site, tmp_path):
    folder = tmp_path / "headlines"
    assert finish(site, folder)[0] == 0
    files = contents(folder)
    asked = len(site.asked())
    assert finish(site, folder)[0] == 0
    assert len(site.asked()) == 2 * asked
    assert contents(folder) == files  # the same news, and nothing twice


def test_two_crawls_cannot_share_a_job_folder(site, tmp_path):
    site.control(latency=3, **WORLD)
    first = start(site, tmp_path / "headlines")
    while not site.log():
        time.sleep(0.05)
    status, _, log = finish(site, tmp_path / "headlines")
    assert status == 2 and "another crawl is at work" in log
    first.kill()
    first.communicate()
