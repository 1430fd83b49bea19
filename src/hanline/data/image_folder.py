"""Folders of images with a ``gt.txt``, read and written.

``gt.txt`` is UTF-8, one sample a line: the image's path relative to ``gt.txt``, a tab, the label.
"""

import codecs
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from hanline.data.set_writer import SetWriter
from hanline.errors import HanlineError
from hanline.regular_files import check_regular
from hanline.text.cleaning import normalize

GT = "gt.txt"


class Row(NamedTuple):
    """One line of a ``gt.txt``.

    Attributes:
        number: the line's number, from 1.
        file: the image's path; the line itself where that is all there is.
        label: the text, in NFC.
        problem: why it makes no sample; empty where it does.
    """

    number: int
    file: str
    label: str
    problem: str = ""

    @property
    def image(self) -> Path:
        """The image's path. It takes as long to make as the rest of the row."""
        return Path(self.file)


def read_gt(gt: Path) -> Iterator[Row]:
    """Read a ``gt.txt``, also one from Windows: BOM, CRLF and back-slashes are understood.

    Raises:
        HanlineError: the file is missing or is no UTF-8.
    """
    for number, line in read_lines(gt):
        yield row_of(gt.parent, number, line)


def read_lines(gt: Path) -> Iterator[tuple[int, str]]:
    """The lines of a ``gt.txt`` that are not empty, with their numbers, from 1; see `read_gt`."""
    try:
        check_regular(gt)
        with gt.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, ended_line in enumerate(lines, start=1):
                line = ended_line.rstrip("\r\n")
                if line:
                    yield number, line
    except OSError as error:
        raise HanlineError(f"cannot read {gt}: {error}") from error
    except UnicodeDecodeError as error:
        raise HanlineError(f"{gt} is no UTF-8 ({error}): save it as UTF-8") from error


def row_of(folder: Path, number: int, line: str) -> Row:
    """The row that a line of the ``gt.txt`` of a folder is."""
    name, tab, text = line.partition("\t")
    label = normalize(text)
    if not tab:
        return Row(number, line, "", "no tab between path and label")
    return Row(number, _image(folder, name), label, "" if label else "empty label")


def count_rows(gt: Path) -> int:
    """How many rows :func:`read_gt` gives.

    Raises:
        HanlineError: the file is missing.
    """
    try:
        check_regular(gt)
        with gt.open("rb") as lines:
            first = lines.readline().removeprefix(codecs.BOM_UTF8)
            return sum(1 for line in chain([first], lines) if line.strip(b"\r\n"))
    except OSError as error:
        raise HanlineError(f"cannot read {gt}: {error}") from error


def _image(folder: Path, name: str) -> str:
    # A back-slash is a folder's separator unless a file of that very name is there.
    if "\\" in name:
        with suppress(OSError):  # some names are too long to look for
            if (folder / name).exists():
                return str(folder / name)
        name = name.replace("\\", "/")
    return os.path.join(folder, name)  # noqa: PTH118 (in a third of the time)


class FolderWriter(SetWriter):
    """Writes a folder of images and its ``gt.txt``.

    Args:
        path: where the folder will be.
        suffix: of the image files: ``png`` or ``jpg``.
    """

    def __init__(self, path: str | Path, suffix: str) -> None:
        super().__init__(path, resume=True)
        self.suffix = suffix
        with self._removed_on_failure():
            self.done = self._whole_lines()

    def _append(self, samples: Sequence[tuple[bytes, str]]) -> None:
        lines = []
        for number, (image, label) in enumerate(samples, start=self.done + 1):
            # A thousand files a folder: file systems and file managers stay quick.
            name = f"images/{number // 1000:06d}/{number:09d}.{self.suffix}"
            place = self.partial / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(image)
            lines.append(f"{name}\t{label}\n")
        with (self.partial / GT).open("a", encoding="utf-8", newline="\n") as gt:
            gt.writelines(lines)

    def _whole_lines(self) -> int:
        """Count the lines that an earlier run left, and cut off one that it did not end."""
        gt = self.partial / GT
        if not gt.exists():
            return 0
        content = gt.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(gt, len(whole))
        return whole.count(b"\n")
