"""SQLite files: opened with a message if the folder cannot be used."""

import sqlite3
from pathlib import Path

from hanline.errors import HanlineError


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """Open a SQLite file without implicit transactions; make it and its folder if missing.

    Args:
        path: The file.
        timeout: How long to wait for another process, in seconds.

    Raises:
        HanlineError: The folder cannot be made, or the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(path, timeout=timeout, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise HanlineError(
            f"cannot open {path}: {error}. Name a folder that can be written with "
            "-s HEADLINES_FOLDER=FOLDER."
        ) from error
