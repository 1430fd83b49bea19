"""Real labelled lines that a day takes in: the new ones, and which of them can be trusted."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hanline.data.image_folder import GT
from hanline.data.images import ImageError, decode_image
from hanline.data.lmdb_store import LMDBStore
from hanline.data.lmdb_writer import LMDBWriter
from hanline.errors import HanlineError
from hanline.inference.evaluation import samples
from hanline.inference.reader import Reader
from hanline.system.regular_files import read_regular
from hanline.text.label_fit import misfit

logger = logging.getLogger(__name__)
# The first new samples of each dataset are compared with what the model in use reads.
_COMPARED = 200
# A picture whose shades differ by less than this has no text.
_LEAST_CONTRAST = 8.0


@dataclass(frozen=True)
class RealLine:
    """A labelled picture of a line.

    Attributes:
        image: the bytes of an image file.
        label: its text.
        key: the same for the same picture and label.
    """

    image: bytes
    label: str
    key: str


@dataclass
class RealLines:
    """The new lines of a folder.

    Attributes:
        lines: those that can be trusted.
        left_out: counts of the others, by reason.
        refused: datasets that are left out whole, each with the reason.
    """

    lines: list[RealLine] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)


def new_lines(folder: Path, known: Set[str], reader: Reader | None) -> RealLines:
    """Return the lines of a folder that are new.

    Args:
        folder: folders with images and ``gt.txt``, and LMDB datasets, anywhere below it.
        known: the keys of lines that were taken before.
        reader: compares the labels with what it reads. None compares nothing.

    Raises:
        HanlineError: the folder does not exist.
    """
    if not folder.is_dir():
        raise HanlineError(
            f"real={folder}: expected a folder with labelled lines. Make it, or set real=null"
        )
    found = RealLines()
    seen = set(known)
    for place in _datasets(folder):
        name = place.relative_to(folder).as_posix()
        try:
            new = []
            for line in _lines(place, found.left_out):
                if line.key not in seen:
                    new.append(line)
        except HanlineError as error:
            found.refused[name] = str(error)
            continue
        problem = _misfit(new[:_COMPARED], reader)
        if problem:
            found.refused[name] = problem
            continue
        seen |= {line.key for line in new}
        found.lines += {line.key: line for line in new}.values()
    return found


def write_lines(lines: list[RealLine], path: Path) -> None:
    """Write an LMDB dataset of real lines; nothing is done if it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = LMDBWriter(path, resume=False)
    writer.add([(line.image, line.label) for line in lines])
    writer.finish({"made_by": "hanline update"})


def _datasets(folder: Path) -> Iterator[Path]:
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        if (place / GT).is_file() or (place / "data.mdb").is_file():
            yield place


def _lines(place: Path, left_out: Counter[str]) -> Iterator[RealLine]:
    if (place / GT).is_file():
        pairs: Iterator[tuple[Path | bytes, str]] = samples(place, left_out)
    else:
        store = LMDBStore(place)
        pairs = (
            (sample.image, sample.label)
            for number in range(len(store))
            for sample in store.samples([number])
            if not sample.problem
        )
    for image, label in pairs:
        try:
            content = image if isinstance(image, bytes) else read_regular(image)
            picture = np.asarray(decode_image(content).convert("L"))
        except (ImageError, OSError, ValueError):
            left_out["broken image"] += 1
            continue
        if not label:
            left_out["empty label"] += 1
        elif np.ptp(np.percentile(picture, [1, 99])) < _LEAST_CONTRAST:
            left_out["blank picture"] += 1
        else:
            key = hashlib.sha256(content + b"\0" + label.encode("utf-8")).hexdigest()
            yield RealLine(content, label, key)


def _misfit(lines: list[RealLine], reader: Reader | None) -> str:
    if reader is None:
        return ""
    texts = [reading.text for reading in reader.readings(line.image for line in lines)]
    return misfit([line.label for line in lines], texts)
