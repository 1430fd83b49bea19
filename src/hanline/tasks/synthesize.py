"""``hanline synthesize``: draws texts of a corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate
from omegaconf import DictConfig

from hanline.data.drawn_sets import DrawnSets, choose_texts, draw
from hanline.data.image_folder import FolderWriter
from hanline.data.lmdb_store import LMDBWriter
from hanline.data.set_writer import SetWriter, sole_writer
from hanline.tasks.application import run


@dataclass
class Settings:
    """The keys of ``conf/synthesize.yaml`` that belong to no group."""

    output: str
    format: Literal["folder", "lmdb"]
    part: Literal["train", "validation"]
    samples: int | None
    seed: int
    max_label_length: int


def main() -> None:
    """Compose the configuration and draw."""
    run("synthesize", Settings, synthesize)


def synthesize(config: DictConfig) -> None:
    """Draw, and print where the result is."""
    charset = instantiate(config.charset)
    look = instantiate(config.synthesis, characters=charset.characters)
    texts = choose_texts(
        instantiate(config.corpus),
        charset,
        look,
        config.samples if config.part == "train" else None,
        config.samples if config.part == "validation" else None,
    )
    output = Path(config.output)
    chosen = texts.train if config.part == "train" else texts.validation
    facts = DrawnSets(output.parent, texts, look).facts(config.part)
    with sole_writer(output):
        writer: SetWriter = (
            LMDBWriter(output, resume=True)
            if config.format == "lmdb"
            else FolderWriter(output, look.image_format)
        )
        draw(chosen, look, writer, facts)
    print(f"drew {len(chosen)} texts into {output}")


if __name__ == "__main__":
    main()
