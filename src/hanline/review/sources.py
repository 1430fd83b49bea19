"""The items that ``input`` of ``hanline review`` names: images, labeled images, LMDB, an audit."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hanline.data.image_folder import GT, read_gt
from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.errors import HanlineError
from hanline.inference.audit import AUDIT, read_audit
from hanline.inference.reader import image_files
from hanline.review.store import NewItem
from hanline.system.regular_files import read_regular
from hanline.text.normalization import normalize


def items_of(place: Path) -> Iterator[NewItem]:
    """Return the items of a folder of images, with ``gt.txt`` or without, of LMDB or an audit.

    Files that lie outside the folder, such as behind a link, and files that cannot be read are left
    out.

    Raises:
        HanlineError: it is none of these.
    """
    if (place / AUDIT).is_file():
        return _of_audit(place)
    if (place / GT).is_file():
        return _of_gt(place)
    if place.is_dir() and any(place.rglob("data.mdb")):
        return _of_lmdb(place)
    return _of_images(place, image_files(place))


def _of_audit(folder: Path) -> Iterator[NewItem]:
    for row in read_audit(folder / AUDIT):
        if row.image and (content := _inside(folder, folder / row.image)):
            yield NewItem(content, row.sample, row.source, row.label, row.reasons, row.rank)


def _of_gt(folder: Path) -> Iterator[NewItem]:
    for row in read_gt(folder / GT):
        content = None if row.problem else _inside(folder, row.image)
        if content:
            yield NewItem(content, *_names(folder, row.image), row.label)


def _of_images(place: Path, files: list[Path]) -> Iterator[NewItem]:
    folder = place if place.is_dir() else place.parent
    for file in files:
        if content := _inside(folder, file):
            yield NewItem(content, *_names(folder, file))


def _of_lmdb(folder: Path) -> Iterator[NewItem]:
    for path in find_datasets(folder):
        numbers = iter(range(len(store := LMDBStore(path))))
        name = path.relative_to(folder).as_posix()
        source = folder.name if name == "." else name
        while some := [*islice(numbers, 256)]:
            for number, sample in zip(some, store.samples(some), strict=True):
                if not sample.problem:
                    label = normalize(sample.label)
                    yield NewItem(sample.image, f"{source}#{number + 1}", source, label)


def _names(folder: Path, file: Path) -> tuple[str, str]:
    """Return the name of an image and its source: its folder."""
    name = file.relative_to(folder)
    return _printable(name.as_posix()), _printable((folder.name / name).parent.as_posix())


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _inside(folder: Path, file: Path) -> bytes | None:
    """Return the content of a regular file inside a folder; None if it is none."""
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            return None
        return read_regular(file)
    except (OSError, ValueError):  # no path may hold a NUL: ValueError
        return None


def check_input(place: Path) -> None:
    """See that there is something to review.

    Raises:
        HanlineError: there is nothing.
    """
    if not place.exists():
        raise HanlineError(
            f"input={place}: expected a folder with images, an LMDB dataset or an audit. Give one, "
            "or input=null to drop images on the page"
        )
    if next(items_of(place), None) is None:
        raise HanlineError(
            f"input={place}: expected images that can be read, and found none. Give another folder"
        )
