"""``readings.tsv`` and ``readings.jsonl``, written reading by reading."""

import json
import secrets
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hanline.errors import HanlineError
from hanline.inference.reader import Reading

_HEAD = "path\ttext\tconfidence\tproblem\n"


class ReadingsWriter:
    """Writes readings as they come; at the end, whatever ends it, the files get their names.

    Args:
        folder: where the files will be; it is made if need be.

    Attributes:
        paths: the two files.
        written: how many readings they have.

    Raises:
        HanlineError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = (folder / "readings.tsv", folder / "readings.jsonl")
        self.written = 0
        self._folder = folder
        token = secrets.token_hex(4)
        self._asides = [path.with_name(f"{path.name}.{token}.partial") for path in self.paths]
        self._files: list[FileIO] = []
        self._sizes = [0, 0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Without buffers: what was read is in the files even if the process is killed.
            self._files = [aside.open("xb", buffering=0) for aside in self._asides]
            self._write(_HEAD, "")
        except OSError as error:
            self._give_up()
            raise self._explained(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Name the files; where no reading was made, files of before stay instead."""
        if kind is not None and not self.written:
            self._give_up()
            return
        try:
            for file, aside, path, size in zip(
                self._files, self._asides, self.paths, self._sizes, strict=True
            ):
                # Less than a reading, where the disk is full or a signal came.
                file.truncate(size)
                file.close()
                aside.replace(path)
        except OSError as failure:
            raise self._explained(failure) from failure

    def add(self, path: str, reading: Reading) -> None:
        """Write a reading.

        Args:
            path: the image's, for display.
            reading: what was read in it.

        Raises:
            HanlineError: it cannot be written; the readings before it stay.
        """
        fields = (path, reading.text, f"{reading.confidence:.6f}", reading.problem)
        # What a path may hold, but a table not: the ends of lines and of fields.
        plain = (" ".join(field.splitlines()).replace("\t", " ") for field in fields)
        record: dict[str, Any] = {
            "path": path,
            "text": reading.text,
            "confidence": reading.confidence,
            "problem": reading.problem,
        }
        if reading.parts is not None:
            record |= reading.parts.as_record()
        if reading.others:
            record["others"] = [
                {"text": text, "confidence": confidence} for text, confidence in reading.others
            ]
        try:
            self._write("\t".join(plain) + "\n", json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._explained(error) from error
        self.written += 1

    def _write(self, *texts: str) -> None:
        """Write a text into each file, into both or, as far as their sizes show, into none."""
        for file, text in zip(self._files, texts, strict=True):
            content = memoryview(text.encode("utf-8", "backslashreplace"))
            while content:
                content = content[file.write(content) :]
        self._sizes = [file.tell() for file in self._files]

    def _give_up(self) -> None:
        for file in self._files:
            file.close()
        for aside in self._asides:
            with suppress(OSError):  # where there is no folder there is no file
                aside.unlink()

    def _explained(self, error: OSError) -> HanlineError:
        return HanlineError(
            f"output={self._folder}: expected a folder for the readings; cannot write the "
            f"readings into {self._folder}: {error.strerror}. Make room, or name another folder"
        )
