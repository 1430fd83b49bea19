"""``hanline export``: writes a model in another format."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from hanline.cli.hydra_app import run
from hanline.errors import HanlineError
from hanline.formats.base import Format
from hanline.formats.model_card import model_card
from hanline.formats.record import build
from hanline.formats.registry import all_formats, format_of, register_configs, save_model
from hanline.inference.evaluation import samples
from hanline.inference.reader import Reader
from hanline.inference.trade_off import trade_off
from hanline.models.recognizer import Recognizer
from hanline.pretrained import model_path
from hanline.system import files as system_files

# The number of images that formats may measure the features on.
CALIBRATION_IMAGES = 512


@dataclass
class Settings:
    """The keys of ``conf/export.yaml``."""

    checkpoint: str
    output: str | None
    dataset: str | None


def main() -> None:
    """Compose the configuration and export."""
    register_configs()
    run("export", Settings, export)


def export(config: DictConfig) -> None:
    """Write the files of the format, and the model card.

    Raises:
        HanlineError: the format cannot hold the model, or a file cannot be written.
    """
    if not config.get("format"):
        raise HanlineError(f"format=: expected one of {', '.join(all_formats())}. Give format=…")
    checkpoint = model_path(config.checkpoint)
    written_as: Format = instantiate(config.format)
    recognizer, history = _loaded(checkpoint)
    path = _output(config, checkpoint, written_as.suffixes[0])
    dataset = Path(config.dataset) if config.dataset else None
    batches = _batches(recognizer, dataset) if dataset else None
    files = save_model(written_as, path, recognizer, history, batches)
    print(written_as.usage(path.resolve(), recognizer.spec))
    notes = [written_as.usage(Path(path.name), recognizer.spec)]
    if dataset:
        lines = trade_off([checkpoint, *files], dataset)
        print("\n".join(lines))
        notes += [f"On {dataset.name}:", *lines]
    card = path.with_name(path.name + ".md")
    text = model_card(path.stem, written_as.title, recognizer.spec, history, notes)
    try:
        system_files.write_text(card, text)
    except OSError as error:
        raise HanlineError(f"{card}: cannot be written: {error.strerror}") from error
    print("written: " + ", ".join(str(file) for file in [*files, card]))


def _loaded(checkpoint: Path) -> tuple[Recognizer, dict[str, object]]:
    read_as = format_of(checkpoint)
    file = read_as.load(checkpoint)
    if file.spec is None:
        read_as.open(checkpoint)  # It names the missing part.
    assert file.spec is not None
    return build(file.spec, file.state, file.extras, checkpoint), file.history


def _output(config: DictConfig, checkpoint: Path, suffix: str) -> Path:
    if config.output:
        path = Path(f"{config.output}{suffix}")
    elif Path(config.checkpoint) == checkpoint:
        path = checkpoint.with_suffix(suffix)
    else:  # a model that comes with Hanline: nothing is written beside it
        path = Path(f"{config.checkpoint}{suffix}")
    if path.resolve() == checkpoint.resolve():
        raise HanlineError(
            f"output={path}: expected another file than the checkpoint, which it would replace. "
            "Give output=NAME"
        )
    return path


def _batches(recognizer: Recognizer, dataset: Path) -> Iterator[Tensor]:
    images = (image for image, _ in islice(samples(dataset, Counter()), CALIBRATION_IMAGES))
    yield from Reader(recognizer, "cpu", precision="32-true").batches(images)


if __name__ == "__main__":
    main()
