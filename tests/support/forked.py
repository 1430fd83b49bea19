"""Commands of Hanline in a forked process, which has imported everything already."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def at_first_write(output: Path, act: Callable[[], None]) -> Callable[[], None]:
    """Prepare a process that acts once it begins to write: a file or folder named ``output…``."""

    def prepare() -> None:
        began: list[str] = []

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if not began and _writes(event, arguments, output):
                began.append(event)
                act()

        sys.addaudithook(hook)

    return prepare


def kill_in_work(output: Path, seconds: float) -> Callable[[], None]:
    """Prepare a process that gets SIGKILL after computing so long from its first write.

    The seconds are the same however busy the machine is.
    """

    def set_timer() -> None:
        libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
        event = (ctypes.c_int * 16)(0, 0, 9, 0)  # SIGKILL, SIGEV_SIGNAL
        when = (ctypes.c_long * 4)(0, 0, int(seconds), int(seconds % 1 * 1e9) + 1)
        clock = 2  # CLOCK_PROCESS_CPUTIME_ID
        assert libc.timer_create(clock, event, ctypes.byref(timer)) == 0
        assert libc.timer_settime(timer, 0, when, None) == 0

    return at_first_write(output, set_timer)


def work_seconds(folder: Path, output: Path, *words: str) -> float:
    """Run a command whole; return how long it computes from its first write to its last."""
    reading, writing = os.pipe()

    def prepare() -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if os.getpid() == first and _writes(event, arguments, output):
                os.write(writing, f"{time.process_time()}\n".encode())

        first = os.getpid()
        sys.addaudithook(hook)

    done = run(folder, *words, prepare=prepare)
    os.close(writing)
    with os.fdopen(reading, encoding="ascii") as noted:
        times = [float(line) for line in noted]
    assert done.status == 0, done.text
    return times[-1] - times[0]


def _writes(event: str, arguments: tuple[Any, ...], output: Path) -> bool:
    if event == "open":
        if not isinstance(arguments[0], str) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return False
    elif event not in ("os.mkdir", "os.rename"):
        return False
    return str(Path(os.fsdecode(arguments[0])).absolute()).startswith(str(output))


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
