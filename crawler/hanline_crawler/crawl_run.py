"""One run of a spider: its job, its store, and what could not be done."""

import logging
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from scrapy.settings import BaseSettings

from hanline.text.charset import named_charset
from hanline_crawler.cleaning import HeadlineCleaning
from hanline_crawler.clock import Clock, utc
from hanline_crawler.exit_status import ExitStatus
from hanline_crawler.job import Job, job_name
from hanline_crawler.output import remove_partial_files, write_all, write_bytes, write_day
from hanline_crawler.report import Failure, Report
from hanline_crawler.store import Store

logger = logging.getLogger(__name__)


class CrawlRun:
    """What the parts of one run share.

    Nothing is opened until :meth:`open`, so that a wrong setting is reported like every other
    failure and not as a traceback.

    Attributes:
        folder: where the store and all files are.
        failures: what could not be done so far.
        ending: whether nothing more is to be asked for, since it would be refused.
        job: the job folder; there after :meth:`open`.
        store: the store; there after :meth:`open`.
        clock: what time it is; there after :meth:`open`.
        cleaning: the rules for headlines; there after :meth:`open`.
    """

    job: Job
    store: Store
    clock: Clock
    cleaning: HeadlineCleaning

    def __init__(self, settings: BaseSettings, spider: str) -> None:
        self._settings = settings
        self._spider = spider
        self.folder = output_folder(settings)
        self.failures: list[Failure] = []
        self.ending = False
        self.opened = False

    def open(self, streams: Sequence[str]) -> None:
        """Open the job folder and the store.

        Args:
            streams: what the spider reads, in the order of its headlines.

        Raises:
            HanlineError: a setting is wrong, or a folder cannot be used.
        """
        self.clock = clock_of(self._settings)
        self.cleaning = cleaning_of(self._settings)
        store = store_of(self._settings)
        day = self.clock.today()
        folder = self._settings.get("HEADLINES_JOB") or (
            self.folder / "jobs" / job_name(self._spider, day, streams)
        )
        self.job = Job(Path(folder), self._spider, streams, day, utc(self.clock.now()))
        self.store = store
        self.opened = True
        pages = self.job.page_count()
        if pages:
            logger.info("going on after %d pages, in %s", pages, self.job.folder)
        else:
            logger.info("starting, with the job folder %s", self.job.folder)

    def fail(
        self, status: ExitStatus, what: str, stream: str | None = None, page: int | None = None
    ) -> None:
        """Record a failure for the report and the exit status."""
        failure = Failure(status, what, stream, page)
        logger.error("%s%s", f"{stream}, page {page}: " if stream else "", what)
        self.failures.append(failure)

    def keep_for_inspection(self, stream: str, page: int, body: bytes, suffix: str) -> Path:
        """Keep a page that could not be understood, as it came.

        Returns:
            The file.

        Raises:
            HanlineError: the file cannot be written.
        """
        # File systems take 255 bytes; a letter of Hangul is 3.
        name = "".join(c if c.isalnum() else "_" for c in stream)[:50]
        if name != stream:
            name += f"-{sha256(stream.encode()).hexdigest()[:8]}"
        path = self.folder / "inspection" / f"{self.job.day}-{self._spider}-{name}-{page}{suffix}"
        return write_bytes(path, body)

    def end(self, interrupted: bool) -> Report:
        """Add the pages to the store, write the files, and report.

        If the process dies in here, the next run with the same job folder does the rest:
        the store has taken in all pages or none, and the files are derived from it.

        Raises:
            HanlineError: a file cannot be written.
        """
        job, store = self.job, self.store
        if not (interrupted or self.failures or job.ended()):
            self.fail(ExitStatus.DEFECT, "the run ended before all pages were read")
        store.settle(job.id, job.day, job.pages(lambda s: store.settled_pages(job.id, s)))
        # Another run that ends now writes its files before or after, never between.
        files = []
        if job.page_count():
            with store.transaction():
                remove_partial_files(self.folder)
                files = [*write_day(store, self.folder, job.day), write_all(store, self.folder)]
        counts = store.counts(job.id)
        report = Report(
            spider=self._spider,
            day=job.day,
            started=job.started,
            ended=utc(self.clock.now()),
            streams={stream: counts[stream] for stream in job.streams if stream in counts},
            failures=self.failures,
            interrupted=interrupted,
            files=files,
        )
        moment = job.started.replace("-", "").replace(":", "").removesuffix("+0000")
        report.write(self.folder / "reports" / f"{moment}-{self._spider}-{job.id[:6]}.json")
        if job.ended() or not job.page_count():
            job.discard()
        else:
            logger.warning("not all pages were read; to go on: -s JOBDIR=%s", job.folder)
            job.close()
        return report

    def close(self) -> None:
        """Close the store."""
        if self.opened:
            self.store.close()


def output_folder(settings: BaseSettings) -> Path:
    """Return the folder of the store and the files."""
    return Path(settings["HEADLINES_FOLDER"]).expanduser().resolve()


def clock_of(settings: BaseSettings) -> Clock:
    """Return the clock that the settings ask for."""
    return Clock(settings.get("HEADLINES_CLOCK"))


def store_of(settings: BaseSettings) -> Store:
    """Open the store that the settings ask for.

    Raises:
        HanlineError: The store cannot be opened.
    """
    near = settings.getbool("NEAR_REPEATS")
    return Store(
        output_folder(settings) / "headlines.sqlite",
        settings.getfloat("NEAR_REPEATS_THRESHOLD") if near else None,
    )


def cleaning_of(settings: BaseSettings) -> HeadlineCleaning:
    """Return the cleaning rules that the settings ask for.

    Raises:
        HanlineError: a rule has a value that it does not know, or the charset is unknown.
    """
    charset = settings.get("CLEAN_CHARSET")
    return HeadlineCleaning(
        entities=settings.getbool("CLEAN_ENTITIES"),
        tags=settings.getbool("CLEAN_TAGS"),
        broken_encodings=settings["CLEAN_BROKEN_ENCODINGS"],
        parentheses=settings.getbool("CLEAN_PARENTHESES"),
        square_brackets=settings.getbool("CLEAN_SQUARE_BRACKETS"),
        angle_brackets=settings.getbool("CLEAN_ANGLE_BRACKETS"),
        quotes=settings["CLEAN_QUOTES"],
        ellipses=settings.getbool("CLEAN_ELLIPSES"),
        emoji=settings.getbool("CLEAN_EMOJI"),
        control_characters=settings.getbool("CLEAN_CONTROL_CHARACTERS"),
        nfc=settings.getbool("CLEAN_NFC"),
        white_space=settings.getbool("CLEAN_WHITE_SPACE"),
        charset=frozenset(named_charset(charset).characters) if charset else None,
        outside_charset=settings["CLEAN_OUTSIDE_CHARSET"],
        max_length=settings.getint("CLEAN_MAX_LENGTH"),
    )
