"""``hanline language-model``: counts a language model of characters from text."""

from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.text.language_model import count, save_language_model


@dataclass
class Settings:
    """The keys of ``conf/language-model.yaml``."""

    output: str
    order: int
    seed: int
    max_label_length: int


def main() -> None:
    """Compose the configuration and count."""
    run("language-model", Settings, count_language_model)


def count_language_model(config: DictConfig) -> None:
    """Count, write, and print the size of the model."""
    headlines, _ = instantiate(config.corpus).split()
    longest = config.max_label_length
    model = count((line for line in headlines if len(line) <= longest), config.order)
    path = Path(config.output)
    save_language_model(model, path)
    print(
        f"{sum(map(len, model.keys)):,} n-grams of up to {model.order} characters, "
        f"{len(model.characters):,} characters, {path.stat().st_size / 1e6:.1f} MB"
    )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
