"""Set up the standard streams."""

import io
import sys


def escape_unencodable() -> None:
    r"""Write characters that the output's encoding lacks as ``\uc18d`` instead of failing.

    Windows gives a file or a pipe an encoding that may lack Hangul.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
