"""Commands whose disk is full or read-only, or whose memory is limited."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.attack import chance
from support.forked import run
from support.tiny_commands import COMMANDS, check_refused, clear, content, names, prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts are Linux's")
ATTACK = pytest.mark.attack
PAGE = 4096


def in_folder(words, folder):
    """Return a command's words with its output in a folder."""
    keys = ("output=made", "hydra.run.dir=made")
    return [
        word.replace("=made", f"={folder}/made") if word.startswith(keys) else word
        for word in words
    ]


@pytest.mark.parametrize(
    ("name", "count"),
    [("pack", 2), *(pytest.param(name, 4, marks=ATTACK) for name in COMMANDS)],
)
def test_without_room_there_is_a_message_and_no_half_file(name, count, place, tally):
    prepared(place, name)
    whole = run(place, *COMMANDS[name])
    assert whole.status == 0, whole.text
    expected = content(place)
    sizes = sorted(path.stat().st_size for path in place.rglob("*") if "made" in str(path))
    clear(place)
    rng = chance(f"room {name}")
    with tally("no room: RLIMIT_FSIZE") as attempts:
        for number in range(count):
            # Below a file's size, so that each file is the one that does not fit.
            size = max(0, int(rng.choice(sizes) * rng.choice([0, 0.3, 0.9, 1])) - 1)

            def limited(size=size):
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

            before = names(place)
            ended = run(place, *COMMANDS[name], prepare=limited)
            with attempts.one(f"{name}, {size} bytes, {number}"):
                if ended.status == 0:
                    assert content(place) == expected
                else:
                    check_refused(ended, place, before)
            clear(place)


@pytest.fixture
def mount(place):
    """Mounts a small disk at ``small``."""
    small = place / "small"
    small.mkdir()

    def unmount():
        subprocess.run(["umount", "--lazy", small], check=False, capture_output=True)

    def mounted(options):
        unmount()
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", small]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
        return small

    yield mounted
    unmount()


@pytest.mark.attack
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_full_or_read_only_disk_there_is_a_message_and_no_half_file(name, mount, place, tally):
    prepared(place, name)
    small = mount("size=64m")
    words = in_folder(COMMANDS[name], "small")
    whole = run(place, *words)
    assert whole.status == 0, whole.text
    expected = content(small)
    pages = int(subprocess.check_output(["du", "-s", "-B", str(PAGE), small]).split()[0])
    rng = chance(f"disk {name}")
    with tally("no room: a disk that fills") as attempts:
        # Sizes all over what it writes: another write fails with each.
        for part in range(5):
            size = 1 + int(pages * (part + rng.random()) / 5)
            mount(f"size={size * PAGE}")
            ended = run(place, *words)
            with attempts.one(f"{name}, {size} of {pages} pages"):
                if ended.status == 0:
                    assert content(small) == expected
                else:
                    check_refused(ended, small, set())
    with tally("read-only disk") as attempts, attempts.one(name):
        mount("ro")
        check_refused(run(place, *words), small, set())


@pytest.mark.attack
@pytest.mark.parametrize("name", COMMANDS)
def test_without_memory_there_is_a_message(name, place, tally):
    prepared(place, name)
    if name in ("predict", "pack"):
        for number in range(4):
            Image.new("RGB", (9000, 9000)).save(place / "pictures" / f"large{number}.png")
        with (place / "pictures" / "gt.txt").open("a", encoding="utf-8") as gt:
            gt.write("large0.png\tA\n/dev/zero\tA\n")
    before = names(place)
    rng = chance(f"memory {name}")
    with tally("no memory: RLIMIT_AS") as attempts:
        for megabytes in (8, 256, rng.randrange(8, 256)):

            def limited(megabytes=megabytes):
                pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
                limit = pages * resource.getpagesize() + (megabytes << 20)
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

            ended = run(place, *COMMANDS[name], prepare=limited)
            with attempts.one(f"{name}, {megabytes} MB"):
                assert "Traceback" not in ended.text, ended.text
                if ended.status:
                    assert ended.status == 1, ended.text
                    assert "error: " in ended.text or "could not be read" in ended.text, ended.text
                assert not [path for path in names(place) - before if "partial" in path]
            clear(place)
