"""Measures what a model's file keeps of how sure it is, and of how late it writes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from hanline.data.image_folder import GT
from hanline.data.images import ImageError, decode_image
from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.data.shards import check_shards_complete
from hanline.errors import HanlineError
from hanline.inference.calibration import Calibration, calibration, fit_scale
from hanline.inference.evaluation import samples
from hanline.inference.reader import Reader
from hanline.models.confidence import Confidence, ConfidenceScale
from hanline.models.recognizer import Recognizer

# The samples on which the delay is measured, and the least number of characters.
_SAMPLES, _CHARACTERS = 512, 50


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        scale: fitted to all lines.
        delay: :attr:`Recognizer.delay`; None if no place of a character is known.
        before: how well the products of probabilities predict which lines are right.
        after: how well the chances do; each half of the lines by the scale of the other half.
    """

    scale: ConfidenceScale
    delay: float | None
    before: Calibration
    after: Calibration


def measure(reader: Reader, dataset: Path) -> Measured:
    """Measure a reader on a dataset.

    Args:
        reader: one with ``calibrated=False``.
        dataset: as :func:`hanline.inference.evaluation.samples` takes it. Only an LMDB dataset of
            ``hanline synthesize`` has the places of characters.

    Raises:
        HanlineError: none of the images can be read, or there is nothing to learn from them.
    """
    labels: list[str] = []

    def images() -> Iterator[Path | bytes]:
        for image, label in samples(dataset, Counter()):
            labels.append(label)
            yield image

    least, products, right = [], [], []
    for reading, label in zip(reader.readings(images()), labels, strict=False):
        if reading.problem:
            continue
        if not isinstance(reading.confidence, Confidence):
            raise HanlineError(
                "checkpoint=: expected a prediction that says how sure each character is, as ctc "
                "and attn do. Take another checkpoint"
            )
        least.append(reading.confidence.least)
        products.append(float(reading.confidence))
        right.append(reading.text == label)
    if not right:
        raise HanlineError(f"dataset={dataset}: expected images that can be read. Give others")
    scale = fit_scale(least, right)
    halves = [fit_scale(least[half::2], right[half::2]) for half in (1, 0)]
    chances = [halves[i % 2].chance(sure) for i, sure in enumerate(least)]
    return Measured(
        scale,
        measure_delay(reader, dataset),
        calibration(products, right),
        calibration(chances, right),
    )


def measure_delay(reader: Reader, dataset: Path) -> float | None:
    """Return how far to the right characters are written, in heights of the images.

    Returns:
        The median over all characters; None if too few places of characters are known.
    """
    if not isinstance(reader.recognizer, Recognizer) or (dataset / GT).is_file():
        return None
    known = list(islice(_positioned(dataset), _SAMPLES))
    before, reader.recognizer.delay = reader.recognizer.delay, 0.0
    try:
        readings = reader.read([image for image, _, _ in known], parts=True)
    finally:
        reader.recognizer.delay = before
    distances = []
    for (image, label, positions), reading in zip(known, readings, strict=True):
        if reading.text != label or reading.parts is None or reading.parts.deskewed:
            continue
        width, height = decode_image(image).size
        shape = reader.image_format
        stretched = shape.width and not shape.keep_ratio
        # Heights of the model's images in the width of this one.
        heights = shape.width / shape.height if stretched and shape.width else width / height
        read = [(part.left + part.right) / 2 / width for part in reading.parts.characters]
        distances += list((np.array(read) - positions.mean(axis=1)) * heights)
    sound = np.array([distance for distance in distances if np.isfinite(distance)])
    return round(float(np.median(sound)), 4) if len(sound) >= _CHARACTERS else None


def _positioned(dataset: Path) -> Iterator[tuple[bytes, str, np.ndarray]]:
    """Yield the images, labels and positions of samples that have them."""
    for path in check_shards_complete(dataset, find_datasets(dataset)):
        store = LMDBStore(path)
        if not store.has_positions:
            continue
        for start in range(0, len(store), 256):
            for sample in store.samples(range(start, min(start + 256, len(store)))):
                if sample.positions is not None and len(sample.positions) == len(sample.label):
                    try:
                        decode_image(sample.image)
                    except ImageError:
                        continue
                    yield sample.image, sample.label, sample.positions
