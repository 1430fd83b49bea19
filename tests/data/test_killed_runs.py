"""Commands that are killed at random moments of their work, or whose disk is full."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lmdb
import pytest
from PIL import Image, ImageDraw

from hanline.data.image_folder import read_gt
from hanline.data.lmdb_store import LMDBStore
from hanline.data.packing import pack
from hanline.synthesis.fonts import bundled_files
from hanline.text.corpus import read_headlines

KILLS = 10
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the timer that kills is Linux's")

# A command as `python -m` runs it, except that once it begins to write a kernel timer sends it
# SIGKILL after so many seconds of computing: those are the same however busy the machine is. When
# it comes to its end it tells how many there were.
TIMED = """
import atexit, ctypes, runpy, sys, time
seconds = float(sys.argv.pop(1))
began = []

def hook(event, arguments):
    if event == "os.mkdir" and str(arguments[0]).endswith(".partial") and not began:
        began.append(time.process_time())
        if seconds:
            set_timer()

def set_timer():
    libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
    event = (ctypes.c_int * 16)(0, 0, 9, 0)  # SIGKILL, SIGEV_SIGNAL
    when = (ctypes.c_long * 4)(0, 0, int(seconds), int(seconds % 1 * 1e9))
    assert libc.timer_create(2, event, ctypes.byref(timer)) == 0  # CLOCK_PROCESS_CPUTIME_ID
    assert libc.timer_settime(timer, 0, when, None) == 0

sys.addaudithook(hook)
atexit.register(lambda: print("computed", time.process_time() - began[0]))
runpy.run_module("hanline.cli.main", run_name="__main__", alter_sys=True)
"""


@dataclass
class Command:
    """A command of Hanline that makes ``output``, in a folder of its own."""

    folder: Path
    output: Path
    arguments: list[str]

    def run(self, **options) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "hanline.cli.main", *self.arguments]
        return subprocess.run(line, cwd=self.folder, capture_output=True, text=True, **options)

    def measure(self) -> float:
        """Run it whole; the seconds that it computed from when it began to write."""
        done = subprocess.run(self._timed(0), cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return float(re.search(r"^computed (\S+)$", done.stdout, re.M)[1])

    def kill_after(self, seconds: float) -> None:
        """Have it killed so long after it began to write; its workers are not killed with it."""
        with (self.folder / "killed.log").open("w") as log:
            process = subprocess.Popen(
                self._timed(seconds),
                cwd=self.folder,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
            status = process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert status in (0, -signal.SIGKILL), (self.folder / "killed.log").read_text()

    @property
    def partial(self) -> Path:
        return self.output.with_name(self.output.name + ".partial")

    def _timed(self, seconds: float) -> list[str]:
        return [sys.executable, "-c", TIMED, str(seconds), *self.arguments]


def samples(path):
    store = LMDBStore(path)
    assert len(store) == len(list(store.labels()))
    return store.read(range(len(store)))


def written(partial):
    """How many samples a run that was stopped has left."""
    if not (partial / "data.mdb").exists():
        return 0
    environment = lmdb.open(str(partial), readonly=True, lock=False)
    with environment.begin() as transaction:
        done = int(transaction.get(b"num-written") or transaction.get(b"num-samples") or 0)
    environment.close()
    return done


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def images(tmp_path):
    """A gt.txt of 4,000 rows on a few images that take a moment to decode."""
    (tmp_path / "images").mkdir()
    for i in range(20):
        image = Image.new("L", (900, 120), 255)
        for x in range(0, 900, 9):
            ImageDraw.Draw(image).line((x, 10 + i, x + 5, 100), fill=x % 256, width=3)
        image.save(tmp_path / "images" / f"{i}.png")
    rows = [f"images/{i % 20}.png\t글 {i}\n" for i in range(4000)]
    (tmp_path / "gt.txt").write_text("".join(rows), encoding="utf-8")
    return tmp_path / "gt.txt"


def test_pack_killed_at_any_moment(images, tmp_path):
    output = tmp_path / "set"
    command = Command(tmp_path, output, ["pack", "input=gt.txt", "output=set", "processes=2"])
    wrote = command.measure()
    whole = samples(output)
    assert len(whole) == 4000
    rename_away(output)

    few = tmp_path / "few.txt"
    few.write_text("".join(images.read_text().splitlines(keepends=True)[100:110]))
    rng = random.Random("pack")
    halves = 0
    for _ in range(KILLS):
        command.kill_after(rng.uniform(0.001, 1.05) * wrote)
        if output.exists():
            assert samples(output) == whole
        else:
            halves += written(command.partial) > 0
            # A run that follows: of other images, none of what was left is in it.
            assert pack(few, output, processes=1).packed == 10
            assert samples(output) == whole[100:110]
        assert not command.partial.exists()
        rename_away(output)
    assert halves > 0  # or the moments were no moments of its work


def rename_away(path):
    """Have a set's name free, and tell it from the set that takes its name next."""
    path.rename(path.with_name(f"former-{time.monotonic_ns()}"))


@pytest.fixture
def synthesize(tmp_path):
    """Makes a command that draws a small corpus again and again, in two processes."""
    headlines = islice(read_headlines(["embedded"]), 200)
    (tmp_path / "corpus.txt").write_text("\n".join(headlines), encoding="utf-8")

    def command(name, **settings):
        quick_to_start = [
            *("corpus=files", "corpus.files=[corpus.txt]", "charset=easyocr_korean_g2"),
            *(f"synthesis.fonts=['{bundled_files()[0]}']", "synthesis.processes=2"),
        ]
        arguments = [f"{key}={value}" for key, value in settings.items()]
        arguments = ["synthesize", f"output={name}", *quick_to_start, *arguments]
        return Command(tmp_path, tmp_path / name, arguments)

    return command


def test_synthesis_into_lmdb_goes_on_where_it_was_killed(synthesize):
    reference = synthesize("reference", output_format="lmdb", samples=4000)
    wrote = reference.measure()
    whole = samples(reference.output)
    assert len(whole) == 4000

    command = synthesize("set", output_format="lmdb", samples=4000)
    rng = random.Random("synthesize lmdb")
    before, midst = 0, 0
    for _ in range(KILLS):
        command.kill_after(rng.uniform(0.001, 0.4) * wrote)
        if command.output.exists():
            assert samples(command.output) == whole
            rename_away(command.output)
            before = 0
        else:
            now = written(command.partial)
            assert now >= before
            midst += before < now < 4000
            before = now
    assert midst > 1  # it was killed in the midst, and more than once

    done = command.run()
    assert done.returncode == 0, done.stderr
    assert samples(command.output) == whole
    assert (command.output / "provenance.json").read_bytes() == (
        reference.output / "provenance.json"
    ).read_bytes()
    assert not command.partial.exists()


def test_synthesis_into_a_folder_goes_on_where_it_was_killed(synthesize):
    reference = synthesize("reference", output_format="folder", samples=2500)
    wrote = reference.measure()

    command = synthesize("set", output_format="folder", samples=2500)
    gt = command.partial / "gt.txt"
    rng = random.Random("synthesize folder")
    killed = before = 0
    for _ in range(3 * KILLS):  # some come too early or too late
        command.kill_after(rng.uniform(0.001, 0.4) * wrote)
        if command.output.exists():
            assert files(command.output) == files(reference.output)
            rename_away(command.output)
            before = 0
        elif gt.exists() and (now := gt.read_bytes().count(b"\n")):
            assert now >= before
            before, killed = now, killed + 1
            if killed == KILLS // 2:
                break
    assert killed == KILLS // 2

    other = synthesize("set", output_format="folder", samples=2500, seed=6).run()
    assert other.returncode == 1
    assert "samples of a run that was stopped" in other.stderr
    assert "other settings (texts, seed)" in other.stderr

    drawn = list(read_gt(gt))[: gt.read_bytes().count(b"\n")]
    times = {row.image.name: row.image.stat().st_mtime_ns for row in drawn}
    done = command.run()
    assert done.returncode == 0, done.stderr
    # What stood there was not drawn again.
    found = {path.name: path.stat().st_mtime_ns for path in command.output.rglob("*.png")}
    assert times
    assert times.items() <= found.items()
    assert files(command.output) == files(reference.output)
    assert not command.partial.exists()


@pytest.mark.parametrize("name", ["pack", "synthesize"])
def test_ctrl_c_is_a_message(images, synthesize, tmp_path, name):
    """It comes to all processes of a terminal."""
    if name == "pack":
        images.write_text(images.read_text() * 10)
        command = Command(tmp_path, tmp_path / "set", ["pack", "input=gt.txt", "output=set"])
        command.arguments.append("processes=2")
    else:
        command = synthesize("set", output_format="lmdb", samples=1_000_000)
    line = [sys.executable, "-m", "hanline.cli.main", *command.arguments]
    process = subprocess.Popen(
        line, cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while written(command.partial) == 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped by Ctrl-C"
    assert "Traceback" not in errors
    # Workers have ended; what looks after semaphores does so behind them.
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def limit_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_pack_without_room(images, tmp_path):
    command = Command(tmp_path, tmp_path / "set", ["pack", "input=gt.txt", "output=set"])
    done = command.run(preexec_fn=limit_files(3_000_000))
    assert done.returncode == 1
    assert re.search(
        r"^error: the disk of \. is full, or a quota or a limit on the size of files is reached, "
        r"after \d+ samples of set ",
        done.stderr,
        re.MULTILINE,
    )
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"images", "gt.txt"}


@pytest.mark.parametrize("output_format", ["lmdb", "folder"])
def test_synthesis_without_room(synthesize, tmp_path, output_format):
    command = synthesize("set", output_format=output_format, samples=1000)
    done = command.run(preexec_fn=limit_files(20_000))
    assert done.returncode == 1
    assert "limit on the size of files is reached, after" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.txt"}
