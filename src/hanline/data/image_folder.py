"""Folders of images with a ``gt.txt``, read and written.

``gt.txt`` is UTF-8, one sample a line: the image's path relative to ``gt.txt``, a tab, the label.
"""

import codecs
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from hanline.data.dataset_writer import DatasetWriter, NewSample
from hanline.errors import HanlineError
from hanline.system.regular_files import check_regular
from hanline.text.normalization import normalize

GT = "gt.txt"


class Row(NamedTuple):
    """One line of a ``gt.txt``.

    Attributes:
        number: the line's number, from 1.
        file: the image's path; the whole line if it has no tab.
        label: the text, in NFC.
        problem: why it makes no sample; empty if it does.
    """

    number: int
    file: str
    label: str
    problem: str = ""

    @property
    def image(self) -> Path:
        """The image's path. Making it takes as long as the rest of the row."""
        return Path(self.file)


def read_gt(gt: Path) -> Iterator[Row]:
    """Yield the rows of a ``gt.txt``, also of one from Windows with BOM, CRLF and back-slashes.

    Raises:
        HanlineError: the file is missing, no regular file, or not UTF-8.
    """
    for number, line in read_lines(gt):
        yield row_of(gt.parent, number, line)


def read_lines(gt: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a ``gt.txt`` that are not empty, with their numbers, from 1.

    Raises:
        HanlineError: the file is missing, no regular file, or not UTF-8.
    """
    position = 0
    with _opened(gt) as lines:
        for number, ended_line in enumerate(lines, start=1):
            content = ended_line.removeprefix(codecs.BOM_UTF8) if number == 1 else ended_line
            try:
                line = content.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                wrong = len(ended_line) - len(content) + error.start
                raise HanlineError(
                    f"{gt}: expected UTF-8, but byte {position + wrong} (line {number}, byte "
                    f"{wrong} of the line) is 0x{content[error.start]:02x}: {error.reason}. Save "
                    "the file as UTF-8"
                ) from error
            position += len(ended_line)
            if line:
                yield number, line


@contextmanager
def _opened(gt: Path) -> Iterator[BinaryIO]:
    """Open a list for reading; refuse a pipe or a device, which may have no end."""
    try:
        check_regular(gt)
        with gt.open("rb") as content:
            yield content
    except OSError as error:
        raise HanlineError(f"cannot read {gt}: {error}") from error


def row_of(folder: Path, number: int, line: str) -> Row:
    """Return the row of a line of the ``gt.txt`` of a folder."""
    name, tab, text = line.partition("\t")
    label = normalize(text)
    if not tab:
        return Row(number, line, "", "no tab between path and label")
    return Row(number, _image(folder, name), label, "" if label else "empty label")


def count_rows(gt: Path) -> int:
    """Return how many rows :func:`read_gt` yields.

    Raises:
        HanlineError: the file is missing or no regular file.
    """
    with _opened(gt) as lines:
        first = lines.readline().removeprefix(codecs.BOM_UTF8)
        return sum(1 for line in chain([first], lines) if line.strip(b"\r\n"))


def _image(folder: Path, name: str) -> str:
    # A back-slash separates folders unless a file has it in its name.
    if "\\" in name:
        with suppress(OSError):  # some names are too long to look for
            if (folder / name).exists():
                return str(folder / name)
        name = name.replace("\\", "/")
    return os.path.join(folder, name)  # noqa: PTH118 (in a third of the time)


class FolderWriter(DatasetWriter):
    """Writes a folder of images and its ``gt.txt``.

    Args:
        path: where the folder will be.
        suffix: of the image files: ``png`` or ``jpg``.
    """

    def __init__(self, path: str | Path, suffix: str) -> None:
        super().__init__(path, resume=True)
        self.suffix = suffix
        with self._removed_on_failure():
            self.done = self._count_whole_lines()

    def _append(self, samples: Sequence[NewSample]) -> None:
        lines = []
        for number, sample in enumerate(samples, start=self.done + 1):
            # A thousand files a folder: file systems and file managers stay quick.
            name = f"images/{number // 1000:06d}/{number:09d}.{self.suffix}"
            file = self.partial / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(sample.image)
            lines.append(f"{name}\t{sample.label}\n")
        with (self.partial / GT).open("a", encoding="utf-8", newline="\n") as gt:
            gt.writelines(lines)

    def _count_whole_lines(self) -> int:
        """Count the lines that an earlier run left, after cutting off one that it did not end."""
        gt = self.partial / GT
        if not gt.exists():
            return 0
        content = gt.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(gt, len(whole))
        return whole.count(b"\n")
