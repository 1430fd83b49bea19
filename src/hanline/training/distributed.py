"""Several processes on one machine, which Lightning starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def launched_processes() -> Iterator[None]:
    """Let Lightning start processes, and leave this one afterwards as it was before.

    Lightning tells them through this process's environment who they are, and does not take that
    back: it expects the process to end with its run. In that of a sweep another run follows.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        started = "LOCAL_RANK" in os.environ and "LOCAL_RANK" not in before
        if started and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)
