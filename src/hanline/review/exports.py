"""What was decided, as datasets and as label files."""

import hashlib
import io
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hanline import __version__
from hanline.data.dataset_writer import DatasetWriter
from hanline.data.image_folder import FolderWriter
from hanline.data.images import decode_image
from hanline.data.lmdb_writer import LMDBWriter
from hanline.errors import HanlineError
from hanline.review.label_files import (
    LABEL_STUDIO_SETTINGS,
    Labeled,
    to_label_studio,
    to_ppocrlabel,
)
from hanline.review.store import ReviewStore
from hanline.system.files import write_text

Form = Literal["folder", "lmdb", "label_studio", "ppocrlabel"]
EXPORTS = "exports"
_PARTS = ("train", "validation")


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: the folder.
        train: samples for training; for label files, all.
        validation: samples for validation.
        contradictory: pictures that were confirmed with several texts, and left out.
        split: ``source`` if all pictures of a source are in one part, ``picture`` if there is only
            one source.
    """

    path: Path
    train: int
    validation: int
    contradictory: int
    split: str

    def as_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**self.__dict__, "path": str(self.path)}


@dataclass(frozen=True)
class _Confirmed:
    item: int
    sha256: str
    source: str
    text: str


def export(store: ReviewStore, folder: Path, form: Form, validation: float) -> Exported:
    """Write what was decided into a new folder below ``exports``.

    Args:
        store: the review.
        folder: the review's.
        form: ``folder`` and ``lmdb`` have confirmed pictures, in two parts; the others all decided
            ones.
        validation: the share of sources for validation. A source is always in the same part,
            decided by a hash of its name.

    Raises:
        HanlineError: nothing was confirmed, or nothing can be written.
    """
    number = 1
    while (path := folder / EXPORTS / f"{form}_{number:03d}").exists():
        number += 1
    aside = path.with_name(f"{path.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        if form in ("folder", "lmdb"):
            made = _write_dataset(store, aside, path, form, validation)
        else:
            made = _write_labels(store, aside, path, form)
        aside.rename(path)
    except OSError as error:
        raise HanlineError(
            f"output={folder}: expected a folder that can be written, but {error}. Make room"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return made


def _write_dataset(
    store: ReviewStore, aside: Path, path: Path, form: str, validation: float
) -> Exported:
    confirmed = [
        _Confirmed(item["id"], item["sha256"], item["source"], item["decided_text"])
        for item, _ in store.decided()
        if item["decision"] == "confirmed"
    ]
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for one in confirmed:
        texts[one.sha256].add(one.text)
    contradictory = sum(len(some) > 1 for some in texts.values())
    # A picture that is there several times is one sample.
    samples = {one.sha256: one for one in confirmed if len(texts[one.sha256]) == 1}
    if not samples:
        raise HanlineError("export: expected confirmed lines, but there are none. Confirm some")
    held_out, split = _split([*samples.values()], validation)
    counts = []
    for part in _PARTS:
        chosen = {
            one.item for one in samples.values() if (one.item in held_out) == (part != "train")
        }
        counts.append(len(chosen))
        if chosen:
            _write_part(store, chosen, aside / part, form)
    return Exported(path, counts[0], counts[1], contradictory, split)


def _split(samples: Sequence[_Confirmed], validation: float) -> tuple[set[int], str]:
    """Return the items for validation, and whether whole sources were split off."""
    if not validation or len(samples) < 2:
        return set(), "source"
    by_source = {one.item for one in samples if _share(one.source) < validation}
    if 0 < len(by_source) < len(samples):
        return by_source, "source"
    by_picture = {one.item for one in samples if _share(one.sha256) < validation}
    if 0 < len(by_picture) < len(samples):
        return by_picture, "picture"
    return {min(samples, key=lambda one: _share(one.sha256)).item}, "picture"


def _share(name: str) -> float:
    """Return a number from 0 up to 1 that depends on a name alone."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:7], "big") / 2**56


def _write_part(store: ReviewStore, chosen: set[int], path: Path, form: str) -> None:
    writer: DatasetWriter = (
        LMDBWriter(path, resume=False) if form == "lmdb" else FolderWriter(path, "png")
    )
    try:
        for item, content in store.decided():
            if item["id"] in chosen:
                image = content if form == "lmdb" else _png(content)
                writer.add([(image, item["decided_text"])])
    except BaseException:
        writer.discard()
        raise
    writer.finish({"made_by": f"hanline {__version__} review", "samples": writer.done})


def _png(content: bytes) -> bytes:
    png = io.BytesIO()
    decode_image(content).save(png, "PNG")
    return png.getvalue()


def _write_labels(store: ReviewStore, aside: Path, path: Path, form: str) -> Exported:
    labeled = [*_labeled(store, aside)]
    if not labeled:
        raise HanlineError("export: expected decided lines, but there are none. Decide some")
    if form == "label_studio":
        write_text(aside / "tasks.json", to_label_studio(labeled))
        write_text(aside / "label_config.xml", LABEL_STUDIO_SETTINGS)
    else:
        write_text(aside / "Label.txt", to_ppocrlabel(labeled))
        lines = [f"{o.file}\t{o.text}\n" for o in labeled if o.decision == "confirmed"]
        write_text(aside / "rec_gt.txt", "".join(lines))
    return Exported(path, len(labeled), 0, 0, "source")


def _labeled(store: ReviewStore, aside: Path) -> Iterator[Labeled]:
    """Write the pictures of decided items, and yield what was decided about each."""
    (aside / "images").mkdir()
    for item, content in store.decided():
        image = decode_image(content)
        # The number keeps names apart; the name is for people, and for a later import.
        name = item["name"].replace("\\", "/").rpartition("/")[2]
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[-80:]
        file = f"images/{item['id']:06d}_{plain}"
        file = file if file.lower().endswith(".png") else f"{file}.png"
        image.save(aside / file, "PNG")
        yield Labeled(file, image.size, item["decision"], item["decided_text"])
