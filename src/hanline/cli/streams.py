"""Set up the standard streams."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def escape_unencodable() -> None:
    r"""Write characters that the output's encoding lacks as ``\uc18d`` instead of failing.

    Windows gives a file or a pipe an encoding that may lack Hangul.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def failures_to_print() -> Iterator[None]:
    """Let a command end with a message if what it prints cannot be written.

    So it is if ``| head`` has read enough, or if the disk of ``> file`` is full. What the command
    writes elsewhere is whole.
    """
    # Of a log line that cannot be written, the logging package would print a traceback.
    logging.raiseExceptions = False
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if _can_print():
            raise
        # The rest of the buffer would raise again at the interpreter's end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        print(f"error: cannot write to the standard output: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def _can_print() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True
