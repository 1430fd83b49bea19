"""Files that appear whole or not at all."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# On Windows a file that another program reads cannot be replaced; readers are soon done.
_SECONDS_TO_REPLACE = 20.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; rename it to ``path`` at the end, or remove it after an error.

    Several processes may write the same file at once: each has its own path until the end.

    Yields:
        A path beside ``path``, whose file does not exist yet.
    """
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield aside
        _replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    r"""Write a UTF-8 text file with ``\n`` line ends; it appears whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; it appears whole or not at all."""
    with replacing(path) as aside:
        aside.write_bytes(content)


def _replace(aside: Path, path: Path) -> None:
    until = time.monotonic() + _SECONDS_TO_REPLACE
    while True:
        try:
            aside.replace(path)
            return
        except PermissionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
