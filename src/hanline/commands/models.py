"""``hanline models``: lists the registry's models, compares two, rolls back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from hanline.cli.hydra_app import run
from hanline.daily.comparing import compared, describe
from hanline.daily.history_page import write_history
from hanline.errors import HanlineError
from hanline.metrics.registry import find_metric, reading_metrics
from hanline.pretrained import SHIPPED
from hanline.pretrained.model_registry import ModelRegistry


@dataclass
class Settings:
    """The keys of ``conf/models.yaml``."""

    action: Literal["list", "compare", "rollback", "page"]
    one: str | None
    other: str | None
    registry: str | None
    input: str | None
    metric: str


def main() -> None:
    """Compose the configuration, and list, compare or roll back."""
    run("models", Settings, models, positional=("action", "one", "other"))


def models(config: DictConfig) -> None:
    """Do what ``action`` names.

    Raises:
        HanlineError: there is no such model.
    """
    registry = ModelRegistry(config.registry)
    if config.action == "list":
        _list(registry, config.metric)
    elif config.action == "compare":
        _compare(registry, config)
    elif config.action == "rollback":
        _roll_back(registry, config.one)
    else:
        print(f"written: {write_history(registry)}")


def _list(registry: ModelRegistry, metric: str) -> None:
    shown = find_metric(metric, "metric")
    now = registry.in_use()
    names = [SHIPPED, *registry.names()]
    sets = list(dict.fromkeys(name for model in names for name in registry.about(model).metrics))
    columns = [f"{name}, {shown.title}" for name in sets]
    table = Table("", "model", "made", "parent", *columns, "why", box=None, pad_edge=False)
    for name in names:
        about = registry.about(name)
        values = [about.metrics.get(one, {}).get(shown.name) for one in sets]
        table.add_row(
            "in use" if name == now else "",
            name,
            about.made,
            ", ".join(about.parents[:1]),
            *("" if value is None else f"{value:.{shown.decimals}f}" for value in values),
            about.why,
        )
    # Without a terminal, a narrow one would cut the words.
    Console(width=None if Console().is_terminal else 200).print(table)
    print(f"the registry is {registry.folder}")


def _compare(registry: ModelRegistry, config: DictConfig) -> None:
    if not config.one:
        raise HanlineError(
            "hanline models compare: expected two models, as in hanline models compare shipped "
            "in-use. Name them"
        )
    one, other = config.one, config.other or "in-use"
    if config.input:
        gain = compared(
            find_metric(config.metric, "metric"),
            registry.model_file(one),
            registry.model_file(other),
            Path(config.input),
        )
        print(f"{one} → {other} on {config.input}: {describe(gain, config.metric)}")
        return
    before, after = registry.about(one).metrics, registry.about(other).metrics
    both = [name for name in before if name in after]
    if not both:
        raise HanlineError(
            f"hanline models compare {one} {other}: expected metrics of a dataset that both were "
            "measured on. Give one: input=DATASET"
        )
    table = Table("dataset", "metric", one, other, box=None, pad_edge=False)
    for dataset in both:
        for name, metric in reading_metrics().items():
            if name in before[dataset] and name in after[dataset]:
                values = (before[dataset][name], after[dataset][name])
                table.add_row(dataset, metric.title, *map(metric.text, values))
    Console().print(table)


def _roll_back(registry: ModelRegistry, name: str | None) -> None:
    former = registry.in_use() if name is None else None
    now = registry.roll_back(name)
    try:
        write_history(registry)
    except OSError as error:
        print(f"the page of the history is as before: {error}")
    print(f"in use: {now}" + (f", before {former}" if former else ""))


if __name__ == "__main__":
    main()
