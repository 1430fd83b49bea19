"""Hanline trains text recognizers for Korean news headlines, and reads with them."""

from importlib.metadata import version
from typing import Any

__version__ = version("hanline")
__all__ = ["Reader", "Reading", "__version__"]


def __getattr__(name: str) -> Any:
    # Only when it is asked for: the crawler needs no torch, whose import takes seconds.
    if name in ("Reader", "Reading"):
        from hanline.inference import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
