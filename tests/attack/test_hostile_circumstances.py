"""Commands without permission, with a clock that jumps, with many files, and without an output."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.forked import run
from support.tiny_commands import COMMANDS, READS, check_refused, clear, content, names, prepared

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="forks and other users are Linux's"),
    pytest.mark.attack,  # each starts commands, seconds long
]
NOBODY = 65534
FILES = 5000
# Each call of the wall clock is another day, or another year.
JUMPING_CLOCK = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jump(void) {
    static unsigned calls;
    static const long days[] = {0, 1, -1, 365, -365, 3650, 0, -3650};
    return 86400 * days[__sync_fetch_and_add(&calls, 1) % 8];
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += jump();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec time;
    int failed = clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *now) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (now) *now = time.tv_sec;
    return time.tv_sec;
}
"""


@pytest.fixture
def public(place):
    """The same folder where another user may come to it."""
    folder = Path(tempfile.mkdtemp(prefix="hanline-attack-"))
    folder.chmod(0o755)
    shutil.copytree(place, folder / "place")
    yield folder / "place"
    shutil.rmtree(folder)


def as_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="not root: no other user"
)
@pytest.mark.parametrize("name", COMMANDS)
def test_without_permission_there_is_a_message(name, public, tally):
    """The folder belongs to another user, and then one file in it cannot be read."""
    prepared(public, name)
    public.chmod(0o755)
    before = names(public)
    with tally("read-only folder") as attempts:
        with attempts.one(f"{name} in a folder of another user"):
            check_refused(run(public, *COMMANDS[name], prepare=as_nobody), public, before)
        public.chmod(0o777)
        with attempts.one(f"{name} of what it may only read"):
            ended = run(public, *COMMANDS[name], prepare=as_nobody)
            assert ended.status == 0, ended.text
        clear(public)
    with tally("no permission") as attempts:
        unreadable = public / READS.get(name, "model.ckpt")
        unreadable.chmod(0)
        with attempts.one(f"{name} of an unreadable file"):
            check_refused(run(public, *COMMANDS[name], prepare=as_nobody), public, before)
        unreadable.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        clear(public)
        if name in ("pack", "predict"):
            (public / "pictures" / "0.png").chmod(0)
            with attempts.one(f"{name} with an unreadable image"):
                ended = run(public, *COMMANDS[name], prepare=as_nobody)
                assert "Traceback" not in ended.text, ended.text
                assert "Permission denied" in ended.text


def python(place, words, **options):
    """Start a command in a Python of its own."""
    line = [sys.executable, "-m", "hanline.cli.main", *words]
    return subprocess.Popen(line, cwd=place, text=True, encoding="utf-8", **options)


@pytest.mark.parametrize("sink", ["/dev/full", "| true"])
@pytest.mark.parametrize("words", [COMMANDS["predict"], ["--help"], ["predict", "--help"]])
def test_output_that_cannot_be_written_is_a_message(sink, words, place, tally):
    with tally("output that cannot be written") as attempts, attempts.one(f"{words[0]} {sink}"):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            out = full if sink == "/dev/full" else subprocess.PIPE
            done = python(place, words, stdout=out, stderr=subprocess.PIPE)
        if done.stdout:
            done.stdout.close()
            done.stdout = None
        errors = done.communicate(timeout=300)[1]
        assert done.returncode == 1, errors
        assert "Traceback" not in errors and "Logging error" not in errors, errors
        assert errors.count("error: cannot write to the standard output: ") == 1, errors
        if "input=pictures" in words:
            assert (place / "made" / "readings.tsv").read_text("utf-8").count("\n") == 11


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """A library whose wall clock jumps with each look at it."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(JUMPING_CLOCK, encoding="utf-8")
    line = ["cc", "-shared", "-fPIC", "-O1", "-o", "clock.so", "clock.c"]
    subprocess.run(line, cwd=folder, check=True)
    return folder / "clock.so"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_clock_that_jumps_changes_nothing(name, clock, place, tally):
    prepared(place, name)
    done = run(place, *COMMANDS[name])
    assert done.status == 0, done.text
    expected = content(place)
    clear(place)
    with tally("a clock that jumps") as attempts, attempts.one(name):
        environment = os.environ | {"LD_PRELOAD": str(clock)}
        process = python(
            place,
            COMMANDS[name],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed = process.communicate(timeout=300)[0]
        assert process.returncode == 0, printed
        assert "Traceback" not in printed, printed
        assert content(place) == expected


def test_thousands_of_files_are_read_packed_and_evaluated(place, words, tally):
    folder = place / "pictures"
    for number in range(FILES):
        (folder / f"many{number}.png").hardlink_to(folder / f"{number % 10}.png")
    rows = [f"many{number}.png\t{words[number % 10]}\n" for number in range(FILES)]
    (folder / "gt.txt").write_text("".join(rows), encoding="utf-8")
    with tally("5,000 files") as attempts:
        with attempts.one("pack"):
            done = run(place, "pack", "input=pictures/gt.txt", "output=set", "processes=2")
            assert done.status == 0 and f"{FILES}" in done.text.replace(",", ""), done.text
        for name, lines in (("predict", FILES + 10), ("evaluate", FILES)):
            with attempts.one(name):
                done = run(place, *COMMANDS[name])
                assert done.status == 0, done.text
                readings = (place / "made" / "readings.tsv").read_text("utf-8")
                assert readings.count("\n") == lines + 1
                clear(place)
