"""Reading for the text alone, with a calibrated confidence, and with all parts, on one core.

    python benchmarks/parts_speed.py [--lines N] [--before CHECKOUT]

Lines of the embedded headlines, drawn in the bundled fonts, are read by the shipped model from
arrays, each way in turns. The time is that of the processor, so other work beside it counts little.
CHECKOUT is a former checkout of Hanline: its text alone is what the others are compared with. It is
read in a process of its own, and so is the text alone once more. Goals: the text alone at most 2 %
slower than before, and all parts at most 25 %.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from measuring import describe_machine, one_core

from hanline import Reader
from hanline.cli.hydra_app import CONF
from hanline.text.charset import named_charset
from hanline.text.corpus import EMBEDDED, read_headlines

# What the process of a checkout runs: it reads the arrays of a file as often as a line comes in.
_BEFORE = """
import sys, time, numpy, torch, hanline
torch.set_num_threads(1)
with numpy.load(sys.argv[1]) as file:
    images = [file[name] for name in file.files]
reader = hanline.Reader(device="cpu")
for _ in sys.stdin:
    begun = time.process_time()
    reader.read(images)
    print(time.process_time() - begun, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--before", type=Path, help="a former checkout of Hanline")
    given = parser.parse_args()
    images = drawn(given.lines)
    print(describe_machine())
    with one_core():
        reader = Reader(device="cpu")
        products = Reader(reader.recognizer, "cpu", precision="32-true", calibrated=False)
        sides: dict[str, Callable[[], float]] = {
            "text and confidence": lambda: seconds(lambda: reader.read(images)),
            "text and product": lambda: seconds(lambda: products.read(images)),
            "all parts": lambda: seconds(lambda: reader.read(images, parts=True)),
        }
        if given.before:
            here = Path(__file__).parents[1]
            sides = {
                "text, before": in_process_of(given.before, images),
                "text, in a process too": in_process_of(here, images),
                **sides,
            }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(given.rounds + 1):
            for name, side in sides.items():
                once = side()
                # The first round warms up.
                if turn:
                    times[name].append(once)
    first = next(iter(times))
    for name, taken in times.items():
        ratios = [one / other for one, other in zip(taken, times[first], strict=True)]
        print(
            f"{name}: {len(images) / min(taken):.1f} lines/s at best, "
            f"{min(taken) / min(times[first]):.3f} of the time of «{first}», "
            f"{statistics.median(ratios):.3f} in the median of the rounds"
        )


def drawn(number: int) -> list[np.ndarray]:
    """Return lines as arrays (H, W) or (H, W, 3) of uint8."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", ["synthesis.fonts=bundled"])
    charset = named_charset("korean")
    look = instantiate(config.synthesis, characters=charset.characters)
    texts = [text for text in read_headlines([EMBEDDED]) if charset.covers(text)]
    texts = [text for text in texts if look.fonts.can_draw(text)][:number]
    return [np.asarray(look.picture(look.task(text, i))) for i, text in enumerate(texts)]


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def in_process_of(checkout: Path, images: list[np.ndarray]) -> Callable[[], float]:
    """Return what has a checkout read the images, and returns its seconds."""
    # The system removes it, some day: the other process may be reading it when this one ends.
    file = Path(tempfile.mkdtemp()) / "lines.npz"
    np.savez(file, *images)
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", _BEFORE, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    asked, answered = process.stdin, process.stdout
    assert asked is not None and answered is not None

    def read() -> float:
        print(file=asked, flush=True)
        return float(answered.readline())

    return read


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
