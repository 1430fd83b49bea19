"""The files that training reads: derived from the store, each written aside and then renamed."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from hanline.errors import HanlineError
from headlines.store import Store

ALL_HEADLINES = "headlines.txt"
_PARTIAL = ".partial"
# On Windows a file that another program reads cannot be replaced; readers are soon done.
_SECONDS_TO_REPLACE = 20.0


def write_day(store: Store, folder: Path, day: str) -> list[Path]:
    """Write ``<day>.txt``, ``<day>.new.txt`` and ``<day>.jsonl`` anew.

    Returns:
        The files.

    Raises:
        HanlineError: a file cannot be written.
    """
    return [
        write_lines(folder / f"{day}.txt", (item["headline"] for item in store.day_items(day))),
        write_lines(
            folder / f"{day}.new.txt",
            (item["headline"] for item in store.day_items(day, only_new=True)),
        ),
        write_lines(
            folder / f"{day}.jsonl",
            (json.dumps(item, ensure_ascii=False) for item in store.day_items(day)),
        ),
    ]


def write_all(store: Store, folder: Path) -> Path:
    """Write ``headlines.txt`` anew: every headline once, in the order of arrival.

    Raises:
        HanlineError: the file cannot be written.
    """
    return write_lines(folder / ALL_HEADLINES, store.all_headlines())


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write a text file whole or not at all: UTF-8, ``\\n`` on every system.

    Raises:
        HanlineError: it cannot be written.
    """
    return _write(path, (f"{line}\n".encode() for line in lines))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all.

    Raises:
        HanlineError: it cannot be written.
    """
    return _write(path, [content])


def _write(path: Path, parts: Iterable[bytes]) -> Path:
    # Always the same name, so that what a killed run left is written over.
    partial = path.with_name(path.name + _PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        _replace(partial, path)
    except OSError as error:
        raise HanlineError(
            f"cannot write {path}: {error}. No headline is lost: they are in the store, and the "
            "next run writes the files anew"
        ) from error
    return path


def _replace(partial: Path, path: Path) -> None:
    until = time.monotonic() + _SECONDS_TO_REPLACE
    while True:
        try:
            partial.replace(path)
            return
        except PermissionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
