"""The characters that the screen, or its replacement, can show."""

import io
import sys


def escape_unencodable() -> None:
    r"""Have characters that the output's encoding lacks written as ``\uc18d``, not raised.

    Windows gives a file or a pipe an encoding that may lack Hangul.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
