"""Work in several processes, its results in order."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Literal, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cpus() -> int:
    """Return how many CPUs the system allows this process to use, perhaps fewer than it has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    processes: int,
    start: Literal["spawn", "fork"] = "spawn",
) -> Generator[Result]:
    """``map`` over worker processes that never runs far ahead of whoever takes the results.

    Args:
        function: what each worker does; it and the tasks must pickle.
        tasks: taken as they are needed, so they may be endless.
        processes: how many workers; 1 works in this process, 0 takes every CPU. A process of
            joblib's always works alone.
        start: how a worker comes to be. Forked, it is there at once; but only Linux does that well,
            and only for what takes no library with threads or locks of its own.

    Yields:
        The results in the order of the tasks. An error in a worker is raised here.
    """
    processes = processes or available_cpus()
    # A process of joblib's cannot spawn others, and is one of as many as there are CPUs already.
    if processes == 1 or multiprocessing.get_start_method(allow_none=True) == "loky":
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context(start)
    waiting: deque[Future[Result]] = deque()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_work)
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 4 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_work() -> None:
    # A forked worker has whatever a progress bar has put there, with a lock that may be taken.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    # Ctrl-C comes to all processes; the first one says what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Have a worker process end when its parent does.

    A parent that gets SIGKILL cannot end its workers, and they would wait for ever: for tasks, or
    for their results to be taken.
    """

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
