"""Several processes on one machine, which Lightning starts."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch

from hanline.training.errors import how_to_resume

SECONDS_BETWEEN_LOOKS = 0.2


@contextmanager
def launched_processes(trainer: pl.Trainer, last: Path) -> Iterator[None]:
    """Let Lightning start processes, watch them, and leave this one as it was before.

    Lightning puts each process's number into this process's environment and leaves it there: it
    expects the process to end with its run. In a sweep another run follows.

    If a signal kills one of them, the whole run ends with a message: the others would wait for it.

    Args:
        trainer: what starts them.
        last: the run's ``last.ckpt``, which the message names if it exists.
    """
    before = dict(os.environ)
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(trainer, last, done), daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        started = "LOCAL_RANK" in os.environ and "LOCAL_RANK" not in before
        if started and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def end_with_first_process(first: int) -> None:
    """Have a process that Lightning started end when the first one does.

    Otherwise, after SIGKILL of the first, it would wait for an answer for hours. On Windows a
    process keeps its parent's number, and this does nothing.

    Args:
        first: the process id of the first one, which is this one's parent.
    """
    if sys.platform == "win32":
        return

    def wait() -> None:
        # It may be gone already: this process has imported for seconds.
        while os.getppid() == first:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _watch(trainer: pl.Trainer, last: Path, done: threading.Event) -> None:
    while not done.wait(SECONDS_BETWEEN_LOOKS):
        processes = getattr(trainer.strategy.launcher, "procs", [])
        for number, process in enumerate(processes, start=1):
            status = process.poll()
            if status is None or status >= 0 or done.is_set():
                continue
            for other in processes:
                other.kill()
            sys.stdout.flush()
            print(
                f"error: {signal.Signals(-status).name} ended the process of device {number}: "
                "expected all processes of the run to last until its end. If memory was full, "
                f"lower data.num_workers or data.batch_size{how_to_resume(last)}",
                file=sys.stderr,
                flush=True,
            )
            # The main thread may wait in a collective operation, which nothing interrupts.
            os._exit(1)
