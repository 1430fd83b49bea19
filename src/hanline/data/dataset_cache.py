"""What a walk through a whole LMDB set has told, kept so that the next run need not walk.

It is kept as a file in the set's folder, or where nothing can be written there, in the user's cache
folder. A file counts only where its digest is that of the set as it is now, of what was asked, and
of the file's own content: one of a set that has changed since, a damaged and a foreign one are made
anew. Several processes may make the same one at once.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from hanline.data.lmdb_store import LMDBStore
from hanline.system.files import write_bytes

logger = logging.getLogger(__name__)
# Raise it whenever the same facts come to give other values.
_VERSION = 1
KEY_SIZE = hashlib.sha256().digest_size


def indexed(
    store: LMDBStore,
    what: str,
    facts: Mapping[str, object],
    dtype: type[np.generic],
    walk: Callable[[], np.ndarray],
) -> np.ndarray:
    """The array that a walk through a set gives, from an earlier walk where there was one.

    Args:
        store: the set.
        what: names the array, and the file.
        facts: all that decides the array besides the set, in JSON's types.
        dtype: of the array's values.
        walk: makes the array, which has one dimension.
    """
    key, question = key_of(store, what, facts, dtype.__name__)
    name = f"{question}.index"
    for file in places(store, name):
        with suppress(OSError):
            content = memoryview(file.read_bytes())
            if _digest(key, content[KEY_SIZE:]) == content[:KEY_SIZE]:
                return np.frombuffer(content, dtype, offset=KEY_SIZE)
    values = np.ascontiguousarray(walk(), dtype=dtype)
    problem = None
    for file in places(store, name):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, _digest(key, values.data) + values.tobytes())
        except OSError as error:
            problem = error
        else:
            return values
    logger.info(
        "the set %s is walked through at every start, since its index cannot be kept: %s",
        *(store.path, problem),
    )
    return values


def key_of(
    store: LMDBStore, what: str, facts: Mapping[str, object], dtype: str
) -> tuple[bytes, str]:
    """What tells a question about a set as it is now, and how a file with the answer is called.

    Returns:
        ``KEY_SIZE`` bytes, which are others when the set has changed; and a name without a suffix,
        which stays.
    """
    asked = json.dumps([_VERSION, what, dtype, facts], sort_keys=True)
    question = f"{what}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
    return hashlib.sha256(f"{asked} {json.dumps(store.identity())}".encode()).digest(), question


def places(store: LMDBStore, name: str) -> Iterator[Path]:
    """Where a file about a set may be: in the set's folder, or in the user's cache folder."""
    yield store.path / name
    with suppress(OSError, RuntimeError):  # there may be no home
        folder = hashlib.sha256(str(store.path.resolve()).encode()).hexdigest()[:16]
        yield user_cache_path("hanline", appauthor=False) / "sets" / folder / name


def _digest(key: bytes, values: memoryview) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(values)
    return digest.digest()
