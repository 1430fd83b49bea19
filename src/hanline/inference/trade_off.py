"""Several files of one model, compared: what they read right, how fast, in how many bytes."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hanline.errors import HanlineError
from hanline.formats.registry import format_of
from hanline.inference.evaluation import evaluate, samples, summary
from hanline.inference.reader import Reader
from hanline.models.recognizer import Recognizer

SPEED_IMAGES, ROUNDS = 128, 3


def trade_off(files: Sequence[Path], dataset: Path) -> list[str]:
    """Read a dataset with several files of a model, on the CPU.

    Files that cannot be read with are left out. So is the time to decode images.

    Args:
        files: the model's files.
        dataset: as :func:`hanline.inference.evaluation.samples` takes it.

    Returns:
        A line for each: its name, its precision, its metrics, images per second, and its size.

    Raises:
        HanlineError: none of the images can be read.
    """
    readers = {}
    for file in files:
        try:
            readers[file] = Reader(format_of(file).open(file), "cpu", batch_size=32)
        except HanlineError:
            continue
    seconds = dict.fromkeys(readers, float("inf"))
    images = [image for image, _ in islice(samples(dataset, Counter()), SPEED_IMAGES)]
    batches = {file: list(reader.batches(images)) for file, reader in readers.items()}
    for _ in range(ROUNDS):
        # In turns, so that all of them meet the same load of the machine.
        for file, reader in readers.items():
            started = time.perf_counter()
            for batch in batches[file]:
                reader.recognizer.read_all([batch])
            seconds[file] = min(seconds[file], time.perf_counter() - started)
    return [
        f"{file.name}{_precision(reader)}: "
        f"{summary(evaluate(reader, dataset, lowercase=False).total)}, "
        f"{sum(map(len, batches[file])) / seconds[file]:.0f} images per second, "
        f"{file.stat().st_size / 1e6:.2f} MB"
        for file, reader in readers.items()
    ]


def _precision(reader: Reader) -> str:
    # Another runtime has its own.
    return f" ({reader.precision})" if isinstance(reader.recognizer, Recognizer) else ""
