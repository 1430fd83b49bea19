"""Arrays computed by a walk through a whole LMDB dataset, kept so that the next run need not walk.

An array is kept as a file in the dataset's folder. If nothing can be written there, it is in the
user's cache folder. A file counts only if its digest fits the dataset's present state, the query
and the file's own content: a file of another state, a damaged and a foreign one are made again.
Several processes may make the same file at once.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from platformdirs import user_cache_path

from hanline.system.files import write_bytes

logger = logging.getLogger(__name__)
# Raise it if the same fingerprint gives other values.
_VERSION = 2
KEY_SIZE = hashlib.sha256().digest_size


class Identified(Protocol):
    """A dataset on disk."""

    @property
    def path(self) -> Path: ...

    def identity(self) -> list[int]:
        """Return numbers that change if the dataset is written to or replaced."""


def cached_array(
    store: Identified,
    what: str,
    fingerprint: Mapping[str, object],
    dtype: type[np.generic],
    walk: Callable[[], np.ndarray],
) -> np.ndarray:
    """Return the array that a walk through a dataset gives, from an earlier walk if there was one.

    Args:
        store: the dataset.
        what: names the array, and the file.
        fingerprint: all that decides the array apart from the dataset, in JSON's types.
        dtype: of the array's values.
        walk: makes the array, which has one dimension.
    """
    key, stem = cache_key(store, what, fingerprint, dtype.__name__)
    name = f"{stem}.index"
    for file in cache_paths(store, name):
        with suppress(OSError):
            content = memoryview(file.read_bytes())
            if _digest(key, content[KEY_SIZE:]) == content[:KEY_SIZE]:
                return np.frombuffer(content, dtype, offset=KEY_SIZE)
    values = np.ascontiguousarray(walk(), dtype=dtype)
    problem = None
    for file in cache_paths(store, name):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, _digest(key, values.data) + values.tobytes())
        except OSError as error:
            problem = error
        else:
            return values
    logger.info(
        "the dataset %s is walked through at every start, since its index cannot be kept: %s",
        store.path,
        problem,
    )
    return values


def cache_key(
    store: Identified, what: str, fingerprint: Mapping[str, object], dtype: str
) -> tuple[bytes, str]:
    """Return the key of a query and of the dataset's present state, and the stem of the query.

    Returns:
        ``KEY_SIZE`` bytes, which change with the dataset; and a file name without suffix, which
        does not.
    """
    query = json.dumps([_VERSION, what, dtype, fingerprint], sort_keys=True)
    stem = f"{what}-{hashlib.sha256(query.encode()).hexdigest()[:12]}"
    return hashlib.sha256(f"{query} {json.dumps(store.identity())}".encode()).digest(), stem


def cache_paths(store: Identified, name: str) -> Iterator[Path]:
    """Yield where a file about a dataset may be: its folder, then the user's cache folder."""
    yield store.path / name
    with suppress(OSError, RuntimeError):  # there may be no home
        folder = hashlib.sha256(str(store.path.resolve()).encode()).hexdigest()[:16]
        yield user_cache_path("hanline", appauthor=False) / "sets" / folder / name


def _digest(key: bytes, values: memoryview) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(values)
    return digest.digest()
