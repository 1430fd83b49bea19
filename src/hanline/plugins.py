"""Parts that other installed packages add, found by their entry points.

A package adds a part by a line in its ``pyproject.toml``, as in::

    [project.entry-points."hanline.metrics"]
    word_accuracy = "my_package.metrics:WordAccuracy"

The groups are ``hanline.stages``, ``hanline.renderers``, ``hanline.formats``, ``hanline.metrics``,
``hanline.callbacks``, ``hanline.commands`` and ``hanline.configs``.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hanline.errors import HanlineError


def plugin_names(group: str) -> dict[str, str]:
    """Return the dotted target of each part of a group by its name; import nothing.

    Args:
        group: the last part of the group's name, as in ``"metrics"``.
    """
    return {point.name: point.value.replace(":", ".") for point in _points(group)}


def load_plugins(group: str) -> dict[str, Any]:
    """Import the parts of a group.

    Args:
        group: the last part of the group's name, as in ``"metrics"``.

    Returns:
        The parts by their names, in the order of the names.

    Raises:
        HanlineError: a part cannot be imported.
    """
    return {point.name: _loaded(point) for point in _points(group)}


def _points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=f"hanline.{group}"), key=lambda point: point.name)


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        # Whatever the other package's code raises: its name is the help.
        package = point.dist.name if point.dist else "an installed package"
        raise HanlineError(
            f"{point.group}: expected {point.name} of {package} to be importable, but it is not "
            f"({error}). Update or uninstall {package}"
        ) from error
