"""Failures of a training, as messages with the next command."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from hanline.errors import HanlineError
from hanline.system.memory import is_memory_full


class TrainingDivergedError(HanlineError):
    """The loss or the weights are not finite."""


@contextmanager
def failures_as_messages(last: Path) -> Iterator[None]:
    """Raise a HanlineError for failures of a run whose cause lies outside the code.

    Args:
        last: the run's ``last.ckpt``, which the message names if it exists.

    Raises:
        HanlineError: a data worker or another process of the run ended, memory or the disk is
            full, or Lightning refuses a setting.
    """
    try:
        yield
    except HanlineError:
        raise
    except (MisconfigurationException, OSError, RuntimeError, MemoryError) as error:
        message = _message(error)
        if message is None:
            raise
        raise HanlineError(f"{message}{how_to_resume(last)}") from error


def how_to_resume(last: Path) -> str:
    """Return the command that goes on from the last state, as a last sentence; empty if none is."""
    return f". To go on: hanline train resume={last}" if last.is_file() else ""


def _message(error: Exception) -> str | None:
    text = " ".join(str(error).split())
    if isinstance(error, MisconfigurationException):
        return f"trainer: expected settings that Lightning takes. {text.rstrip('.')}"
    on_device = isinstance(error, torch.OutOfMemoryError)
    if on_device or is_memory_full(error):
        return (
            f"{'the accelerator' if on_device else 'the machine'}'s memory is full: expected "
            "room for a step. Lower data.batch_size and raise trainer.accumulate_grad_batches by "
            "the same factor"
        )
    worker = re.search(r"DataLoader worker \(pid\(?s?\)? ?([\d, ]+)\) (.*)", text)
    if worker:
        ending = worker[2].partition(".")[0]
        return (
            f"data worker {worker[1]} {ending}: expected it to run until the end. If memory was "
            "full, lower data.num_workers or data.batch_size"
        )
    # gloo's and NCCL's words for a process that is gone.
    if re.search(r"[Cc]onnection (closed|reset) by peer|NCCL error|remote process exited", text):
        return (
            "another process of this run has ended: expected all of them to run until the end. "
            "Its own message, if it had time for one, is above"
        )
    if (
        isinstance(error, OSError)
        or "PytorchStreamWriter failed" in text
        or "iostream error" in text
    ):
        return f"a file of the run cannot be written: {text.rstrip('.')}"
    return None
