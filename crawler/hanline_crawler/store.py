"""The store: every headline ever seen, once, and the days it was seen on. One SQLite file."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from hanline.errors import HanlineError
from hanline_crawler.database import connect
from hanline_crawler.items import Headline, Page
from hanline_crawler.near_repeats import Keys, Outline, index_keys, likeness, outline, text_hash

SCHEMA_VERSION = 1
_SCHEMA = """
-- same_as: the headline that this one is a near repeat of
CREATE TABLE headlines (
    id INTEGER PRIMARY KEY, text TEXT NOT NULL, day TEXT NOT NULL, same_as INTEGER
);
CREATE TABLE hashes (
    hash INTEGER, headline INTEGER, PRIMARY KEY (hash, headline)
) WITHOUT ROWID;
CREATE TABLE near_keys (
    key INTEGER, headline INTEGER, PRIMARY KEY (key, headline)
) WITHOUT ROWID;
-- each headline once a day, in the wording and with the item that the day had first
CREATE TABLE appearances (
    id INTEGER PRIMARY KEY, day TEXT NOT NULL, headline INTEGER NOT NULL, item TEXT NOT NULL,
    UNIQUE (day, headline)
);
-- how many pages of a job's stream are in, so that none is taken in twice
CREATE TABLE settled (
    job TEXT, stream TEXT, pages INTEGER NOT NULL, counts TEXT NOT NULL, PRIMARY KEY (job, stream)
) WITHOUT ROWID;
CREATE TABLE api_calls (
    day TEXT, client TEXT, calls INTEGER NOT NULL, PRIMARY KEY (day, client)
) WITHOUT ROWID;
"""
# Enough to look ahead far, small beside everything else in memory.
_CHUNK = 8192
_CACHE_KIB = 64 * 1024
_BUSY_SECONDS = 120.0
# Phrases that thousands of headlines share must not make one look-up long; the youngest are the
# likeliest to be repeated.
_CANDIDATES_PER_KEY = 64


@dataclass
class Counts:
    """What became of the headlines of one stream.

    Attributes:
        pages: pages read.
        headlines: headlines that stood on them: the sum of all that follow.
        new: headlines that neither this run nor an earlier day had.
        repeats: exact repeats of headlines of this run or an earlier one.
        near: near repeats.
        dropped: headlines of no use, by reason.
    """

    pages: int = 0
    headlines: int = 0
    new: int = 0
    repeats: int = 0
    near: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, dropped: dict[str, int]) -> None:
        """Count dropped headlines, by reason."""
        for reason, count in dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def add(self, other: "Counts") -> None:
        """Add another stream's counts."""
        self.pages += other.pages
        self.headlines += other.headlines
        self.new += other.new
        self.repeats += other.repeats
        self.near += other.near
        self.drop(other.dropped)


class Store:
    """Headlines in a SQLite file, found again by hash.

    Args:
        path: the file; made where there is none.
        near_threshold: from 0 to 100: how alike two headlines must be to count as one (see
            :func:`hanline_crawler.near_repeats.likeness`). If None, only exact repeats count.

    Raises:
        HanlineError: The file is not a store, or another version of Hanline made it.
    """

    def __init__(self, path: Path, near_threshold: float | None) -> None:
        self.path = path
        self.near_threshold = near_threshold
        self._db = connect(path, timeout=_BUSY_SECONDS)
        try:
            self._open()
        except sqlite3.Error as error:
            self._db.close()
            raise HanlineError(f"cannot open the store {path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> None:
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        with self.transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise HanlineError(
                    f"the store {self.path} has version {version}, and this Hanline reads version "
                    f"{SCHEMA_VERSION}: use the Hanline that made it, or name another folder"
                )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all or nothing, while no other process writes."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite itself rolls back on a full disk
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def settled_pages(self, job: str, stream: str) -> int:
        """Return how many of the first pages of a job's stream are in the store."""
        row = self._db.execute(
            "SELECT pages FROM settled WHERE job = ? AND stream = ?", (job, stream)
        ).fetchone()
        return row[0] if row else 0

    def counts(self, job: str) -> dict[str, Counts]:
        """Return what became of a job's headlines, by stream."""
        rows = self._db.execute("SELECT stream, counts FROM settled WHERE job = ?", (job,))
        return {stream: Counts(**json.loads(counts)) for stream, counts in rows}

    def settle(self, job: str, day: str, pages: Iterable[Page]) -> None:
        """Add pages of a job, in this order, in one transaction.

        Args:
            job: the job's own name, the same when it goes on after an interruption.
            day: the date of the day's files, ``YYYY-MM-DD``.
            pages: pages that are not in yet, each stream's in order.
        """
        with self.transaction():
            counts = self.counts(job)
            rows = _rows(pages, counts)
            while chunk := list(islice(rows, _CHUNK)):
                self._settle_chunk(chunk, day, counts)
            self._db.executemany(
                "INSERT OR REPLACE INTO settled VALUES (?, ?, ?, ?)",
                [
                    (job, stream, each.pages, json.dumps(asdict(each), ensure_ascii=False))
                    for stream, each in counts.items()
                ],
            )

    def _settle_chunk(
        self, chunk: list[tuple[str, Headline]], day: str, counts: dict[str, Counts]
    ) -> None:
        texts = [(item.headline, day) for _, item in chunk]
        found = self._match(texts, self.near_threshold)
        appearances = []
        for (stream, item), match in zip(chunk, found, strict=True):
            kind = match.kind
            setattr(counts[stream], kind, getattr(counts[stream], kind) + 1)
            appearances.append((day, match.headline, _item_json(item)))
        self._db.executemany(
            "INSERT OR IGNORE INTO appearances (day, headline, item) VALUES (?, ?, ?)", appearances
        )

    def add_texts(self, texts: list[tuple[str, str]]) -> dict[str, str]:
        """Add headlines of another tool; only exact repeats are left out.

        Within a transaction.

        Args:
            texts: headlines and their days, ``YYYY-MM-DD``, or an empty one for «before any day».

        Returns:
            Those that were new, and their days.
        """
        found = self._match(texts, None)
        new = {text: day for (text, day), match in zip(texts, found, strict=True) if match.is_new}
        blank = Headline("", "", "", "", "", None, "", "import_folder")
        self._db.executemany(
            "INSERT OR IGNORE INTO appearances (day, headline, item) VALUES (?, ?, ?)",
            [
                (day, match.headline, _item_json(replace(blank, headline=text)))
                for (text, day), match in zip(texts, found, strict=True)
                if day and match.is_new
            ],
        )
        return new

    def _match(self, texts: list[tuple[str, str]], near_threshold: float | None) -> list["Match"]:
        # A chunk at a time: the indexes are read and written in their own order, which costs a
        # tenth of what jumping about in them does.
        known = self._exact({text for text, _ in texts})
        unseen = [text for text in dict.fromkeys(text for text, _ in texts) if text not in known]
        outlines = [outline(text) for text in unseen]
        keys = index_keys(outlines)
        stored = self._near(keys) if near_threshold is not None else {}
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM headlines").fetchone()
        chunk = _Chunk(stored, self._outlines(stored), last)
        prepared = dict(zip(unseen, zip(outlines, keys, strict=True), strict=True))
        matches = []
        for text, day in texts:
            if text in known:
                matches.append(Match("repeats", known[text]))
                continue
            alike = None
            if near_threshold is not None:
                alike = chunk.nearest(*prepared[text], near_threshold)
            headline = chunk.add(text, day, *prepared[text], alike)
            known[text] = headline if alike is None else alike
            matches.append(Match("new" if alike is None else "near", known[text]))
        self._write(chunk)
        return matches

    def _exact(self, texts: set[str]) -> dict[str, int]:
        known = {}
        for number, text in sorted((text_hash(text), text) for text in texts):
            rows = self._db.execute(
                "SELECT id, text, same_as FROM hashes JOIN headlines ON id = headline "
                "WHERE hash = ?",
                (number,),
            )
            for headline, stored, same_as in rows:
                if stored == text:
                    known[text] = headline if same_as is None else same_as
        return known

    def _near(self, keys: list[Keys]) -> dict[int, list[int]]:
        found = {}
        for key in sorted({key for each in keys for key in each.sought}):
            rows = self._db.execute(
                "SELECT headline FROM near_keys WHERE key = ? ORDER BY headline DESC "
                f"LIMIT {_CANDIDATES_PER_KEY}",
                (key,),
            ).fetchall()
            if rows:
                found[key] = [headline for (headline,) in reversed(rows)]
        return found

    def _outlines(self, stored: dict[int, list[int]]) -> dict[int, Outline]:
        found = {}
        for headline in sorted({each for headlines in stored.values() for each in headlines}):
            (text,) = self._db.execute(
                "SELECT text FROM headlines WHERE id = ?", (headline,)
            ).fetchone()
            found[headline] = outline(text)
        return found

    def _write(self, chunk: "_Chunk") -> None:
        self._db.executemany("INSERT INTO headlines VALUES (?, ?, ?, ?)", chunk.added)
        self._db.executemany(
            "INSERT INTO hashes VALUES (?, ?)",
            sorted((text_hash(text), headline) for headline, text, _, _ in chunk.added),
        )
        # Also where near repeats are off: they may be switched on one day.
        self._db.executemany("INSERT OR IGNORE INTO near_keys VALUES (?, ?)", sorted(chunk.keys))

    def day_items(self, day: str, only_new: bool = False) -> Iterator[dict[str, Any]]:
        """Yield a day's items in the order of arrival.

        Args:
            day: ``YYYY-MM-DD``.
            only_new: leave out the headlines that an earlier day had.
        """
        rows = self._db.execute(
            "SELECT item FROM appearances AS a JOIN headlines AS h ON h.id = a.headline "
            "WHERE a.day = ? AND (h.day = a.day OR NOT ?) ORDER BY a.id",
            (day, only_new),
        )
        for (item,) in rows:
            yield json.loads(item)

    def all_headlines(self) -> Iterator[str]:
        """Yield every headline once, in the order of arrival."""
        rows = self._db.execute("SELECT text FROM headlines WHERE same_as IS NULL ORDER BY id")
        for (text,) in rows:
            yield text

    def count_api_call(self, day: str, client: str, quota: int) -> bool:
        """Count one call of a day's quota; False where none is left."""
        with self.transaction():
            row = self._db.execute(
                "SELECT calls FROM api_calls WHERE day = ? AND client = ?", (day, client)
            ).fetchone()
            calls = row[0] if row else 0
            if calls >= quota:
                return False
            self._db.execute(
                "INSERT OR REPLACE INTO api_calls VALUES (?, ?, ?)", (day, client, calls + 1)
            )
        return True


class Match(NamedTuple):
    """What a text turned out to be.

    Attributes:
        kind: ``new``, ``repeats`` or ``near``: the field of :class:`Counts` that counts it.
        headline: the id of the headline that it is, or repeats.
    """

    kind: str
    headline: int

    @property
    def is_new(self) -> bool:
        """Return whether the store did not have it."""
        return self.kind == "new"


class _Chunk:
    """The headlines that are being taken in: those that are not in the file yet."""

    def __init__(
        self, stored: dict[int, list[int]], outlines: dict[int, Outline], last: int
    ) -> None:
        self._by_key = stored
        self._outlines = outlines
        self._last = last
        self.added: list[tuple[int, str, str, int | None]] = []
        self.keys: list[tuple[int, int]] = []

    def nearest(self, sought: Outline, keys: Keys, threshold: float) -> int | None:
        candidates = {each for key in keys.sought for each in self._by_key.get(key, ())}
        best, best_likeness = None, 0.0
        for candidate in sorted(candidates):  # of equally alike ones the oldest
            score = likeness(sought, self._outlines[candidate], threshold)
            if score > best_likeness:
                best, best_likeness = candidate, score
        return best

    def add(
        self, text: str, day: str, its_outline: Outline, keys: Keys, same_as: int | None
    ) -> int:
        self._last += 1
        self.added.append((self._last, text, day, same_as))
        if same_as is None:
            self._outlines[self._last] = its_outline
            for key in keys.stored:
                self.keys.append((key, self._last))
                alike = self._by_key.setdefault(key, [])
                alike.append(self._last)
                del alike[:-_CANDIDATES_PER_KEY]
        return self._last


def _rows(pages: Iterable[Page], counts: dict[str, Counts]) -> Iterator[tuple[str, Headline]]:
    for page in pages:
        stream = counts.setdefault(page.stream, Counts())
        stream.pages += 1
        stream.headlines += page.read
        stream.drop(page.dropped)
        for item in page.headlines:
            yield page.stream, item


def _item_json(item: Headline) -> str:
    return json.dumps(asdict(item), ensure_ascii=False)
