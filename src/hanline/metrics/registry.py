"""The list of all metrics, which every consumer walks."""

import importlib
import inspect
import pkgutil
from functools import lru_cache

import hanline.metrics
from hanline.errors import HanlineError
from hanline.metrics.base import Metric
from hanline.plugins import load_plugins


@lru_cache(maxsize=1)
def metrics() -> dict[str, Metric]:
    """Return all metrics by name: those of this package, then those of other installed packages.

    Raises:
        HanlineError: a plugin cannot be imported, is not a metric, or has a name that is taken.
    """
    found: dict[str, Metric] = {}
    for module_info in pkgutil.iter_modules(hanline.metrics.__path__):
        module = importlib.import_module(f"hanline.metrics.{module_info.name}")
        for value in vars(module).values():
            if _is_metric(value) and value.__module__ == module.__name__:
                found[value.name] = value()
    for entry, value in load_plugins("metrics").items():
        if not _is_metric(value):
            raise HanlineError(
                f"hanline.metrics: expected {entry} to be a subclass of "
                "hanline.metrics.base.Metric. Update or uninstall the package of this entry point"
            )
        if value.name in found:
            raise HanlineError(
                f"hanline.metrics: expected each metric to have its own name, but {value.name!r} "
                f"is taken when {entry} comes. Uninstall one of the packages"
            )
        found[value.name] = value()
    return found


def reading_metrics() -> dict[str, Metric]:
    """Return the metrics of readings alone, which need no losses, by name."""
    return {name: metric for name, metric in metrics().items() if not metric.needs_losses}


def find_metric(name: str, key: str) -> Metric:
    """Return the metric of a name.

    Args:
        key: the config key that gives the name, for the message.

    Raises:
        HanlineError: there is none of that name.
    """
    if name not in metrics():
        raise HanlineError(f"{key}={name}: expected a metric, one of {', '.join(metrics())}")
    return metrics()[name]


def _is_metric(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Metric) and not inspect.isabstract(value)
