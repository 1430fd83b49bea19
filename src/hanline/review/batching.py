"""One reader for many who ask at once: what arrives together is read together."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from hanline.errors import HanlineError
from hanline.inference.reader import Reader, Reading
from hanline.models.recognizer import Recognizer

logger = logging.getLogger(__name__)
# A second batch may wait for the first; more than that is for those who come later.
_BATCHES = 4
# Seconds from one look for items to the next, if nobody says that there are some.
_PAUSE = 0.5


class QueueFullError(Exception):
    """The queue has no room for more images.

    Attributes:
        seconds: after which there may be room.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full; try again in {seconds} s")
        self.seconds = seconds


@dataclass
class _Job:
    images: Sequence[bytes]
    parts: bool
    done: Future[list[Reading]] = field(default_factory=Future)


class BatchingReader:
    """Reads for several threads, in one thread of its own.

    If nobody asks, it reads items of the review.

    Args:
        reader: what reads.
        queue: the most images that wait.
        unread: returns up to N numbered images of items that were not read yet.
        keep: takes their readings.
    """

    def __init__(
        self,
        reader: Reader,
        queue: int,
        unread: Callable[[int], list[tuple[int, bytes]]],
        keep: Callable[[list[tuple[int, Reading]]], None],
    ) -> None:
        self._reader = reader
        self._queue = queue
        self._unread = unread
        self._keep = keep
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._seconds_an_image = 0.02
        self._changed = threading.Condition()
        self._stopped = False
        self.has_parts = isinstance(reader.recognizer, Recognizer)
        self._thread = threading.Thread(target=self._work, name="reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is read now; who waits gets an error."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=60)

    def wake(self) -> None:
        """Say that there are items to read."""
        with self._changed:
            self._changed.notify_all()

    def submit(self, images: Sequence[bytes], parts: bool) -> Future[list[Reading]]:
        """Queue images; return what will be their readings, in their order.

        Raises:
            QueueFullError: there is no room for them.
        """
        with self._changed:
            if self._waiting + len(images) > self._queue:
                seconds = max(1, round(self._waiting * self._seconds_an_image))
                raise QueueFullError(seconds)
            job = _Job(images, parts and self.has_parts)
            self._jobs.append(job)
            self._waiting += len(images)
            self._changed.notify_all()
        return job.done

    def _work(self) -> None:
        while True:
            jobs = self._next_jobs()
            if self._stopped:
                break
            if jobs:
                self._read_jobs(jobs)
            elif not self._read_items():
                with self._changed:
                    if not self._jobs and not self._stopped:
                        self._changed.wait(_PAUSE)
        for job in (*jobs, *self._jobs):
            job.done.cancel()

    def _next_jobs(self) -> list[_Job]:
        """Take the jobs that fit a few batches, those that want parts apart from the others."""
        with self._changed:
            jobs: list[_Job] = []
            room = _BATCHES * self._reader.batch_size
            while self._jobs and (not jobs or len(self._jobs[0].images) <= room):
                if jobs and self._jobs[0].parts != jobs[0].parts:
                    break
                jobs.append(self._jobs.popleft())
                room -= len(jobs[-1].images)
                self._waiting -= len(jobs[-1].images)
            return jobs

    def _read_jobs(self, jobs: list[_Job]) -> None:
        images = [image for job in jobs for image in job.images]
        begun = time.monotonic()
        try:
            readings = self._reader.read(images, parts=jobs[0].parts)
        except Exception as error:
            # The thread must outlive whatever one batch raises; each job reports it.
            logger.exception("a batch could not be read")
            for job in jobs:
                job.done.set_exception(HanlineError(f"the images could not be read: {error}"))
            return
        self._seconds_an_image = (time.monotonic() - begun) / max(1, len(images))
        start = 0
        for job in jobs:
            job.done.set_result(readings[start : start + len(job.images)])
            start += len(job.images)

    def _read_items(self) -> bool:
        """Read items of the review; return whether there were any."""
        items = self._unread(self._reader.batch_size)
        if not items:
            return False
        images = [image for _, image in items]
        try:
            readings = self._reader.read(images, parts=self.has_parts)
        except Exception as error:
            # As above: these items show the problem, and the others are read.
            logger.exception("some items could not be read")
            readings = [Reading(problem=str(error)) for _ in items]
        self._keep([(number, r) for (number, _), r in zip(items, readings, strict=True)])
        return True
