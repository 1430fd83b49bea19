"""From nothing to reading words never seen: how long Hanline takes, and how long DTRB.

    python benchmarks/time_to_accuracy.py [--dtrb PATH] [--words FILE] [--minutes N] [KEY=VALUE ...]

Both train on the same set of drawn words, on all cores, one after the other, until they read a
share of other words, which they never saw, or the time is over. The time is that of the whole
process, its start and its validations included. Hanline trains its compact CRNN (KEY=VALUE changes
its configuration); DTRB trains None-VGG-BiLSTM-CTC with its own train.py and its own defaults.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import describe_machine, dtrb_argument
from rich.console import Console
from rich.table import Table

from hanline.text.corpus import read_headlines

# What makes DTRB's train.py run with today's torch, and without natsort, six and nltk: of them it
# uses a sort of folders' names, BytesIO and an edit distance.
SHIM = """
import io, itertools, runpy, sys, types
import torch
from rapidfuzz.distance import Levenshtein

torch._utils._accumulate = itertools.accumulate
distance = types.ModuleType("nltk.metrics.distance")
distance.edit_distance = Levenshtein.distance
natsort = types.ModuleType("natsort")
natsort.natsorted = sorted
six = types.ModuleType("six")
six.BytesIO = io.BytesIO
sys.modules |= {
    "nltk": types.ModuleType("nltk"),
    "nltk.metrics": types.ModuleType("nltk.metrics"),
    "nltk.metrics.distance": distance,
    "natsort": natsort,
    "six": six,
}
checkout = sys.argv.pop(1)
sys.path.insert(0, checkout)
runpy.run_path(checkout + "/train.py", run_name="__main__")
"""
HANGUL = re.compile("[가-힣]+")
MODEL = [
    *("experiment=lines", "data=lmdb", "corpus.min_words=1", "corpus.max_words=1"),
    # Each word in its own width; DTRB squeezes or stretches all to 100 pixels.
    *("image.width=null", "image.keep_ratio=true", "max_label_length=25"),
]


@dataclass
class Course:
    """How the accuracy of a training rose.

    Attributes:
        seconds: until it was high enough; None if it never was.
        points: (seconds, percent) of every validation.
        output: what the process printed last.
    """

    seconds: float | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    dtrb_argument(parser)
    words_arguments(parser)
    parser.add_argument("--minutes", type=float, default=60, help="that each may take")
    parser.add_argument("--accuracy", type=float, default=90, help="to reach, in percent")
    parser.add_argument("--steps", type=int, default=4000, help="of Hanline's schedule")
    parser.add_argument("--interval", type=int, default=200, help="steps between two validations")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for hanline train")
    given = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        characters = draw(folder, given.words, given.samples)
        limits = (given.accuracy, given.minutes)
        intervals = [
            f"trainer.max_steps={given.steps}",
            f"trainer.val_check_interval={given.interval}",
        ]
        courses = {"Hanline": watch(own_command(folder, [*intervals, *given.overrides]), *limits)}
        if given.dtrb:
            command = dtrb_command(folder, given.dtrb.resolve(), characters, given.interval)
            courses["DTRB"] = watch(command, *limits, folder=folder)
    print_courses(courses, given.accuracy)


def words_arguments(parser: argparse.ArgumentParser) -> None:
    """Which words, and how many."""
    parser.add_argument("--words", type=Path, help="a text file; else what comes with Hanline")
    parser.add_argument("--samples", type=int, default=20000, help="words to train on")


def draw(folder: Path, words: Path | None, samples: int) -> str:
    """Draw ``train`` and ``validation``, two sets of other words, and give their characters.

    Words of Hangul alone: DTRB puts its characters into a regular expression as they are.
    """
    lines = read_headlines([str(words) if words else "embedded"])
    texts = sorted({word for line in lines for word in HANGUL.findall(line)})
    random.Random(1).shuffle(texts)
    validation = texts[: min(1000, len(texts) // 10)]
    train = texts[len(validation) : len(validation) + samples]
    # Every character of validation has to be learned.
    known = set("".join(train))
    validation = [word for word in validation if known.issuperset(word)]
    print(f"{len(train)} words to train on, in {samples} images; {len(validation)} others to read")
    for part, part_texts in (("train", train), ("validation", validation)):
        (folder / f"{part}.txt").write_text("\n".join(part_texts), encoding="utf-8")
    for part in ("train", "validation"):
        count = samples if part == "train" else len(validation)
        run_quietly(
            [
                *(sys.executable, "-m", "hanline.commands.synthesize", "output_format=lmdb"),
                *(f"output={folder / part}", f"part={part}", f"samples={count}"),
                *files(folder),
                *("synthesis.fonts=bundled", "max_label_length=25"),
            ]
        )
    return "".join(sorted(known))


def files(folder: Path) -> list[str]:
    """Return the texts and the charset, as both commands of Hanline take them."""
    train, validation = folder / "train.txt", folder / "validation.txt"
    return [
        *("corpus=files", f"corpus.files=[{train}]", f"corpus.validation_files=[{validation}]"),
        *("charset=corpus", f"charset.files=[{train}]"),
    ]


def run_quietly(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def own_command(folder: Path, overrides: Iterable[str]) -> list[str]:
    return [
        *(sys.executable, "-m", "hanline.commands.train", *MODEL, *files(folder)),
        *(f"data.train.dir={folder / 'train'}", f"data.validation.dir={folder / 'validation'}"),
        *(f"hydra.run.dir={folder / 'run'}", *overrides),
    ]


def dtrb_command(folder: Path, checkout: Path, characters: str, interval: int) -> list[str]:
    if not (checkout / "train.py").is_file():
        sys.exit(f"error: {checkout} is not a checkout of deep-text-recognition-benchmark")
    shim = folder / "dtrb.py"
    shim.write_text(SHIM, encoding="utf-8")
    return [
        *(sys.executable, str(shim), str(checkout)),
        *("--train_data", str(folder / "train"), "--select_data", "/", "--batch_ratio", "1"),
        *("--valid_data", str(folder / "validation"), "--valInterval", str(interval)),
        *("--Transformation", "None", "--FeatureExtraction", "VGG"),
        *("--SequenceModeling", "BiLSTM", "--Prediction", "CTC"),
        *("--character", characters),
    ]


def watch(
    command: Sequence[str], accuracy: float, minutes: float, folder: Path | None = None
) -> Course:
    """Run a training until it reads well enough, or the time is over; both logs read alike."""
    course = Course()
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        # A line counts when it is printed, not when a buffer is full.
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    timer = threading.Timer(60 * minutes, process.terminate)
    timer.start()
    for line in process.stdout:
        course.output = [*course.output[-40:], line]
        found = re.search(r"Current_accuracy\s*:\s*([\d.]+)", line)
        if not found:
            continue
        course.points.append((time.perf_counter() - start, float(found[1])))
        print(f"{course.points[-1][0]:7.0f} s {course.points[-1][1]:6.2f} %", flush=True)
        if course.points[-1][1] >= accuracy:
            course.seconds = course.points[-1][0]
            process.terminate()
            break
    timer.cancel()
    process.communicate()
    if not course.points:
        print(f"no validation came to an end; what was printed last:\n{''.join(course.output)}")
    return course


def print_courses(courses: dict[str, Course], accuracy: float) -> None:
    table = Table("", f"seconds to {accuracy:g} %", "best accuracy", box=None, pad_edge=False)
    for name, course in courses.items():
        best = max((percent for _, percent in course.points), default=0.0)
        reached = f"{course.seconds:.0f}" if course.seconds else "not reached"
        table.add_row(name, reached, f"{best:.2f} %")
    Console().print(table)
    seconds = [course.seconds for course in courses.values()]
    if len(seconds) == 2 and seconds[0] and seconds[1]:
        print(f"{seconds[1] / seconds[0]:.2f}× less time")


if __name__ == "__main__":
    main()
