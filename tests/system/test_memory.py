"""Errors that say that no memory is left, from each of the places that raise them."""

import errno
import os
from pathlib import Path

import pytest
import torch

from hanline.errors import HanlineError
from hanline.system.memory import is_memory_full
from hanline.training.errors import failures_as_messages

FAR_TOO_MUCH = 1 << 60


def test_a_full_memory_in_a_training_is_a_message_with_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    for allocate in (lambda: torch.empty(FAR_TOO_MUCH), lambda: bytearray(FAR_TOO_MUCH)):
        with (
            pytest.raises(HanlineError, match=r"memory is full.*resume=.*last\.ckpt"),
            failures_as_messages(tmp_path / "last.ckpt"),
        ):
            allocate()


def test_an_error_is_known_by_its_cause_too() -> None:
    wrapped = ValueError("in a call")
    wrapped.__cause__ = MemoryError()
    assert is_memory_full(wrapped)
    assert is_memory_full(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
    assert not is_memory_full(RuntimeError("a defect"))
