"""The same headline with another particle or mark: how such pairs are found and confirmed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

_MARKS = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Outline(NamedTuple):
    """What of a headline is compared.

    Attributes:
        letters: its letters and digits alone, in lower case: marks and spaces do not count.
        numbers: its numbers. Headlines with other numbers are other news, however alike they are.
    """

    letters: str
    numbers: tuple[str, ...]


def outline(headline: str) -> Outline:
    """Return the part of a headline that is compared with others."""
    numbers = tuple(number.replace(",", "") for number in _NUMBER.findall(headline))
    return Outline(_MARKS.sub("", headline).casefold(), numbers)


def likeness(a: Outline, b: Outline, threshold: float) -> float:
    """Return the similarity of two headlines, from 0 to 100, or 0 below the threshold.

    rapidfuzz's ratio (the indel similarity) of the letters. A particle of one syllable changed
    among 20 letters gives 95.
    """
    if a.numbers != b.numbers:
        return 0.0
    return fuzz.ratio(a.letters, b.letters, score_cutoff=threshold)


@dataclass(frozen=True)
class Keys:
    """The keys of one headline in the index.

    Attributes:
        stored: headlines that share one of these may be near repeats.
        sought: what to look for in the index: the stored keys, and those that near repeats of a
            few letters more or less would have.
    """

    stored: tuple[int, ...]
    sought: tuple[int, ...]


def index_keys(outlines: Sequence[Outline]) -> list[Keys]:
    """Return the index keys of headlines, 64-bit signed integers.

    Two kinds, because each finds what the other may miss:

    - A hash of the first half of the letters and one of the second half, a small gap between them.
      One change of up to three letters in a row leaves one half as it was, so such a pair is
      always found.
    - MinHash over pairs of neighboring letters, 4 bands of 3 (Broder 1997; banding as in
      Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3). It finds most pairs with
      changes in both halves.

    All keys take in the numbers, so that the daily «코스피 2,600 마감» do not meet.
    """
    bands = _minhash_bands([each.letters for each in outlines])
    keys = []
    for each, band in zip(outlines, bands, strict=True):
        numbers = ",".join(each.numbers)
        length = _half(len(each.letters))
        near = [n for n in (length - _STEP, length, length + _STEP) if n >= _SHORTEST_HALF]
        halves = {n: _halves(each.letters, n, numbers) for n in near}
        salt = _hash(numbers)
        salted = tuple(_signed(key ^ salt) for key in band)
        keys.append(
            Keys(
                stored=halves.get(length, ()) + salted,
                sought=tuple(key for pair in halves.values() for key in pair) + salted,
            )
        )
    return keys


_STEP = 2
_SHORTEST_HALF = 4
_BANDS, _ROWS = 4, 3


def _half(length: int) -> int:
    # In steps, so that a letter more or less seldom moves the border; the gap is 2 to 5 letters.
    return _STEP * ((length - 2) // (2 * _STEP))


def _halves(letters: str, length: int, numbers: str) -> tuple[int, int]:
    return (
        _signed(_hash(f"first {length} {letters[:length]} {numbers}")),
        _signed(_hash(f"second {length} {letters[-length:]} {numbers}")),
    )


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def text_hash(text: str) -> int:
    """Return a 64-bit signed hash of a text, the same in every run."""
    return _signed(_hash(text))


def _signed(unsigned: int) -> int:
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


_rng = np.random.default_rng(20240205)  # any seed, but never another: stores keep these keys
_FACTORS = _rng.integers(0, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _rng.integers(0, 2**63, size=_BANDS * _ROWS, dtype=np.uint64)
_MIX = np.uint64(0x9E3779B97F4A7C15)


def _minhash_bands(texts: Sequence[str]) -> list[tuple[int, ...]]:
    lengths = np.array([len(text) for text in texts])
    enough = lengths >= 2
    found: list[tuple[int, ...]] = [()] * len(texts)
    if not enough.any():
        return found
    joined = "".join(text for text in texts if len(text) >= 2)
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    pairs = (points[:-1].astype(np.uint64) << np.uint64(21)) | points[1:]
    ends = np.cumsum(lengths[enough])
    inside = np.ones(len(pairs), dtype=bool)
    inside[ends[:-1] - 1] = False  # the last letter of one headline and the first of the next
    pairs = pairs[inside]
    starts = np.concatenate([[0], np.cumsum(lengths[enough] - 1)[:-1]])
    columns = _band_columns(pairs, starts)
    rows = iter(zip(*(column.tolist() for column in columns), strict=True))
    for i in np.flatnonzero(enough).tolist():
        found[i] = next(rows)
    return found


def _band_columns(pairs: NDArray[np.uint64], starts: NDArray[np.intp]) -> list[NDArray[np.uint64]]:
    columns = []
    for band in range(_BANDS):
        key = np.full(len(starts), band + 1, dtype=np.uint64) * _MIX
        for row in range(band * _ROWS, (band + 1) * _ROWS):
            smallest = np.minimum.reduceat(pairs * _FACTORS[row] + _OFFSETS[row], starts)
            key = (key ^ smallest) * _MIX
            key ^= key >> np.uint64(29)
        columns.append(key)
    return columns
