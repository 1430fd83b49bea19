"""``hanline import``: makes a checkpoint of a model in another format."""

from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from hanline.cli.command_line import arguments
from hanline.cli.hydra_app import plain, run
from hanline.errors import HanlineError
from hanline.formats.base import Description, Format
from hanline.formats.checkpoint import Checkpoint
from hanline.formats.model_card import architecture, image_size
from hanline.formats.record import build
from hanline.formats.registry import (
    all_formats,
    format_of,
    register_configs,
    save_bytes,
    save_model,
)


@dataclass
class ImageSize:
    """The images of a file that does not say them."""

    height: int | None
    width: int | None
    keep_ratio: bool | None


@dataclass
class Settings:
    """The keys of ``conf/import.yaml`` that belong to no group."""

    input: str
    output: str | None
    image: ImageSize
    max_label_length: int | None


def main() -> None:
    """Compose the configuration and import; format and file may stand without their keys."""
    words = arguments()
    positional = ["format", "input"] if words and words[0] in all_formats() else ["input"]
    register_configs()
    run("import", Settings, import_weights, positional=positional)


def import_weights(config: DictConfig) -> None:
    """Read the file, and write the checkpoint.

    Raises:
        HanlineError: the file is damaged or does not fit, or the checkpoint cannot be written.
    """
    path = Path(config.input)
    read_as: Format = instantiate(config.format) if config.get("format") else format_of(path)
    said = Description(
        charset=instantiate(config.charset) if config.get("charset") else None,
        image=plain(config.image),
        max_label_length=config.max_label_length,
        stages=plain(config.model) if config.get("model") else None,
        explicit=_explicit() if config.get("model") else frozenset(),
    )
    rewritten = read_as.rewritten(path, said)
    suffix = ".ckpt" if rewritten is None else f".hanline{path.suffix}"
    output = Path(config.output) if config.output else path.with_suffix(suffix)
    if output.exists():
        raise HanlineError(f"output={output}: expected no such file. Give another output=")
    if rewritten is not None:
        save_bytes(output, rewritten)
        print(f"written: {output}, {read_as.title} to read with")
        return
    file = read_as.complete(read_as.load(path), said, path)
    assert file.spec is not None
    recognizer = build(file.spec, file.state, file.extras, path)
    save_model(Checkpoint(), output, recognizer, file.history)
    image = recognizer.spec["image"]
    print(
        f"written: {output} ({architecture(recognizer.spec)}, {len(recognizer.charset)} "
        f"characters, images {image_size(image)}, {'grey' if image['channels'] == 1 else 'RGB'})"
    )


def _explicit() -> frozenset[str]:
    """Return the keys below ``model`` that the command line gives."""
    overrides = HydraConfig.get().overrides.task
    keys = (override.partition("=")[0].lstrip("+~") for override in overrides)
    return frozenset(key for key in keys if key.startswith("model."))


if __name__ == "__main__":
    main()
