"""Commands of Hanline in a forked process, which has imported everything already."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from hanline.cli import commands

SECONDS = 300  # for a busy machine; each takes seconds on a free one


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status; a negative one is the signal that killed it.
        text: what it printed, on both streams.
    """

    status: int
    text: str


class Running:
    """A command under way, in a process group of its own.

    Args:
        folder: where it runs.
        words: the command and its settings.
        prepare: is called in the process before the command: to set limits, or another user.
    """

    def __init__(
        self, folder: Path, words: Sequence[str], prepare: Callable[[], None] = lambda: None
    ) -> None:
        # A pipe, since a limit on the sizes of files is not one on what it prints.
        reading, writing = os.pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_run, args=(folder, words, prepare, writing))
        self.process.start()
        os.close(writing)
        self._text: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(reading,))
        self._reader.start()

    def _read(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as printed:
            self._text.append(printed.read())

    def wait(self) -> Ended:
        """Wait for its end, and end what it has left running."""
        self.process.join(SECONDS)
        hung = self.process.exitcode is None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self._reader.join()
        text = "".join(self._text)
        assert not hung, f"it took more than {SECONDS} s: {text}"
        return Ended(self.process.exitcode, text)


def run(folder: Path, *words: str, prepare: Callable[[], None] = lambda: None) -> Ended:
    """Run a command to its end."""
    return Running(folder, words, prepare).wait()


def kill_after(seconds: float) -> Callable[[], None]:
    """Prepare a process that gets SIGKILL after so many seconds of computing.

    They are the same however busy the machine is.
    """

    def prepare() -> None:
        libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
        event = (ctypes.c_int * 16)(0, 0, 9, 0)  # SIGKILL, SIGEV_SIGNAL
        when = (ctypes.c_long * 4)(0, 0, int(seconds), int(seconds % 1 * 1e9))
        clock = 2  # CLOCK_PROCESS_CPUTIME_ID
        assert libc.timer_create(clock, event, ctypes.byref(timer)) == 0
        assert libc.timer_settime(timer, 0, when, None) == 0

    return prepare


def _run(folder: Path, words: Sequence[str], prepare: Callable[[], None], writing: int) -> None:
    os.setsid()
    for stream in (1, 2):
        os.dup2(writing, stream)
    os.close(writing)
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    os.chdir(folder)
    sys.argv = ["hanline", *words[1:]]
    status = 0
    try:
        prepare()
        commands.command(words[0])()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 99
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(status)
