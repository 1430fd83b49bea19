"""The files that training reads: derived from the store, each written whole or not at all."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from hanline.errors import HanlineError
from hanline.system.files import replacing
from hanline.text.crawled import ALL_HEADLINES
from hanline_crawler.store import Store


def write_day(store: Store, folder: Path, day: str) -> list[Path]:
    """Write ``<day>.txt``, ``<day>.new.txt`` and ``<day>.jsonl`` from the store.

    Returns:
        The three files.

    Raises:
        HanlineError: A file cannot be written.
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
    """Write ``headlines.txt``: every headline once, in the order of arrival.

    Raises:
        HanlineError: The file cannot be written.
    """
    return write_lines(folder / ALL_HEADLINES, store.all_headlines())


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    r"""Write a UTF-8 text file with ``\n`` line ends; it appears whole or not at all.

    Raises:
        HanlineError: The file cannot be written.
    """
    return _write(path, (f"{line}\n".encode() for line in lines))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file; it appears whole or not at all.

    Raises:
        HanlineError: The file cannot be written.
    """
    return _write(path, [content])


def remove_partial_files(folder: Path) -> None:
    """Remove the partial files that a killed run left in a folder.

    Call it inside the store's transaction. Outside it another run may be writing them.
    """
    for partial in folder.glob("*.partial"):
        partial.unlink(missing_ok=True)


def _write(path: Path, parts: Iterable[bytes]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The inner block ends first: the file is closed before it is renamed.
        with replacing(path) as aside, aside.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise HanlineError(
            f"cannot write {path}: {error}. No headline is lost: all are in the store. Free "
            "space or change the folder's permissions. The next run writes the files."
        ) from error
    return path
