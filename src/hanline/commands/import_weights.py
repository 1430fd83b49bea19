"""``hanline import``: makes a checkpoint of another project's weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from hanline.cli.hydra_app import plain, run
from hanline.errors import HanlineError
from hanline.formats.checkpoint import checked_tensors, load_weights_file, save_recognizer
from hanline.formats.dtrb import (
    architecture,
    image_size_of,
    is_dtrb_state,
    recognizer_from_dtrb,
    refuse_other_architecture,
)
from hanline.formats.easyocr import IMAGE_HEIGHT, IMAGE_WIDTH, network_characters
from hanline.formats.model_card import image_size
from hanline.formats.safetensors_file import read_safetensors, recognizer_of
from hanline.models.recognizer import Recognizer
from hanline.text.charset import Charset
from hanline.training.module import CHECKPOINT_KEY

DTRB_SIZE = (32, 100)
Source = Literal["dtrb", "easyocr", "safetensors"]


@dataclass
class ImageSize:
    """What the tensors do not tell of the images."""

    height: int | None
    width: int | None
    keep_ratio: bool | None


@dataclass
class Settings:
    """The keys of ``conf/import.yaml`` that belong to no group."""

    source: Source
    file: str
    output: str | None
    network: str
    image: ImageSize
    max_label_length: int


def main() -> None:
    """Compose the configuration and import; the first two words may stand without their keys."""
    run("import", Settings, import_weights, positional=("source", "file"))


def import_weights(config: DictConfig) -> None:
    """Read the file, and write the checkpoint."""
    file = Path(config.file)
    output = Path(config.output) if config.output else file.with_suffix(".ckpt")
    if output.exists():
        raise HanlineError(f"{output} exists already: give another, as in output=imported.ckpt")
    if config.source == "safetensors":
        stored = read_safetensors(file)
        recognizer, history = recognizer_of(stored, file), stored.history
    else:
        recognizer = foreign_recognizer(config, file)
        whose = "EasyOCR" if config.source == "easyocr" else "DTRB"
        history = {"imported_from": f"{file.name} of {whose}"}
    save_recognizer(output, recognizer, history)
    image = recognizer.spec["image"]
    print(
        f"written: {output} ({_title(recognizer)}, {len(recognizer.charset)} characters, images "
        f"{image_size(image)}, {'grey' if image['channels'] == 1 else 'RGB'})"
    )


def foreign_recognizer(config: DictConfig, file: Path) -> Recognizer:
    """The recogniser in a file of DTRB or EasyOCR.

    Raises:
        HanlineError: the file is none, or something in it does not fit.
    """
    content = load_weights_file(file)
    if CHECKPOINT_KEY in content:
        raise HanlineError(f"{file} is a checkpoint of Hanline: there is nothing to import")
    if not is_dtrb_state(content):
        has = ", ".join(str(key) for key in list(content)[:3]) or "nothing"
        raise HanlineError(
            f"{file} is no model of DTRB or EasyOCR: it has {has} …, and no tensor "
            "FeatureExtraction.ConvNet…"
        )
    tensors = checked_tensors(content, file)
    if config.get("model"):
        refuse_other_architecture(tensors, plain(config.model), _said_of_the_model(), file)
    charset: Charset | None = instantiate(config.charset) if config.get("charset") else None
    if charset is None and config.source == "easyocr":
        charset = Charset(network_characters(config.network))
    return recognizer_from_dtrb(
        tensors, charset, _image(config, tensors), config.max_label_length, file
    )


def _image(config: DictConfig, tensors: Mapping[str, Any]) -> dict[str, Any]:
    easyocr = config.source == "easyocr"
    size = (IMAGE_HEIGHT, IMAGE_WIDTH) if easyocr else image_size_of(tensors) or DTRB_SIZE
    given = config.image
    return {
        "height": size[0] if given.height is None else given.height,
        "width": size[1] if given.width is None else given.width,
        "keep_ratio": easyocr if given.keep_ratio is None else given.keep_ratio,
    }


def _said_of_the_model() -> set[str]:
    """The keys below ``model`` that stand on the command line."""
    overrides = HydraConfig.get().overrides.task
    return {key.partition("=")[0].lstrip("+~") for key in overrides if key.startswith("model.")}


def _title(recognizer: Recognizer) -> str:
    try:
        return architecture(recognizer.spec)
    except HanlineError:
        return "an architecture of Hanline's own"


if __name__ == "__main__":
    main()
