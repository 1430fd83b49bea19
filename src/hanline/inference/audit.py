"""Find labels that are probably wrong.

Over 300 lines: one way from samples to a ranked list, and its page.
"""

import csv
import hashlib
import html
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from hanline.data.image_folder import GT, read_gt
from hanline.data.images import ImageError, decode_image, to_pixels
from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.errors import HanlineError
from hanline.inference.reader import Reader
from hanline.models.recognizer import Recognizer
from hanline.system.files import replacing, write_text
from hanline.text.normalization import normalize

AUDIT, PAGE, IMAGES = "audit.tsv", "audit.html", "images"
_HEAD = ["rank", "score", "reasons", "label", "reading", "distance", "sample", "source", "image"]
_AT_A_TIME = 1024
# Of 256 levels of grey: a picture with less between its lightest and darkest has nothing on it.
_BLANK = 12
# Such a label cannot be right, or one of two cannot.
_CERTAIN = 1000.0
# What a label is blamed for each character that the reader does not know, in nats.
_UNKNOWN = 3.0


class Suspect(NamedTuple):
    """A sample, and how probably its label is wrong.

    Attributes:
        rank: from 1, the most suspicious first.
        score: by how much the reader believes its own reading more than the label, in nats; 1,000
            more if the label cannot be right.
        reasons: why, in words; empty if there are none.
        label: the label.
        reading: what the reader reads.
        distance: edits from the one to the other.
        sample: the image's path, or the number in its dataset.
        source: the folder or dataset that it is of.
        image: the copy of the picture beside ``audit.tsv``; empty if there is none.
    """

    rank: int
    score: float
    reasons: str
    label: str
    reading: str
    distance: int
    sample: str
    source: str
    image: str = ""


@dataclass
class _Sample:
    name: str
    source: str
    label: str
    content: bytes
    score: float = 0.0
    reading: str = ""
    pixels_digest: bytes = b""
    reasons: list[str] = field(default_factory=list)


def audit(reader: Reader, dataset: Path, output: Path, copies: int) -> list[Suspect]:
    """Rank the samples of a dataset, and write ``audit.tsv`` and ``audit.html``.

    The score is the likelihood ratio of the reader's own reading to the label: the difference of
    their losses (CTC's, or the cross-entropy of attention).

    Args:
        reader: a reader of a checkpoint or a safetensors file: others do not give losses.
        dataset: an LMDB dataset, a folder of them, or a folder with ``gt.txt``.
        output: the folder to write into.
        copies: of how many suspects the picture is kept, for the page and for a review.

    Returns:
        All samples, the most suspicious first.

    Raises:
        HanlineError: there is no dataset or nothing in it, or nothing can be written.
    """
    if not isinstance(reader.recognizer, Recognizer):
        raise HanlineError(
            "checkpoint: expected a checkpoint, or a file of hanline export format=safetensors, "
            "since another runtime gives texts only. Set checkpoint=… to such a file"
        )
    judged: list[_Sample] = []
    samples = _samples(dataset)
    while some := [*islice(samples, _AT_A_TIME)]:
        _judge(reader, some)
        judged += [replace(sample, content=b"") for sample in some]
    if not judged:
        raise HanlineError(
            f"dataset={dataset}: expected labeled images, but it is empty. Choose another"
        )
    _compare_copies(judged)
    order = sorted(range(len(judged)), key=lambda i: -judged[i].score)
    wanted = {number: rank for rank, number in enumerate(order[:copies], start=1)}
    try:
        (output / IMAGES).mkdir(parents=True, exist_ok=True)
        kept = _keep(dataset, wanted, output)
        suspects = [
            Suspect(
                rank,
                round(judged[i].score, 3),
                ", ".join(judged[i].reasons),
                judged[i].label,
                judged[i].reading,
                Levenshtein.distance(judged[i].label, judged[i].reading),
                judged[i].name,
                judged[i].source,
                kept.get(i, ""),
            )
            for rank, i in enumerate(order, start=1)
        ]
        _write_table(suspects, output / AUDIT)
        _write_page(suspects, output)
    except OSError as error:
        raise HanlineError(
            f"output={output}: expected a folder that can be written, but {error}. Choose another"
        ) from error
    return suspects


def read_audit(path: Path) -> Iterator[Suspect]:
    """Yield the rows of an ``audit.tsv``.

    Raises:
        HanlineError: it cannot be read, or is none.
    """
    try:
        with path.open(encoding="utf-8", newline="") as table:
            rows = csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
            if next(rows, None) != _HEAD:
                raise HanlineError(f"{path}: expected the columns {' '.join(_HEAD)}. Audit again")
            for rank, score, reasons, label, reading, distance, *rest in rows:
                sample, source, image = rest
                yield Suspect(
                    int(rank),
                    float(score),
                    reasons,
                    label,
                    reading,
                    int(distance),
                    sample,
                    source,
                    image,
                )
    except (OSError, ValueError, csv.Error) as error:
        raise HanlineError(
            f"{path}: expected a table of hanline audit, but {error}. Audit again"
        ) from error


def _samples(dataset: Path) -> Iterator[_Sample]:
    if (dataset / GT).is_file():
        for row in read_gt(dataset / GT):
            if row.problem == "no tab between path and label":
                continue
            try:
                # A path out of the folder is somebody else's file.
                if not row.image.resolve().is_relative_to(dataset.resolve()):
                    continue
                content = row.image.read_bytes() if row.image.is_file() else b""
            except (OSError, ValueError):  # no path may hold a NUL: ValueError
                content = b""
            name = row.image.relative_to(dataset)
            source = (dataset.name / name).parent.as_posix()
            yield _Sample(name.as_posix(), source, row.label, content)
        return
    try:
        paths = find_datasets(dataset)
    except HanlineError as error:
        raise HanlineError(
            f"dataset={dataset}: expected an LMDB dataset, or a folder with {GT}. {error}"
        ) from error
    for path in paths:
        store = LMDBStore(path)
        below = path.relative_to(dataset).as_posix()
        source = dataset.name if below == "." else below
        for start in range(0, len(store), 256):
            numbers = range(start, min(start + 256, len(store)))
            for number, sample in zip(numbers, store.samples(numbers), strict=True):
                if not sample.problem:
                    label = normalize(sample.label)
                    yield _Sample(f"{source}#{number + 1}", source, label, sample.image)


def _judge(reader: Reader, samples: Sequence[_Sample]) -> None:
    """Give samples their readings, scores, and the reasons that one sample alone gives."""
    of_width: dict[int, list[tuple[_Sample, np.ndarray]]] = {}
    for sample in samples:
        try:
            image = decode_image(sample.content)
        except ImageError as error:
            sample.score += _CERTAIN
            sample.reasons.append(f"not readable: {error}")
            continue
        grey = np.asarray(image.convert("L"))
        sample.pixels_digest = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).digest()
        if int(grey.max()) - int(grey.min()) < _BLANK:
            sample.score += _CERTAIN
            sample.reasons.append("blank picture")
        if not sample.label:
            sample.score += _CERTAIN
            sample.reasons.append("empty label")
        pixels = to_pixels(image, reader.image_format)
        of_width.setdefault(pixels.shape[1], []).append((sample, pixels))
    for width, like in sorted(of_width.items()):
        size = max(1, reader.batch_size * reader.image_format.nominal_width // width)
        for start in range(0, len(like), size):
            _judge_batch(reader, like[start : start + size])


@torch.inference_mode()
def _judge_batch(reader: Reader, batch: Sequence[tuple[_Sample, np.ndarray]]) -> None:
    """Judge samples by their pixels (H, W, C), which have one shape."""
    recognizer = cast(Recognizer, reader.recognizer)
    images = torch.from_numpy(np.stack([pixels for _, pixels in batch])).permute(0, 3, 1, 2)
    with torch.autocast(reader.device.type, torch.bfloat16, enabled=reader.in_bfloat16):
        features = recognizer.features(images.to(reader.device))
        texts, _ = recognizer.prediction.read(features)
        known = ["".join(c for c in s.label if c in recognizer.charset.index) for s, _ in batch]
        losses = [_losses(recognizer, features, some) for some in (known, texts)]
    for (sample, _), text, label, loss, own in zip(batch, texts, known, *losses, strict=True):
        sample.reading = text
        unknown = len(sample.label) - len(label)
        if unknown:
            sample.reasons.append(f"{unknown} characters that the reader does not know")
        if math.isinf(loss):
            sample.score += _CERTAIN
            sample.reasons.append("longer than the picture has room for")
        else:
            sample.score += max(0.0, loss - own) + _UNKNOWN * unknown
        if sample.label != text:
            sample.reasons.append("read otherwise")


def _losses(recognizer: Recognizer, features: torch.Tensor, labels: list[str]) -> list[float]:
    """Return the loss of each whole label, in nats; infinite for one that cannot be written."""
    losses, counts = recognizer.prediction.losses(features, labels)
    # CTC counts a label as one part and gives the loss a character.
    whole = losses.float().cpu() * torch.tensor(
        [
            max(1, len(label)) if count == 1 else 1
            for label, count in zip(labels, counts.tolist(), strict=True)
        ]
    )
    steps = features.shape[1]
    impossible = [
        recognizer.prediction.count_unalignable({(len(label), _repeats(label)): 1}, steps) > 0
        for label in labels
    ]
    return [
        math.inf if cannot else float(loss)
        for loss, cannot in zip(whole.tolist(), impossible, strict=True)
    ]


def _repeats(label: str) -> int:
    return sum(one == other for one, other in pairwise(label))


def _compare_copies(samples: Sequence[_Sample]) -> None:
    """Mark pictures that are there several times, with labels that differ."""
    groups: defaultdict[bytes, list[_Sample]] = defaultdict(list)
    for sample in samples:
        if sample.pixels_digest:
            groups[sample.pixels_digest].append(sample)
    for copies in groups.values():
        labels = {sample.label for sample in copies}
        if len(labels) > 1:
            for sample in copies:
                others = " / ".join(sorted(labels - {sample.label}))
                sample.reasons.append(f"the same picture is labeled {others}")
                sample.score += _CERTAIN


def _keep(dataset: Path, wanted: dict[int, int], output: Path) -> dict[int, str]:
    """Copy pictures, named by their ranks; return their paths in the folder by number."""
    kept = {}
    for number, sample in enumerate(_samples(dataset)):
        if number not in wanted:
            continue
        try:
            image = decode_image(sample.content)
        except ImageError:
            continue  # there is nothing to see
        name = f"{IMAGES}/{wanted[number]:06d}.png"
        with replacing(output / name) as aside:
            image.save(aside, "PNG")
        kept[number] = name
    return kept


def _write_table(suspects: Sequence[Suspect], path: Path) -> None:
    lines = ["\t".join(_HEAD)]
    for suspect in suspects:
        fields = (" ".join(str(value).split("\t")).replace("\n", " ") for value in suspect)
        lines.append("\t".join(fields))
    write_text(path, "\n".join(lines) + "\n")


def _write_page(suspects: Sequence[Suspect], output: Path) -> None:
    """Write the suspects whose pictures are kept as a page that needs no network."""
    rows = []
    for suspect in suspects:
        if suspect.image:
            texts = (suspect.label, suspect.reading, suspect.reasons, suspect.sample)
            cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
            rows.append(
                f'<tr><td>{suspect.rank}</td><td>{suspect.score:.1f}</td><td><img loading="lazy" '
                f'alt="" src="{html.escape(suspect.image)}"></td>{cells}</tr>'
            )
    write_text(output / PAGE, _HTML.replace("@ROWS@", "\n".join(rows)))


_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'">
<title>Labels that are probably wrong</title>
<style>
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { margin: 1rem; } table { border-collapse: collapse; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8885; }
img { max-height: 48px; max-width: 40rem; }
</style>
<h1>Labels that are probably wrong</h1>
<table>
<thead><tr><th>Rank<th>Score<th>Picture<th>Label<th>Reading<th>Reasons<th>Sample</tr></thead>
<tbody>
@ROWS@
</tbody>
</table>
</html>
"""
