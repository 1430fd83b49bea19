"""Commands that are killed, have no room, no memory or no permission, or are there twice."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from support.attack import chance
from support.forked import Running, kill_after, run

from hanline.data.lmdb_store import LMDBStore
from hanline.inference.reader import Reader
from hanline.synthesis.fonts import bundled_files

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits and timers are Linux's"),
    pytest.mark.attack,  # each starts commands, seconds long
]
ATTACK = pytest.mark.attack
NOBODY = 65534
READER = ["device=cpu", "precision=32-true"]


@pytest.fixture
def place(folder, checkpoint, tmp_path):
    """A folder of pictures with gt.txt, a checkpoint, and a corpus."""
    shutil.copy(checkpoint, tmp_path / "model.ckpt")
    rows = (folder / "gt.txt").read_text("utf-8").splitlines(keepends=True)
    (folder / "gt.txt").write_text("".join(rows * 40), encoding="utf-8")
    (tmp_path / "corpus.txt").write_text(
        "".join(f"속보 {number} 오늘의 뉴스\n" for number in range(300)), encoding="utf-8"
    )
    return tmp_path


def synthesize(output, **settings):
    return [
        *("synthesize", f"output={output}", "samples=120", "corpus=files"),
        *("corpus.files=[corpus.txt]", "charset=easyocr_korean_g2", "synthesis.processes=1"),
        f"synthesis.fonts=['{bundled_files()[0]}']",
        *(f"{key}={value}" for key, value in settings.items()),
    ]


COMMANDS = {
    "pack": ["pack", "input=pictures/gt.txt", "output=made", "processes=1"],
    "synthesize, LMDB": synthesize("made", output_format="lmdb"),
    "synthesize, folder": synthesize("made", output_format="folder"),
    "predict": ["predict", "input=pictures", "output=made", "checkpoint=model.ckpt", *READER],
    "export, safetensors": [
        *("export", "checkpoint=model.ckpt", "format=safetensors", "output=made"),
    ],
    "export, onnx": ["export", "checkpoint=model.ckpt", "format=onnx", "output=made"],
    "export, easyocr": ["export", "checkpoint=model.ckpt", "format=easyocr", "output=made"],
    "import": ["import", "input=model.safetensors", "output=made.ckpt"],
}
TINY_RUN = [
    *("train", "experiment=lines", "image.width=96", "max_label_length=10", "data=lmdb"),
    *("model.feature_extraction.channels=[8,16,16,16,32]", "data.train.dir=set"),
    *("model.sequence_modeling.hidden_size=16", "model.sequence_modeling.out_channels=32"),
    *("data.validation.dir=set", "data.batch_size=4", "data.num_workers=0"),
    *("trainer.max_steps=12", "trainer.val_check_interval=5", "trainer.log_every_n_steps=1"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "hydra.run.dir=made"),
]


def prepared(place, name):
    """Make what a command reads."""
    if name == "import":
        words = ["export", "checkpoint=model.ckpt", "format=safetensors", "output=model"]
        assert run(place, *words).status == 0
    if name == "train":
        done = run(place, "pack", "input=pictures/gt.txt", "output=set", "processes=1")
        assert done.status == 0, done.text


def content(place):
    """What a command has made, in a form that is the same for each run."""
    made = {}
    for path in sorted(place.glob("made*")):
        for file in [path, *path.rglob("*")]:
            if not file.is_file() or file.name == "lock.mdb":
                continue
            name = file.relative_to(place).as_posix()
            if file.name == "data.mdb":
                store = LMDBStore(file.parent)
                made[name] = store.read(range(len(store)))
            elif file.suffix not in (".md", ".log"):
                made[name] = file.read_bytes()
    return made


def clear(place):
    for path in place.glob("made*"):
        # Another name first: what is open under the old one is told from what comes.
        if path.is_dir():
            path.rename(path.with_name(f"former{os.urandom(4).hex()}"))
        else:
            path.unlink()


def names(place):
    return {path.relative_to(place).as_posix() for path in place.rglob("*")}


def check_refused(ended, place, before):
    assert ended.status == 1, ended.text
    assert "Traceback" not in ended.text, ended.text
    assert "error: " in ended.text, ended.text
    left = names(place) - before
    assert not {name for name in left if "partial" in name}, left


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("count", [2, pytest.param(8, marks=ATTACK)])
def test_without_room_there_is_a_message_and_no_half_file(name, count, place, tally):
    prepared(place, name)
    whole = run(place, *COMMANDS[name])
    assert whole.status == 0, whole.text
    expected = content(place)
    largest = max(path.stat().st_size for path in place.rglob("*") if "made" in str(path))
    clear(place)
    rng = chance(f"room {name}")
    with tally("no room: RLIMIT_FSIZE") as attempts:
        for number in range(count):
            size = int(largest * rng.choice([0, 0.01, 0.1, 0.3, 0.7, 0.95])) + rng.randrange(40)

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


@pytest.mark.attack
@pytest.mark.parametrize("name", ["pack", "synthesize, LMDB", "synthesize, folder"])
def test_killed_at_any_moment_it_is_whole_after_the_next_run(name, place, tally):
    seconds = cpu_seconds(place, COMMANDS[name])
    expected = content(place)
    clear(place)
    rng = chance(f"kill {name}")
    killed = 0
    with tally("SIGKILL") as attempts:
        for number in range(20):
            # The beginning is Hydra's.
            ended = run(place, *COMMANDS[name], prepare=kill_after(rng.uniform(0.3, 1) * seconds))
            with attempts.one(f"{name} {number}"):
                assert ended.status in (0, 1, -9), ended.text
                if (place / "made").exists():
                    assert content(place) == expected
                    clear(place)
                killed += ended.status == -9
        assert killed >= 5  # or the moments were no moments of its work
        with attempts.one(f"{name}, the last run"):
            ended = run(place, *COMMANDS[name])
            assert ended.status == 0, ended.text
            assert content(place) == expected
            assert not list(place.glob("*.partial"))


def cpu_seconds(place, words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(place, *words)
    assert done.status == 0, done.text
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.attack
@pytest.mark.parametrize("name", COMMANDS)
def test_two_at_once_make_what_one_makes(name, place, tally):
    prepared(place, name)
    done = run(place, *COMMANDS[name])
    assert done.status == 0, done.text
    expected = content(place)
    clear(place)
    with tally("two at once") as attempts, attempts.one(name):
        both = [Running(place, COMMANDS[name]) for _ in range(2)]
        ends = [running.wait() for running in both]
        for ended in ends:
            assert ended.status in (0, 1), ended.text
            assert "Traceback" not in ended.text, ended.text
        assert {0} <= {ended.status for ended in ends}
        assert content(place) == expected
        assert not [path for path in names(place) if "partial" in path]


@pytest.mark.attack
@pytest.mark.parametrize("megabytes", [64, 256])
@pytest.mark.parametrize("name", ["predict", "pack"])
def test_without_memory_there_is_a_message(megabytes, name, place, tally):
    from PIL import Image

    for number in range(4):
        Image.new("RGB", (9000, 9000)).save(place / "pictures" / f"large{number}.png")
    with (place / "pictures" / "gt.txt").open("a", encoding="utf-8") as gt:
        gt.write("large0.png\tA\n/dev/zero\tA\n")
    before = names(place)

    def limited():
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    with tally("no memory: RLIMIT_AS") as attempts, attempts.one(f"{name}, {megabytes} MB"):
        ended = run(place, *COMMANDS[name], prepare=limited)
        assert "Traceback" not in ended.text, ended.text
        if ended.status:
            assert ended.status == 1, ended.text
        assert not [path for path in names(place) - before if "partial" in path]


@pytest.fixture
def public(place):
    """The same folder where another user may come to it."""
    folder = Path(tempfile.mkdtemp(prefix="hanline-attack-"))
    folder.chmod(0o755)
    shutil.copytree(place, folder / "place")
    yield folder / "place"
    shutil.rmtree(folder)


@pytest.mark.attack
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="not root: no other user"
)
@pytest.mark.parametrize("name", COMMANDS)
def test_without_permission_there_is_a_message(name, public, tally):
    """The folder belongs to another user, and then one file in it cannot be read."""
    prepared(public, name)

    def as_nobody():
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    public.chmod(0o755)
    before = names(public)
    with tally("no permission") as attempts:
        with attempts.one(f"{name} in a folder of another user"):
            check_refused(run(public, *COMMANDS[name], prepare=as_nobody), public, before)
        public.chmod(0o777)
        unreadable = {
            "pack": "pictures/gt.txt",
            "predict": "model.ckpt",
            "import": "model.json",
            "synthesize, LMDB": "corpus.txt",
            "synthesize, folder": "corpus.txt",
        }.get(name, "model.ckpt")
        (public / unreadable).chmod(0)
        with attempts.one(f"{name} of an unreadable file"):
            check_refused(run(public, *COMMANDS[name], prepare=as_nobody), public, before)
        (public / unreadable).chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        if name in ("pack", "predict"):
            (public / "pictures" / "0.png").chmod(0)
            with attempts.one(f"{name} with an unreadable image"):
                ended = run(public, *COMMANDS[name], prepare=as_nobody)
                assert "Traceback" not in ended.text, ended.text
                assert "Permission denied" in ended.text


@pytest.mark.parametrize("sink", ["/dev/full", "| true"])
@pytest.mark.parametrize("words", [COMMANDS["predict"], ["--help"], ["predict", "--help"]])
def test_output_that_cannot_be_written_is_a_message(sink, words, place, tally):
    line = [sys.executable, "-m", "hanline.cli.main", *words]
    with tally("output that cannot be written") as attempts, attempts.one(f"{words[0]} {sink}"):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.Popen(
                line,
                cwd=place,
                stdout=full if sink == "/dev/full" else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        if done.stdout:
            done.stdout.close()
            done.stdout = None
        errors = done.communicate(timeout=300)[1]
        assert done.returncode == 1, errors
        assert "Traceback" not in errors and "Logging error" not in errors, errors
        assert errors.count("error: cannot write to the standard output: ") == 1, errors
        if "input=pictures" in words:
            assert (place / "made" / "readings.tsv").read_text("utf-8").count("\n") == 11


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=ATTACK)])
def test_a_reader_reads_the_same_again_and_again_with_flat_memory(
    count, checkpoint, picture, words, tally
):
    reader = Reader(checkpoint, device="cpu")
    given = [picture(word) for word in words]
    size = []
    with tally("reads, one after another") as attempts:
        for number in range(count):
            with attempts.one(number):
                index = number % len(words)
                assert reader.read(given[index]).text == words[index]
            if number % (count // 4) == count // 4 - 1:
                size.append(int(Path("/proc/self/statm").read_text("ascii").split()[1]))
        with attempts.one("memory"):
            # The first quarter fills what is kept.
            assert (size[-1] - size[1]) * resource.getpagesize() < 30 << 20, size


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=ATTACK)])
def test_threads_and_forks_read_with_one_reader(count, checkpoint, picture, words, tally):
    reader = Reader(checkpoint, device="cpu", batch_size=4)
    given = [picture(word) for word in words]

    def read(_):
        assert [reading.text for reading in reader.read(given)] == words

    with tally("reads, in threads and forks") as attempts:
        wrong = []

        def often():
            for _ in range(count // 4):
                try:
                    read(None)
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        attempts.tried += count // 4 * 4
        attempts.broken += map(repr, wrong)
        attempts.in_child(read, [(f"fork {number}", None) for number in range(count // 4)])
