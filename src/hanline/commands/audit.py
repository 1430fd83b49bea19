"""``hanline audit``: finds labels that are probably wrong."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanline.cli.hydra_app import run
from hanline.commands.reading import ReaderSettings, make_reader
from hanline.errors import HanlineError
from hanline.inference.audit import AUDIT, PAGE, audit


@dataclass
class Settings(ReaderSettings):
    """The keys of ``conf/audit.yaml``."""

    dataset: str
    output: str
    copies: int
    shown: int


def main() -> None:
    """Compose the configuration and audit."""
    run("audit", Settings, audit_and_report)


def audit_and_report(config: DictConfig) -> None:
    """Audit, and print the most suspicious samples."""
    dataset, output = Path(config.dataset), Path(config.output)
    if config.copies < 0 or config.shown < 0:
        raise HanlineError(
            f"copies={config.copies}, shown={config.shown}: expected numbers from 0. Set them"
        )
    if not dataset.exists():
        raise HanlineError(f"dataset={dataset}: expected a dataset that exists. Give its folder")
    suspects = audit(make_reader(config), dataset, output, config.copies)
    table = Table("rank", "score", "label", "reading", "reasons", "sample", box=None)
    for suspect in suspects[: config.shown]:
        texts = (suspect.label, suspect.reading, suspect.reasons, suspect.sample)
        table.add_row(str(suspect.rank), f"{suspect.score:.1f}", *map(Text, texts))
    Console().print(table)
    print(f"{len(suspects)} samples; written: {output / AUDIT}, {output / PAGE}")
    print(f"to decide: hanline review input={output}")


if __name__ == "__main__":
    main()
