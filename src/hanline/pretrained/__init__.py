"""The model that comes with Hanline, by the name that may stand where a checkpoint is expected."""

from pathlib import Path

SHIPPED = "shipped"
_FILES = {SHIPPED: "headline.safetensors"}


def model_path(name: str | Path) -> Path:
    """Return the file of a model that comes with Hanline, or the path itself."""
    return Path(__file__).parent / _FILES[str(name)] if str(name) in _FILES else Path(name)
