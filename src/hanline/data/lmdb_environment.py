"""LMDB environments for reading, one for each file and process."""

import os
from pathlib import Path

import lmdb

from hanline.errors import HanlineError

# The environments of this process, and those that a fork has brought into it, by their files: LMDB
# lets a process open a file once only, and no environment be used after a fork.
_opened: dict[tuple[int, int], tuple[int, lmdb.Environment, Path]] = {}


def environment_of(file: Path) -> lmdb.Environment:
    """Return the environment of a ``data.mdb``, opened for reading by this process.

    Raises:
        HanlineError: it is gone, or cannot be opened.
    """
    path = file.absolute()
    folder = file.parent
    try:
        found = path.stat()
    except OSError as error:
        raise HanlineError(f"the LMDB dataset {folder} is gone: {error.strerror}") from error
    key = found.st_dev, found.st_ino
    process, environment, _ = _opened.get(key, (None, None, None))
    if environment is not None and process == os.getpid():
        return environment
    if environment is not None:
        environment.close()
    _close_removed()
    try:
        environment = lmdb.open(
            str(folder), readonly=True, lock=False, readahead=False, meminit=False
        )
    except lmdb.Error as error:
        raise HanlineError(f"cannot open the LMDB dataset {folder}: {error}") from error
    _opened[key] = os.getpid(), environment, path
    return environment


def _close_removed() -> None:
    """Close the environments of datasets that are gone.

    A new dataset's files may get the numbers that theirs had, and LMDB would take it for open.
    """
    for key, (_, environment, path) in list(_opened.items()):
        try:
            file = path.stat()
        except OSError:
            file = None
        if file is None or key != (file.st_dev, file.st_ino):
            environment.close()
            del _opened[key]
