"""The items of a review and the decisions about them, in one SQLite file.

Over 300 lines: all queries of one database, so that its versions agree.
"""

import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from hanline.errors import HanlineError
from hanline.inference.reader import Reading
from hanline.text.normalization import normalize

FILE = "review.sqlite"
Decision = Literal["confirmed", "not_legible", "not_a_line"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
# It is raised when an older version could not read the file.
_FORMAT = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL REFERENCES pictures,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    label TEXT,
    reason TEXT NOT NULL,
    rank INTEGER,
    is_read INTEGER NOT NULL DEFAULT 0,
    text TEXT NOT NULL DEFAULT '',
    confidence REAL NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '',
    letters TEXT NOT NULL DEFAULT '[]',
    decision TEXT,
    decided_text TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL,
    UNIQUE (sha256, name)
);
CREATE INDEX items_by_revision ON items (revision);
CREATE INDEX items_unread ON items (is_read) WHERE NOT is_read;
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    item INTEGER NOT NULL REFERENCES items,
    author TEXT NOT NULL,
    before_decision TEXT,
    before_text TEXT NOT NULL,
    version INTEGER NOT NULL,
    decided_at REAL NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
"""
# The columns that an item shows unchanged.
_SHOWN = (
    "id name source label reason rank text confidence problem decision decided_text version "
    "revision"
)
_NEXT_REVISION = "(SELECT COALESCE(MAX(revision), 0) + 1 FROM items)"


@dataclass(frozen=True)
class NewItem:
    """A picture to review.

    Attributes:
        content: the bytes of an image file.
        name: by which a person knows it.
        source: what it comes from, as a folder or a video. A source is never split.
        label: its text, if one is known already.
        reason: why it is doubtful; of an audit.
        rank: its place in an audit, from 1.
    """

    content: bytes
    name: str
    source: str
    label: str | None = None
    reason: str = ""
    rank: int | None = None


class ChangedMeanwhileError(Exception):
    """Somebody else has decided an item since it was shown.

    Attributes:
        current: the item now.
    """

    def __init__(self, current: dict[str, Any]) -> None:
        super().__init__("decided elsewhere meanwhile")
        self.current = current


class ReviewStore:
    """The items of one review. Each change is on the disk when its method returns.

    Threads may share it.

    Args:
        folder: where its file is, or will be.

    Raises:
        HanlineError: the file is of a newer version or damaged, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, check_same_thread=False, isolation_level=None
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A decision outlives a loss of power.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise HanlineError(
                f"output={folder}: expected a folder for {FILE}, but {error}. Choose another "
                "folder, or restore the file"
            ) from error

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _FORMAT:
            raise HanlineError(
                f"output={self.path.parent}: expected a review of this version of Hanline, but "
                f"{FILE} was made by a newer one. Update Hanline"
            )
        if not version:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;"
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def token(self) -> str:
        """Return the secret of this review's address; the same after a restart."""
        with self._transaction() as run:
            run("INSERT OR IGNORE INTO facts VALUES ('token', ?)", (secrets.token_urlsafe(24),))
            (token,) = run("SELECT value FROM facts WHERE name = 'token'").fetchone()
            return str(token)

    def add(self, items: Iterable[NewItem]) -> int:
        """Add items; one that is there already keeps what was decided. Return how many are new."""
        new = 0
        with self._transaction() as run:
            for item in items:
                sha256 = hashlib.sha256(item.content).hexdigest()
                run("INSERT OR IGNORE INTO pictures VALUES (?, ?)", (sha256, item.content))
                added = run(
                    "INSERT OR IGNORE INTO items (sha256, name, source, label, reason, rank, "
                    f"revision) VALUES (?, ?, ?, ?, ?, ?, {_NEXT_REVISION})",
                    (sha256, item.name, item.source, item.label, item.reason, item.rank),
                )
                new += added.rowcount
        return new

    def label(self, labels: Mapping[str, tuple[Decision, str]]) -> int:
        """Decide the undecided items that labels name; return how many.

        Args:
            labels: a decision and a text by an item's name, or by the last part of it.
        """
        count = 0
        with self._transaction() as run:
            undecided = run("SELECT id, name FROM items WHERE decision IS NULL").fetchall()
            last_parts: dict[str, int] = {}
            for row in undecided:
                last = _last_part(row["name"])
                last_parts[last] = last_parts.get(last, 0) + 1
            by_last = {_last_part(name): label for name, label in labels.items()}
            for row in undecided:
                last = _last_part(row["name"])
                label = labels.get(row["name"])
                # A last part that several have says nothing.
                if label is None and last_parts[last] == 1:
                    label = by_last.get(last)
                if label:
                    self._set(run, row["id"], *label, author="import")
                    count += 1
        return count

    def unread(self, count: int) -> list[tuple[int, bytes]]:
        """Return the numbers and pictures of some items that were not read yet."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, content FROM items JOIN pictures USING (sha256) WHERE NOT is_read "
                "ORDER BY rank IS NULL, rank, id LIMIT ?",
                (count,),
            )
            return [(row["id"], row["content"]) for row in rows]

    def set_readings(self, readings: Iterable[tuple[int, Reading]]) -> None:
        """Keep the readings of items."""
        with self._transaction() as run:
            for item, reading in readings:
                run(
                    "UPDATE items SET is_read = 1, text = ?, confidence = ?, problem = ?, "
                    f"letters = ?, revision = {_NEXT_REVISION} WHERE id = ?",
                    (
                        reading.text,
                        reading.confidence,
                        reading.problem,
                        json.dumps(letters_of(reading), ensure_ascii=False),
                        item,
                    ),
                )

    def changed_since(self, revision: int, limit: int) -> list[dict[str, Any]]:
        """Return items that changed after a revision, in the order of their changes."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM items WHERE revision > ? ORDER BY revision LIMIT ?",
                (revision, limit),
            )
            return [_as_record(row) for row in rows]

    def item(self, number: int) -> dict[str, Any] | None:
        """Return an item; None if there is none of this number."""
        with self._lock:
            return self._item(self._connection.execute, number)

    def picture(self, number: int) -> bytes | None:
        """Return the image file of an item; None if there is none of this number."""
        with self._lock:
            row = self._connection.execute(
                "SELECT content FROM pictures JOIN items USING (sha256) WHERE id = ?", (number,)
            ).fetchone()
        return bytes(row["content"]) if row else None

    def decide(
        self, number: int, version: int, decision: Decision, text: str, author: str
    ) -> dict[str, Any]:
        """Decide an item and return it.

        Args:
            number: the item's.
            version: the one that was shown to whoever decides.
            decision: what it is.
            text: the text of a confirmed one.
            author: whose undo takes it back.

        Raises:
            ChangedMeanwhileError: the item has another version now.
            KeyError: there is none of this number.
        """
        with self._transaction() as run:
            current = self._item(run, number)
            if current is None:
                raise KeyError(number)
            if current["version"] != version:
                raise ChangedMeanwhileError(current)
            self._set(run, number, decision, text, author)
            return cast(dict[str, Any], self._item(run, number))

    def undo(self, author: str) -> dict[str, Any] | None:
        """Take back an author's last decision; return its item, None if there is none to undo.

        Raises:
            ChangedMeanwhileError: somebody else has decided the item since.
        """
        with self._transaction() as run:
            last = run(
                "SELECT * FROM decisions WHERE author = ? AND NOT undone ORDER BY id DESC LIMIT 1",
                (author,),
            ).fetchone()
            if last is None:
                return None
            current = cast(dict[str, Any], self._item(run, last["item"]))
            foreign = run(
                "SELECT 1 FROM decisions WHERE item = ? AND id > ? AND NOT undone",
                (last["item"], last["id"]),
            ).fetchone()
            # If it cannot be undone, the next undo goes past it.
            run("UPDATE decisions SET undone = 1 WHERE id = ?", (last["id"],))
            if not foreign:
                run(
                    "UPDATE items SET decision = ?, decided_text = ?, version = version + 1, "
                    f"revision = {_NEXT_REVISION} WHERE id = ?",
                    (last["before_decision"], last["before_text"], last["item"]),
                )
                return self._item(run, last["item"])
        raise ChangedMeanwhileError(current)

    def counts(self) -> dict[str, int]:
        """Return the number of items, of those read, and of each decision."""
        with self._lock:
            row = self._connection.execute(
                "SELECT COUNT(*) AS items, COALESCE(SUM(is_read), 0) AS read, "
                + ", ".join(
                    f"COALESCE(SUM(decision = '{name}'), 0) AS {name}" for name in DECISIONS
                )
                + " FROM items"
            ).fetchone()
        return dict(row)

    def decided(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield all decided items, in the order of their numbers, with their pictures."""
        last = 0
        while True:
            with self._lock:
                rows: Sequence[sqlite3.Row] = self._connection.execute(
                    "SELECT items.*, content FROM items JOIN pictures USING (sha256) "
                    "WHERE decision IS NOT NULL AND id > ? ORDER BY id LIMIT 256",
                    (last,),
                ).fetchall()
            if not rows:
                return
            for row in rows:
                yield _as_record(row) | {"sha256": row["sha256"]}, bytes(row["content"])
            last = rows[-1]["id"]

    def _item(self, run: Any, number: int) -> dict[str, Any] | None:
        row = run("SELECT * FROM items WHERE id = ?", (number,)).fetchone()
        return _as_record(row) if row else None

    def _set(self, run: Any, number: int, decision: Decision, text: str, author: str) -> None:
        run(
            "INSERT INTO decisions (item, author, before_decision, before_text, version, "
            "decided_at) SELECT id, ?, decision, decided_text, version + 1, ? FROM items "
            "WHERE id = ?",
            (author, time.time(), number),
        )
        run(
            "UPDATE items SET decision = ?, decided_text = ?, version = version + 1, "
            f"revision = {_NEXT_REVISION} WHERE id = ?",
            (decision, normalize(text) if decision == "confirmed" else "", number),
        )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def letters_of(reading: Reading) -> list[dict[str, Any]]:
    """Return the characters of a reading as plain values; none if its parts are unknown."""
    if reading.parts is None:
        return []
    characters: list[dict[str, Any]] = reading.parts.as_record()["characters"]
    return characters


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _as_record(row: sqlite3.Row) -> dict[str, Any]:
    return {name: row[name] for name in _SHOWN.split()} | {
        "is_read": bool(row["is_read"]),
        "letters": json.loads(row["letters"]),
    }
