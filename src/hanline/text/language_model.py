"""A language model of characters: how probable a character is after the ones before it.

The model is an interpolated Kneser-Ney n-gram (Chen and Goodman, "An Empirical Study of Smoothing
Techniques for Language Modeling", 1999), with one discount per order. An n-gram is one number, 12
bits per character, so the tables are sorted arrays that are searched where they lie in the file.

The file is a safetensors file, which can hold nothing but arrays and texts. Its metadata have the
characters, the order, and a SHA-256 of the arrays.

Over 300 lines: counting, smoothing and searching the same sorted arrays.
"""

import hashlib
import json
import mmap
import struct
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hanline.errors import HanlineError
from hanline.system import files

LARGEST_ORDER = 5
_BITS = 12
# Symbols before the characters: none, the begin and the end of a line, and any other character.
BEGIN, END, OTHER, FIRST = 1, 2, 3, 4
_MOST_CHARACTERS = (1 << _BITS) - FIRST
_FORMAT, _VERSION = "hanline language model", 1
# Of the file's header, in bytes. A character takes at most 4.
_LARGEST_HEADER = 1 << 20
_ADVICE = "Count it again with hanline language-model, or copy it again"


@dataclass(frozen=True)
class LanguageModel:
    """The tables of an n-gram model.

    Attributes:
        characters: the characters that have symbols of their own, from ``FIRST`` on.
        keys: for each order from 1, the n-grams, uint64, ascending.
        log_probabilities: for each order, those of the last symbol after the others, float32.
        log_backoffs: for each order, added where the n-gram is a context after which a
            symbol was never seen, float32.
    """

    characters: str
    keys: tuple[np.ndarray, ...]
    log_probabilities: tuple[np.ndarray, ...]
    log_backoffs: tuple[np.ndarray, ...]

    @property
    def order(self) -> int:
        """The most characters of an n-gram."""
        return len(self.keys)

    def symbols(self, characters: Iterable[str]) -> list[int]:
        """Return the symbol of each character."""
        index = {character: FIRST + i for i, character in enumerate(self.characters)}
        return [index.get(character, OTHER) for character in characters]

    def after(self, context: int, symbol: int) -> int:
        """Return the context after one more symbol. The first context of a line is ``BEGIN``."""
        return (context << _BITS | symbol) & ((1 << _BITS * (self.order - 1)) - 1)

    def score(self, contexts: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Return the natural logarithms of the probabilities of symbols after contexts.

        Args:
            contexts: uint64 (N,), from :meth:`after`.
            symbols: uint64 (N,).

        Returns:
            float64 (N,).
        """
        scores = np.zeros(len(contexts))
        waiting = np.arange(len(contexts))
        for order in range(self.order, 0, -1):
            context = contexts[waiting] & np.uint64((1 << _BITS * (order - 1)) - 1)
            place, known = _find(
                self.keys[order - 1], context << np.uint64(_BITS) | symbols[waiting]
            )
            scores[waiting[known]] += self.log_probabilities[order - 1][place[known]]
            waiting, context = waiting[~known], context[~known]
            if order > 1:
                place, known = _find(self.keys[order - 2], context)
                scores[waiting[known]] += self.log_backoffs[order - 2][place[known]]
        return scores

    def line(self, text: str) -> float:
        """Return the natural logarithm of the probability of a whole line."""
        symbols = [*self.symbols(text), END]
        contexts = [BEGIN]
        for symbol in symbols[:-1]:
            contexts.append(self.after(contexts[-1], symbol))
        return float(self.score(np.array(contexts, np.uint64), np.array(symbols, np.uint64)).sum())


def count(lines: Iterable[str], order: int) -> LanguageModel:
    """Count a model.

    Args:
        lines: of text, each a whole one.
        order: the most characters of an n-gram, 2 to 5.

    Raises:
        HanlineError: the order is another, or there is no text.
    """
    if not 2 <= order <= LARGEST_ORDER:
        raise HanlineError(
            f"order={order}: expected a whole number from 2 to {LARGEST_ORDER}. Set order=5"
        )
    texts = [line for line in lines if line]
    if not texts:
        raise HanlineError("corpus.files: expected text. Name a file with a headline a line")
    frequent = Counter(character for text in texts for character in text)
    characters = "".join(sorted(c for c, _ in frequent.most_common(_MOST_CHARACTERS)))
    index = {character: FIRST + i for i, character in enumerate(characters)}
    stream = np.array(
        [symbol for text in texts for symbol in (BEGIN, *(index.get(c, OTHER) for c in text), END)],
        np.uint64,
    )
    counted = [_windows(stream, length) for length in range(1, order + 1)]
    for shorter in range(order - 1, 0, -1):
        counted[shorter - 1] = _continuations(counted[shorter], counted[shorter - 1], shorter)
    return _smoothed(characters, counted)


def save_language_model(model: LanguageModel, path: Path) -> None:
    """Write a model; the file appears whole or not at all.

    Raises:
        HanlineError: it cannot be written.
    """
    arrays = {
        f"{name}.{order}": np.ascontiguousarray(array)
        for name, tables in (
            ("keys", model.keys),
            ("log_probabilities", model.log_probabilities),
            ("log_backoffs", model.log_backoffs),
        )
        for order, array in enumerate(tables, 1)
    }
    metadata = {
        "format": _FORMAT,
        "format_version": str(_VERSION),
        "order": str(model.order),
        "characters": model.characters,
    }
    plain = save(arrays, metadata)
    metadata["sha256"] = _checksum(memoryview(plain), metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, save(arrays, metadata))
    except OSError as error:
        raise HanlineError(
            f"output={path}: expected a place to write to, but {error.strerror}. Make room, or "
            "name another file"
        ) from error


def load_language_model(path: Path) -> LanguageModel:
    """Open a model's file; its tables stay in the file.

    Raises:
        HanlineError: it is missing, damaged, or no language model.
    """
    if not path.is_file():
        raise HanlineError(
            f"{path}: expected a language model's file, but there is none. Count one with "
            "hanline language-model corpus.files=[…] output=…"
        )
    try:
        with safe_open(path, "numpy") as opened:
            metadata = opened.metadata() or {}
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError, SafetensorError) as error:
        raise HanlineError(f"{path}: expected a language model, but {error}. {_ADVICE}") from error
    if metadata.get("format") != _FORMAT:
        raise HanlineError(f"{path}: expected a language model. {_ADVICE}")
    if metadata.get("format_version") != str(_VERSION):
        raise HanlineError(
            f"{path}: expected a language model of format {_VERSION}, not of "
            f"{metadata.get('format_version')!r:.20}. Update Hanline"
        )
    if metadata.get("sha256") != _checksum(mapped, metadata):
        raise HanlineError(f"{path}: expected the checksum of its own content. {_ADVICE}")
    with suppress(ValueError, KeyError, TypeError):
        model = _model(mapped, metadata)
        if _is_sound(model):
            return model
    raise HanlineError(f"{path}: expected the tables of a language model. {_ADVICE}")


def _windows(stream: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams of a length inside lines, ascending, and their counts."""
    size = max(0, len(stream) - length + 1)
    keys = np.zeros(size, np.uint64)
    inside = np.ones(size, bool)
    for place in range(length):
        part = stream[place : place + size]
        keys = keys << np.uint64(_BITS) | part
        # A line begins at the begin of an n-gram only, and ends at its end only.
        inside &= (part != BEGIN) | (place == 0 and length > 1)
        inside &= (part != END) | (place == length - 1)
    return np.unique(keys[inside], return_counts=True)


def _continuations(
    longer: tuple[np.ndarray, np.ndarray], counted: tuple[np.ndarray, np.ndarray], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams of a length, and after how many symbols each was seen.

    Nothing is before the begin of a line, so an n-gram that begins there keeps its count.
    """
    keys, counts = counted
    begins = keys >> np.uint64(_BITS * (length - 1)) == BEGIN
    followed, numbers = np.unique(
        longer[0] & np.uint64((1 << _BITS * length) - 1), return_counts=True
    )
    all_keys = np.concatenate([keys[begins], followed])
    all_counts = np.concatenate([counts[begins], numbers])
    order = np.argsort(all_keys, kind="stable")
    return all_keys[order], all_counts[order]


def _smoothed(characters: str, counted: list[tuple[np.ndarray, np.ndarray]]) -> LanguageModel:
    keys: list[np.ndarray] = []
    probabilities: list[np.ndarray] = []
    backoffs: list[np.ndarray] = []
    symbols = np.arange(END, FIRST + len(characters), dtype=np.uint64)
    for length, (seen, counts) in enumerate(counted, 1):
        discount = _discount(counts)
        if length == 1:
            # Every symbol has a probability, and BEGIN a place for its backoff.
            place, known = _find(symbols, seen)
            given = np.zeros(len(symbols))
            given[place[known]] = np.maximum(counts[known] - discount, 0)
            rest = discount * len(seen) / counts.sum()
            keys.append(np.concatenate([np.array([BEGIN], np.uint64), symbols]))
            shares = given / counts.sum() + rest / len(symbols)
            probabilities.append(np.concatenate([[1e-30], shares]))
        else:
            contexts, of = np.unique(seen >> np.uint64(_BITS), return_inverse=True)
            totals = np.bincount(of, counts)
            rest = discount * np.bincount(of) / totals
            place, known = _find(keys[-1], contexts)
            assert known.all(), "a context is an n-gram itself"
            backoff = np.ones(len(keys[-1]))
            backoff[place] = rest
            backoffs.append(np.log(backoff))
            shorter, _ = _find(keys[-1], seen & np.uint64((1 << _BITS * (length - 1)) - 1))
            keys.append(seen)
            given = np.maximum(counts - discount, 0) / totals[of]
            probabilities.append(given + rest[of] * probabilities[-1][shorter])
    backoffs.append(np.zeros(len(keys[-1])))
    return LanguageModel(
        characters,
        tuple(keys),
        tuple(np.log(values).astype(np.float32) for values in probabilities),
        tuple(values.astype(np.float32) for values in backoffs),
    )


def _discount(counts: np.ndarray) -> float:
    """Return what every count loses to n-grams that were not seen."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # A corpus of a few lines may have no n-gram once, or none twice.
    return min(max(once / (once + 2 * twice), 0.1), 0.9) if once else 0.5


def _find(keys: np.ndarray, sought: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where keys are in a table, and which of them are there at all."""
    if not len(keys):
        return np.zeros(len(sought), np.int64), np.zeros(len(sought), bool)
    place = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
    return place, keys[place] == sought


def _table(content: memoryview) -> tuple[dict[str, Any], int]:
    """Return a file's table of arrays, and where the arrays begin."""
    (size,) = struct.unpack("<Q", content[:8])
    if size > _LARGEST_HEADER:
        raise ValueError("its header is too large")
    table = json.loads(bytes(content[8 : 8 + size]))
    table.pop("__metadata__", None)
    return table, 8 + size


def _checksum(content: memoryview, metadata: dict[str, str]) -> str:
    try:
        table, start = _table(content)
    except (ValueError, struct.error, AttributeError):
        return ""
    said = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps([said, table], sort_keys=True).encode())
    digest.update(content[start:])
    return digest.hexdigest()


def _model(content: memoryview, metadata: dict[str, str]) -> LanguageModel:
    table, start = _table(content)
    order = int(metadata["order"])
    if not 2 <= order <= LARGEST_ORDER:
        raise ValueError("order")

    def arrays(name: str, kind: str, dtype: str) -> tuple[np.ndarray, ...]:
        found = []
        for length in range(1, order + 1):
            entry = table[f"{name}.{length}"]
            begin, end = entry["data_offsets"]
            if entry["dtype"] != kind:
                raise ValueError(kind)
            found.append(np.frombuffer(content[start + begin : start + end], np.dtype(dtype)))
        return tuple(found)

    return LanguageModel(
        metadata["characters"],
        arrays("keys", "U64", "<u8"),
        arrays("log_probabilities", "F32", "<f4"),
        arrays("log_backoffs", "F32", "<f4"),
    )


def _is_sound(model: LanguageModel) -> bool:
    """Return whether tables can be searched, and every symbol is in the first."""
    every = 1 + len(model.characters) + FIRST - END
    if len(set(model.characters)) != len(model.characters) or len(model.keys[0]) != every:
        return False
    if not (model.keys[0] == np.arange(BEGIN, BEGIN + every, dtype=np.uint64)).all():
        return False
    return all(
        len(keys) == len(probabilities) == len(backoffs)
        and bool((keys[1:] > keys[:-1]).all())
        and bool(np.isfinite(probabilities).all() and (probabilities <= 0).all())
        and bool(np.isfinite(backoffs).all() and (backoffs <= 1e-6).all())
        for keys, probabilities, backoffs in zip(
            model.keys, model.log_probabilities, model.log_backoffs, strict=True
        )
    )
