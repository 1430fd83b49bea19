"""A job folder: the pages of a crawl that has not ended, so that an interrupted one can go on."""

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from hanline.errors import HanlineError
from hanline_crawler.database import connect
from hanline_crawler.items import Headline, Page

_SCHEMA = """
CREATE TABLE job (
    id TEXT NOT NULL, spider TEXT NOT NULL, streams TEXT NOT NULL, day TEXT NOT NULL,
    started TEXT NOT NULL
);
CREATE TABLE pages (
    stream TEXT, number INTEGER, fresh INTEGER NOT NULL, next TEXT, page TEXT NOT NULL,
    PRIMARY KEY (stream, number)
) WITHOUT ROWID;
CREATE TABLE addresses (stream TEXT, address TEXT, PRIMARY KEY (stream, address)) WITHOUT ROWID;
"""


class Position(NamedTuple):
    """How far a stream has been read.

    Attributes:
        number: the last page that was kept; 0 before the first.
        next: what its page said of the one after it; None where it was the last.
    """

    number: int
    next: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Return whether the last page has been read."""
        return self.number > 0 and self.next is None


class Job:
    """The pages read so far, in a SQLite file in the job folder.

    Scrapy's own job folder keeps requests in files that are whole only after a clean stop. Here a
    page, its headlines and what leads to the next one are one transaction: whenever the process
    dies, the folder says what has been read and where to go on.

    Args:
        folder: the job folder; made where there is none.
        spider: the spider's name.
        streams: the names of the rows of pages to read, in the order of their headlines.
        day: the date of the day's files, ``YYYY-MM-DD``; a job that goes on keeps its own.
        started: when the crawl begins, ISO 8601; a job that goes on keeps its own.

    Raises:
        HanlineError: another process works in this folder, or its unfinished job is another one.
    """

    def __init__(
        self, folder: Path, spider: str, streams: Sequence[str], day: str, started: str
    ) -> None:
        self.folder = folder
        self.path = folder / "pages.sqlite"
        self.streams = list(streams)
        self._db = connect(self.path, timeout=1.0)
        try:
            # The lock stays until the process ends, however it ends.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("BEGIN EXCLUSIVE")
            self._open(spider, day, started)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._db.close()
            raise HanlineError(
                f"cannot work in the job folder {folder}: {error}. If another crawl is at work "
                "in it, wait for it or name another folder with -s JOBDIR=FOLDER"
            ) from error
        except HanlineError:
            self._db.close()
            raise

    def _open(self, spider: str, day: str, started: str) -> None:
        if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
        row = self._db.execute("SELECT id, spider, streams, day, started FROM job").fetchone()
        if row is None:
            row = (uuid.uuid4().hex, spider, json.dumps(self.streams), day, started)
            self._db.execute("INSERT INTO job VALUES (?, ?, ?, ?, ?)", row)
        self.id, its_spider, its_streams, self.day, self.started = row
        if (its_spider, json.loads(its_streams)) != (spider, self.streams):
            raise HanlineError(
                f"the job folder {self.folder} holds an unfinished crawl of {its_spider}: "
                f"{', '.join(json.loads(its_streams))}. Go on with the same arguments, or name "
                "another folder with -s JOBDIR=FOLDER"
            )

    def position(self, stream: str) -> Position:
        """Return how far a stream has been read."""
        row = self._db.execute(
            "SELECT number, next FROM pages WHERE stream = ? ORDER BY number DESC LIMIT 1",
            (stream,),
        ).fetchone()
        return Position(row[0], json.loads(row[1])) if row else Position(0, None)

    def keep(self, page: Page) -> None:
        """Keep a page, all of it or nothing.

        Raises:
            ValueError: it is not the page after the last one kept of its stream.
        """
        self._db.execute("BEGIN")
        try:
            last = self.position(page.stream).number
            if page.number != last + 1:
                raise ValueError(f"page {page.number} of {page.stream} came after page {last}")
            fresh = self.fresh(page.stream, page.addresses)
            self._db.execute(
                "INSERT INTO pages VALUES (?, ?, ?, ?, ?)",
                (
                    page.stream,
                    page.number,
                    len(fresh),
                    json.dumps(page.next, ensure_ascii=False, sort_keys=True),
                    json.dumps(asdict(page), ensure_ascii=False),
                ),
            )
            self._db.executemany(
                "INSERT INTO addresses VALUES (?, ?)", [(page.stream, each) for each in fresh]
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def fresh(self, stream: str, addresses: Sequence[str]) -> set[str]:
        """Return the addresses that no earlier page of the stream had."""
        return {
            address
            for address in addresses
            if not self._db.execute(
                "SELECT 1 FROM addresses WHERE stream = ? AND address = ?", (stream, address)
            ).fetchone()
        }

    def stale_pages(self, stream: str) -> int:
        """Count the last pages of a stream, in a row, without an article that was new to it."""
        row = self._db.execute(
            "SELECT max(number) FROM pages WHERE stream = ? AND fresh > 0", (stream,)
        ).fetchone()
        return self.position(stream).number - (row[0] or 0)

    def led_to(self, stream: str, following: dict[str, Any]) -> bool:
        """Return whether an earlier page of the stream led to the same page."""
        text = json.dumps(following, ensure_ascii=False, sort_keys=True)
        row = self._db.execute(
            "SELECT 1 FROM pages WHERE stream = ? AND next = ?", (stream, text)
        ).fetchone()
        return row is not None

    def pages(self, done: Callable[[str], int]) -> Iterator[Page]:
        """Yield the pages in the order of the streams, not of the network's answers.

        Args:
            done: Returns how many pages of a stream to leave out, from its first.
        """
        for stream in self.streams:
            rows = self._db.execute(
                "SELECT page FROM pages WHERE stream = ? AND number > ? ORDER BY number",
                (stream, done(stream)),
            )
            for (text,) in rows:
                fields = json.loads(text)
                headlines = [Headline(**each) for each in fields.pop("headlines")]
                yield Page(headlines=headlines, **fields)

    def page_count(self) -> int:
        """Return the number of pages that are kept."""
        count: int = self._db.execute("SELECT count(*) FROM pages").fetchone()[0]
        return count

    def ended(self) -> bool:
        """Return whether every stream has been read to its last page."""
        return all(self.position(stream).ended for stream in self.streams)

    def close(self) -> None:
        """Leave the folder to the next run."""
        self._db.close()

    def discard(self) -> None:
        """Forget the job: all that it read is in the store."""
        self._db.close()
        self.path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def job_name(spider: str, day: str, streams: Sequence[str]) -> str:
    """Return the default name of a job's folder: the same for the same crawl of a day."""
    digest = hashlib.sha256("\n".join(streams).encode()).hexdigest()[:8]
    return f"{spider}-{day}-{digest}"
