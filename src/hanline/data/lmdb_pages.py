"""The pages of an LMDB file: whether LMDB can follow them without harm.

LMDB maps its file into memory and believes what it reads there. A wrong offset in a damaged page
ends the process with SIGBUS or SIGSEGV. So the pages of a dataset are checked once for each state
of its file, by plain reading, before LMDB opens it.

The layout is that of LMDB 0.9 on a 64-bit little-endian processor, lmdb.h's version 1: a header of
16 bytes, then the offsets of the page's nodes, then free space, then the nodes.

Over 300 lines: one binary layout, whose constants and checks belong together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hanline.errors import HanlineError

_HEADER = np.dtype(
    [("page", "<u8"), ("pad", "<u2"), ("flags", "<u2"), ("lower", "<u2"), ("upper", "<u2")]
)
_TREE = [
    ("pad", "<u4"),
    ("flags", "<u2"),
    ("depth", "<u2"),
    ("page_counts", "<u8", 3),
    ("entries", "<u8"),
    ("root", "<u8"),
]
_META = np.dtype(
    [
        ("header", _HEADER),
        ("magic", "<u4"),
        ("version", "<u4"),
        ("address", "<u8"),
        ("map_size", "<u8"),
        ("free", _TREE),
        ("main", _TREE),
        ("last_page", "<u8"),
        ("transaction", "<u8"),
    ]
)
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _META_FLAG = 1, 2, 8
_NODE_HEADER = 8
_BIG = 1  # of a leaf's node: its data is on pages of their own
_NO_ROOT = 2**64 - 1
_DEEPEST = 32
# LMDB does not write pages at the end that it took and gave up again.
_UNWRITTEN_PAGES = 16
_PAGES_AT_A_TIME = 1024


@dataclass(frozen=True)
class Meta:
    """The content of the newer of a file's two first pages.

    Attributes:
        page_size: in bytes.
        pages: how many pages the file has, by its size.
        transaction: the number of the last write.
        depth, root, entries: of the tree that holds all keys.
        plain: whether the keys are plain bytes with one value each.
    """

    page_size: int
    pages: int
    transaction: int
    depth: int
    root: int
    entries: int
    plain: bool


@dataclass(frozen=True)
class Entries:
    """Nodes of leaf pages, as arrays of one length.

    Attributes:
        key_offsets, key_sizes: where the keys are in the file.
        offsets, sizes: where the values are in the file.
    """

    key_offsets: np.ndarray
    key_sizes: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def read_meta(file: Path) -> Meta | None:
    """Read the first pages of an LMDB file.

    Returns:
        None if the file is of another version of LMDB, whose pages cannot be checked.

    Raises:
        HanlineError: it is not an LMDB file, or it is cut off.
    """
    try:
        with file.open("rb") as content:
            first = content.read(_META.itemsize)
            size = file.stat().st_size
            if len(first) < _META.itemsize:
                raise _no_lmdb(file, f"it has only {size} bytes")
            metas = [np.frombuffer(first, _META)[0]]
            page_size = int(metas[0]["free"]["pad"])
            if metas[0]["magic"] != _MAGIC:
                raise _no_lmdb(file, "it does not begin as one")
            if metas[0]["version"] != _VERSION:
                return None
            if page_size not in (2**power for power in range(9, 17)):
                raise _no_lmdb(file, f"its first page gives {page_size} bytes as the page size")
            content.seek(page_size)
            second = content.read(_META.itemsize)
    except OSError as error:
        raise HanlineError(f"cannot open the LMDB dataset {file.parent}: {error}") from error
    if len(second) < _META.itemsize:
        raise _cut_off(file, size, 2 * page_size)
    metas.append(np.frombuffer(second, _META)[0])
    for number, meta in enumerate(metas):
        if (
            meta["magic"] != _MAGIC
            or meta["version"] != _VERSION
            or not meta["header"]["flags"] & _META_FLAG
            or meta["free"]["pad"] != page_size
        ):
            raise _no_lmdb(file, f"its page {number} is damaged")
    meta = max(metas, key=lambda meta: int(meta["transaction"]))
    expected = (int(meta["last_page"]) + 1 - _UNWRITTEN_PAGES) * page_size
    if size < expected:
        raise _cut_off(file, size, expected)
    tree = meta["main"]
    return Meta(
        page_size=page_size,
        pages=min(size // page_size, int(meta["last_page"]) + 1),
        transaction=int(meta["transaction"]),
        depth=int(tree["depth"]),
        root=int(tree["root"]),
        entries=int(tree["entries"]),
        plain=not tree["flags"],
    )


def broken_pages(file: Path, meta: Meta) -> np.ndarray:
    """Walk through all pages that LMDB may follow, and return the numbers of the broken ones.

    Returns:
        int64 (N,): sorted; 0 means the file's first pages, which do not fit the others. Empty
        if every page is as LMDB expects it.
    """
    broken: set[int] = set()
    found = sum(len(entries.offsets) for entries in _walk(file, meta, broken))
    if not broken and (found != meta.entries or not meta.plain):
        broken.add(0)
    return np.array(sorted(broken), dtype=np.int64)


def sound_entries(file: Path, meta: Meta) -> dict[bytes, tuple[int, int]]:
    """Return where the values of all keys on sound pages are in the file: offset and size."""
    found: dict[bytes, tuple[int, int]] = {}
    with file.open("rb") as content:
        for entries in _walk(file, meta, set()):
            for key_offset, key_size, offset, size in zip(
                entries.key_offsets.tolist(),
                entries.key_sizes.tolist(),
                entries.offsets.tolist(),
                entries.sizes.tolist(),
                strict=True,
            ):
                content.seek(key_offset)
                found[content.read(key_size)] = offset, size
    return found


def _walk(file: Path, meta: Meta, broken: set[int]) -> Iterator[Entries]:
    """Walk down the tree, level by level; add the broken pages to ``broken``."""
    if meta.root == _NO_ROOT:
        return
    if not (1 <= meta.depth <= _DEEPEST and 2 <= meta.root < meta.pages):
        broken.add(0)
        return
    level = np.array([meta.root], dtype=np.int64)
    with file.open("rb", buffering=0) as content:
        for depth in range(1, meta.depth + 1):
            below = []
            for start in range(0, len(level), _PAGES_AT_A_TIME):
                pages = level[start : start + _PAGES_AT_A_TIME]
                data = _read_pages(content, pages, meta.page_size)
                if depth == meta.depth:
                    yield _leaves(data, pages, meta, broken)
                else:
                    below.append(_children(data, pages, meta, broken))
            # A page has one parent, unless the parent is damaged.
            level = np.unique(np.concatenate(below)) if below else level[:0]


def _read_pages(content: BinaryIO, pages: np.ndarray, page_size: int) -> np.ndarray:
    """Read pages, which are sorted: uint8 (N, page_size)."""
    runs = np.split(pages, np.flatnonzero(np.diff(pages) != 1) + 1)
    parts = []
    for run in runs:
        content.seek(int(run[0]) * page_size)
        parts.append(content.read(len(run) * page_size))
    joined = b"".join(parts).ljust(len(pages) * page_size, b"\0")
    return np.frombuffer(joined, np.uint8).reshape(len(pages), page_size)


@dataclass(frozen=True)
class _Nodes:
    """The nodes of some pages, as arrays of one length.

    Attributes:
        row: the page, by its row.
        start: where the node begins in its page.
        low, high, flags: the fields of its header.
        key_size: in bytes.
    """

    row: np.ndarray
    start: np.ndarray
    low: np.ndarray
    high: np.ndarray
    flags: np.ndarray
    key_size: np.ndarray

    def where(self, kept: np.ndarray) -> "_Nodes":
        return _Nodes(**{name: values[kept] for name, values in vars(self).items()})


def _nodes(data: np.ndarray, pages: np.ndarray, kind: int, least: int, sound: np.ndarray) -> _Nodes:
    """Return the nodes of the pages of a kind; clear ``sound`` for pages that are not as they must.

    Args:
        data: uint8 (N, page size).
        pages: their numbers.
        kind: their flag.
        least: how many nodes a page has at least.
        sound: bool (N,).
    """
    page_size = data.shape[1]
    header = data[:, : _HEADER.itemsize].copy().view(_HEADER)[:, 0]
    lower, upper = header["lower"].astype(np.int64), header["upper"].astype(np.int64)
    counts = (lower - _HEADER.itemsize) // 2
    sound &= (
        (header["page"] == pages.astype(np.uint64))
        & (header["flags"] == kind)
        & (lower % 2 == 0)
        & (counts >= least)
        & (lower <= upper)
        & (upper <= page_size)
    )
    counts = np.where(sound, counts, 0)
    row = np.repeat(np.arange(len(data)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    halves = data.reshape(-1).view("<u2")
    half = row * (page_size // 2)
    start = halves[half + _HEADER.itemsize // 2 + place].astype(np.int64)
    inside = (start >= upper[row]) & (start % 2 == 0) & (start + _NODE_HEADER <= page_size)
    sound[row[~inside]] = False
    row, start, half = row[inside], start[inside], half[inside]
    fields = [halves[half + start // 2 + index].astype(np.int64) for index in range(4)]
    return _Nodes(row, start, *fields)


def _children(data: np.ndarray, pages: np.ndarray, meta: Meta, broken: set[int]) -> np.ndarray:
    """Return the pages that branch pages point to."""
    sound = np.ones(len(pages), dtype=bool)
    nodes = _nodes(data, pages, _BRANCH, 2, sound)
    child = nodes.low | nodes.high << 16 | nodes.flags << 32
    inside = (
        (nodes.start + _NODE_HEADER + nodes.key_size <= meta.page_size)
        & (child >= 2)
        & (child < meta.pages)
    )
    sound[nodes.row[~inside]] = False
    broken.update(pages[~sound].tolist())
    return child[inside]


def _leaves(data: np.ndarray, pages: np.ndarray, meta: Meta, broken: set[int]) -> Entries:
    """Return the entries of leaf pages; those of broken pages are left out."""
    sound = np.ones(len(pages), dtype=bool)
    nodes = _nodes(data, pages, _LEAF, 1, sound)
    size = nodes.low | nodes.high << 16
    value = nodes.start + _NODE_HEADER + nodes.key_size
    is_big = nodes.flags == _BIG
    inside = (
        ((nodes.flags == 0) | is_big)
        & (nodes.key_size > 0)
        & (value + np.where(is_big, 8, size) <= meta.page_size)
    )
    offset = pages[nodes.row] * meta.page_size + value
    big = np.flatnonzero(inside & is_big)
    if len(big):
        first = (nodes.row[big] * meta.page_size + value[big])[:, None] + np.arange(8)
        page = data.reshape(-1)[first].view("<u8")[:, 0]
        # Beyond 2**31 pages, the product would overflow.
        there = (page >= 2) & (page < meta.pages)
        offset[big] = np.where(there, page, 2).astype(np.int64) * meta.page_size + _HEADER.itemsize
        inside[big] &= there & (offset[big] + size[big] <= meta.pages * meta.page_size)
    sound[nodes.row[~inside]] = False
    broken.update(pages[~sound].tolist())
    kept = inside & sound[nodes.row]
    keys = pages[nodes.row] * meta.page_size + nodes.start + _NODE_HEADER
    return Entries(keys[kept], nodes.key_size[kept], offset[kept], size[kept])


def _no_lmdb(file: Path, reason: str) -> HanlineError:
    return HanlineError(
        f"cannot open the LMDB dataset {file.parent}: {file.name} is not an LMDB file or is "
        f"damaged: {reason}. Copy it again"
    )


def _cut_off(file: Path, size: int, expected: int) -> HanlineError:
    return HanlineError(
        f"the LMDB dataset {file.parent} is cut off: {file.name} has {size} bytes, expected more "
        f"than {expected}. Copy it again"
    )
