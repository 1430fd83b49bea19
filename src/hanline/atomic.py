"""Files that appear whole or not at all."""

import secrets
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file aside, then give it its name."""
    aside = path.with_name(path.name + ".partial")
    aside.write_text(text, encoding="utf-8", newline="\n")
    aside.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file aside, then give it its name; several processes may write the same at once."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
