"""``hanline synthesize``: draws texts of a corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from hanline.cli.hydra_app import plain, repeated_without, run
from hanline.data.dataset_writer import DatasetWriter, write_lock
from hanline.data.image_folder import FolderWriter
from hanline.data.lmdb_writer import LMDBWriter
from hanline.data.rendered_datasets import RenderedDatasets, choose_texts, render
from hanline.data.shards import Shard
from hanline.errors import HanlineError
from hanline.synthesis.contact_sheet import contact_sheet
from hanline.synthesis.dataset_renderer import libraries
from hanline.system.files import replacing

PREVIEW = "preview"
PREVIEW_FILE = "preview.png"
PREVIEW_SAMPLES = 60


@dataclass
class ShardKeys:
    """The keys that this command adds to the group ``synthesis``."""

    shard: int | None
    shards: int


@dataclass
class Settings:
    """The keys of ``conf/synthesize.yaml`` that belong to no group, and those added to one."""

    output: str | None
    output_format: Literal["folder", "lmdb", "preview"]
    boxes: bool
    part: Literal["train", "validation"]
    samples: int | None
    seed: int
    max_label_length: int
    synthesis: ShardKeys


def main() -> None:
    """Compose the configuration and render; the format may stand without its key."""
    run("synthesize", Settings, synthesize, positional=("output_format",))


def synthesize(config: DictConfig) -> None:
    """Draw, and print where the result is."""
    output = Path(config.output or (PREVIEW_FILE if config.output_format == PREVIEW else ""))
    samples = config.samples
    if config.output_format == PREVIEW:
        samples = samples or PREVIEW_SAMPLES
    elif not config.output:
        raise HanlineError("output=null: expected a path. Set output=FOLDER.")
    synthesis = plain(config.synthesis)
    shard = _shard(config.output_format, synthesis.pop("shard"), synthesis.pop("shards"))
    charset = instantiate(config.charset)
    look = instantiate(synthesis, characters=charset.characters)
    texts = choose_texts(
        instantiate(config.corpus),
        charset,
        look,
        samples if config.part == "train" else None,
        samples if config.part == "validation" else None,
    )
    chosen = texts.train if config.part == "train" else texts.validation
    if config.output_format == PREVIEW:
        drawn = [sample for some in look.draw(chosen, processes=1) for sample in some]
        save_image(contact_sheet(drawn, boxes=config.boxes), output)
        print(f"drew {len(chosen)} texts into {output}")
        return
    facts = RenderedDatasets(output.parent, texts, look).fingerprint(config.part)
    if shard:
        # Other machines may have others, and letters of other shapes then.
        facts["libraries"] = libraries()
    path = shard.path(output) if shard else output
    with write_lock(path):
        if shard and shard.exists_matching(output, facts):
            print(f"{path} is there already")
            return
        writer: DatasetWriter = (
            LMDBWriter(path, resume=True)
            if config.output_format == "lmdb"
            else FolderWriter(path, look.image_format)
        )
        render(chosen, look, writer, facts, shard)
    print(f"drew {writer.done} texts into {path}")


def _shard(set_format: str, number: int | None, of: int) -> Shard | None:
    if number is None:
        return None
    if set_format != "lmdb":
        raise HanlineError(
            f"synthesis.shard is {number} and output_format {set_format}: shards are LMDB sets; "
            "set output_format=lmdb, or synthesis.shard=null to draw the whole"
        )
    command = repeated_without("synthesis.shard", "output")
    return Shard(number, of, "synthesis.shard", command)


def save_image(image: Image.Image, path: Path) -> None:
    """Write a PNG; it appears whole or not at all.

    Raises:
        HanlineError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            image.save(aside, "PNG")
    except OSError as error:
        raise HanlineError(f"output={path}: expected a writable path, but {error}") from error


if __name__ == "__main__":
    main()
