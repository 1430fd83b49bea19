"""Set up the standard streams."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO, cast

from hanline.errors import HanlineError


def escape_unencodable() -> None:
    r"""Write characters that the output's encoding lacks as ``\uc18d`` instead of failing.

    Windows gives a file or a pipe an encoding that may lack Hangul.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class PrintError(HanlineError):
    """The output of a command cannot be written."""


@contextmanager
def failures_to_print() -> Iterator[None]:
    """Let a command end with a message if what it prints cannot be written.

    So it is if ``| head`` has read enough, or if the disk of ``> file`` is full. What the command
    writes elsewhere is whole.

    Raises:
        SystemExit: with status 1, after the message.
    """
    stream = sys.stdout
    if isinstance(stream, _Checked):
        yield
        return
    # The logging package would print a traceback for a line that cannot be written.
    logging.raiseExceptions = False
    checked = _Checked(stream)
    sys.stdout = cast(TextIO, checked)
    try:
        yield
    except PrintError as error:
        _end(error)
    except SystemExit:
        with suppress(PrintError):  # the message of this end has been printed
            checked.flush()
        raise
    else:
        with suppress(PrintError):
            checked.flush()
        if checked.failure:
            _end(checked.failure)
    finally:
        sys.stdout = stream


class _Checked:
    """The standard output. A failure to write to it is a PrintError."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: PrintError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        if self.failure:
            raise self.failure
        with self._checked():
            return self.stream.write(text)

    def flush(self) -> None:
        with self._checked():
            self.stream.flush()

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # The rest of the buffer would raise again at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            self.failure = PrintError(
                f"cannot write to the standard output: {error.strerror}. Give it room, or a "
                "program that reads to the end"
            )
            raise self.failure from error


def _end(error: PrintError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
