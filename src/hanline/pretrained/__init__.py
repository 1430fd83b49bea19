"""The models that may be named where a checkpoint is expected: shipped, in use, registered."""

from pathlib import Path

from hanline.pretrained.model_registry import SHIPPED, ModelRegistry

__all__ = ["SHIPPED", "model_path"]


def model_path(name: str | Path) -> Path:
    """Return the file of a model.

    Args:
        name: ``shipped``, ``in-use``, the name of a model in the registry, or a file. A file in the
            working directory has precedence over a model of its name.

    Raises:
        HanlineError: the registry is damaged.
    """
    registry = ModelRegistry()
    if isinstance(name, str) and registry.has(name) and not Path(name).is_file():
        return registry.model_file(name)
    return Path(name)
