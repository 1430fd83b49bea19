"""Folders of images with a ``gt.txt``, read and written.

``gt.txt`` is UTF-8, one sample a line: the image's path relative to ``gt.txt``, a tab, the label.
"""

import errno
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanline.data.lmdb_store import PARTIAL, write_provenance
from hanline.errors import HanlineError
from hanline.text.cleaning import normalize

GT = "gt.txt"


@dataclass(frozen=True)
class Row:
    """One line of a ``gt.txt``.

    Attributes:
        number: the line's number, from 1.
        image: the image's path; the line itself where that is all there is.
        label: the text, in NFC.
        problem: why it makes no sample; empty where it does.
    """

    number: int
    image: Path
    label: str
    problem: str = ""


def read_gt(gt: Path) -> Iterator[Row]:
    """Read a ``gt.txt``, also one from Windows: BOM, CRLF and back-slashes are understood.

    Raises:
        HanlineError: the file is missing or is no UTF-8.
    """
    try:
        with gt.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, ended_line in enumerate(lines, start=1):
                line = ended_line.rstrip("\r\n")
                if not line:
                    continue
                name, tab, text = line.partition("\t")
                label = normalize(text)
                # A back-slash is a folder's separator unless a file of that very name is there.
                image = gt.parent / name
                if "\\" in name and not image.exists():
                    image = gt.parent / name.replace("\\", "/")
                if not tab:
                    yield Row(number, Path(line), "", "no tab between path and label")
                elif not label:
                    yield Row(number, image, "", "empty label")
                else:
                    yield Row(number, image, label)
    except OSError as error:
        raise HanlineError(f"cannot read {gt}: {error}") from error
    except UnicodeDecodeError as error:
        raise HanlineError(f"{gt} is no UTF-8 ({error}): save it as UTF-8") from error


class FolderWriter:
    """Writes a folder of images and its ``gt.txt``, which appears only when it is complete.

    Until then it stands beside, under ``<name>.partial``; ``done`` says how many samples an earlier
    run has left there.

    Args:
        path: where the folder will be.
        suffix: of the image files: ``png`` or ``jpg``.

    Raises:
        HanlineError: something is there already.
    """

    def __init__(self, path: str | Path, suffix: str) -> None:
        self.path = Path(path)
        self.suffix = suffix
        self.partial = self.path.with_name(self.path.name + PARTIAL)
        if self.path.exists():
            raise HanlineError(f"{self.path} exists: remove it first, or choose another name")
        (self.partial / "images").mkdir(parents=True, exist_ok=True)
        self.done = self._whole_lines()

    def add(self, samples: Sequence[tuple[bytes, str]]) -> None:
        """Append samples: image files' bytes and labels.

        Raises:
            HanlineError: the disk is full. What was written is removed.
        """
        lines = []
        try:
            for number, (image, label) in enumerate(samples, start=self.done + 1):
                # A thousand files a folder: file systems and file managers stay quick.
                name = f"images/{number // 1000:06d}/{number:09d}.{self.suffix}"
                place = self.partial / name
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(image)
                lines.append(f"{name}\t{label}\n")
            with (self.partial / GT).open("a", encoding="utf-8", newline="\n") as gt:
                gt.writelines(lines)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            shutil.rmtree(self.partial, ignore_errors=True)
            raise HanlineError(
                f"the disk of {self.partial.parent} is full after {self.done} samples of "
                f"{self.path.name}; what was written has been removed. Free some space, or choose "
                "another folder"
            ) from error
        self.done += len(samples)

    def finish(self, provenance: dict[str, Any]) -> Path:
        """Give the folder its name; ``provenance`` is written into it as ``provenance.json``."""
        write_provenance(self.partial, provenance)
        self.partial.rename(self.path)
        return self.path

    def _whole_lines(self) -> int:
        """Count the lines that an earlier run left, and cut off one that it did not end."""
        gt = self.partial / GT
        if not gt.exists():
            return 0
        content = gt.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            gt.write_bytes(whole)
        return whole.count(b"\n")
