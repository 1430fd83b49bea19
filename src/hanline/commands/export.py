"""``hanline export``: writes a checkpoint in the format of another project."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.errors import HanlineError
from hanline.formats.checkpoint import build_recognizer, spec_and_state
from hanline.formats.dtrb import demo_command, write_dtrb
from hanline.formats.easyocr import reader_code, write_easyocr
from hanline.formats.model_card import history_of, model_card
from hanline.formats.registry import checkpoint_content
from hanline.formats.safetensors_file import (
    SUFFIX,
    read_safetensors,
    recognizer_of,
    write_safetensors,
)
from hanline.inference.evaluation import evaluate, samples, summary
from hanline.inference.reader import Reader
from hanline.models.precision import ReadingPrecision
from hanline.models.recognizer import Recognizer
from hanline.quantization.torch_int8 import calibrate, has_int8
from hanline.system import files as system_files

Format = Literal["dtrb", "easyocr", "onnx", "safetensors"]
FORMATS: dict[str, tuple[str, str]] = {
    "dtrb": (".pth", "a checkpoint of deep-text-recognition-benchmark"),
    "easyocr": (".pth", "a custom network of EasyOCR"),
    "onnx": (".onnx", "an ONNX model"),
    "safetensors": (SUFFIX, "weights in safetensors, and the config in JSON"),
}

# How many images of the set tell the speed.
SPEED_IMAGES = 128
# How many tell between which bounds the features lie.
RANGE_IMAGES = 512


@dataclass
class Settings:
    """The keys of ``conf/export.yaml``."""

    checkpoint: str
    format: Format
    output: str | None
    half: bool
    int8: bool
    dataset: str | None


def main() -> None:
    """Compose the configuration and export."""
    run("export", Settings, export)


def export(config: DictConfig) -> None:
    """Write the files of the format, and the model card."""
    checkpoint = Path(config.checkpoint)
    suffix, what = FORMATS[config.format]
    path = Path(f"{config.output}{suffix}") if config.output else checkpoint.with_suffix(suffix)
    spare(checkpoint, path)
    recognizer, history = open_checkpoint(checkpoint)
    if config.int8 and config.format not in ("onnx", "safetensors"):
        raise HanlineError(
            f"int8 is for format=onnx and format=safetensors; {config.format} keeps the weights as "
            "they are"
        )
    if config.half and config.format != "safetensors":
        raise HanlineError(
            f"half is for format=safetensors; {config.format} keeps the weights as they are"
        )
    if config.int8 and not config.dataset:
        raise HanlineError(
            "int8 changes what the model reads: give dataset=…, an LMDB set or a folder with "
            "images and gt.txt, to tell by how much"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files, notes = write(config, path, recognizer, history)
        card = path.with_name(path.name + ".md")
        text = model_card(path.stem, what, recognizer.spec, history, notes)
        system_files.write_text(card, text)
    except OSError as error:
        raise HanlineError(f"cannot write {path}: {error}") from error
    print("written: " + ", ".join(str(file) for file in [*files, card]))


def spare(checkpoint: Path, path: Path) -> None:
    """See that the checkpoint is not among the files that are written.

    Raises:
        HanlineError: it is, under whatever name.
    """
    inputs = [checkpoint]
    if checkpoint.suffix == SUFFIX:
        inputs.append(checkpoint.with_suffix(".json"))
    outputs = [path, path.with_suffix(".json"), path.with_name(path.name + ".md")]
    for given, written in product(inputs, outputs):
        if given.exists() and written.exists() and given.samefile(written):
            raise HanlineError(
                f"output={path.with_suffix('')}: expected another name than that of checkpoint="
                f"{checkpoint}, since {given.name} would be lost. Name another, as in "
                f"output={path.with_name(path.stem + '_exported')}"
            )


def write(
    config: DictConfig, path: Path, recognizer: Recognizer, history: Mapping[str, Any]
) -> tuple[list[Path], list[str]]:
    """Write the files of a format.

    Returns:
        The files, and what their model card should say besides.
    """
    if config.format == "dtrb":
        files = write_dtrb(path, recognizer)
        print(f"in a checkout of DTRB: {demo_command(path.resolve(), recognizer.spec)}")
        command = demo_command(Path(path.name), recognizer.spec)
        return files, [f"In a checkout of DTRB:\n\n    {command}"]
    if config.format == "easyocr":
        return write_easyocr(path, recognizer), [f"In this folder:\n\n{reader_code(path)}"]
    reading = [f"To read with it:\n\n    hanline predict checkpoint={path.name} image_dir=IMAGES"]
    if config.format == "safetensors":
        notes = measure_eight_bits(recognizer, Path(config.dataset)) if config.int8 else []
        files = write_safetensors(path, recognizer, history, config.half)
        return files, reading + notes
    from hanline.formats.onnx import write_onnx

    write_onnx(path, recognizer, history)
    if not config.int8:
        return [path], reading
    files, notes = write_int8_beside(path, Path(config.dataset))
    return files, reading + notes


def write_int8_beside(path: Path, dataset: Path) -> tuple[list[Path], list[str]]:
    """Write the 8-bit model beside an ONNX model, and tell what it costs and gains."""
    from hanline.quantization.onnx_int8 import compare_speed, write_int8

    small = path.with_suffix(".int8.onnx")
    write_int8(path, small)
    figures = [
        evaluate(Reader(file, "cpu"), dataset, lowercase=False).total for file in (path, small)
    ]
    some = islice(samples(dataset, Counter()), SPEED_IMAGES)
    speed = compare_speed(path, small, (image for image, _ in some))
    lines = [
        f"32-bit weights: {summary(figures[0])}",
        f"8-bit weights: {summary(figures[1])}",
        f"on this processor, {torch.get_num_threads()} threads: {speed}",
    ]
    print("\n".join(lines))
    return [path, small], [f"`{small.name}` has 8-bit weights. On {dataset.name}:", *lines]


def measure_eight_bits(recognizer: Recognizer, dataset: Path) -> list[str]:
    """Measure what reading in 8 bits needs, and tell what it costs."""
    some = (image for image, _ in islice(samples(dataset, Counter()), RANGE_IMAGES))
    reader = Reader(recognizer, "cpu", precision="32-true")
    recognizer.ranges = calibrate(recognizer, reader.batches(some))
    if not has_int8():
        print("cannot measure what int8 costs: this processor has no 8-bit products")
        return []
    precisions: list[ReadingPrecision] = ["32-true", "int8"]
    figures = [
        evaluate(Reader(recognizer, "cpu", precision=precision), dataset, lowercase=False).total
        for precision in precisions
    ]
    lines = [f"precision={p}: {summary(f)}" for p, f in zip(precisions, figures, strict=True)]
    print("\n".join(lines))
    return [f"It can be read with in 8 bits. On {dataset.name}:", *lines]


def open_checkpoint(path: Path) -> tuple[Recognizer, dict[str, Any]]:
    """The recogniser of a checkpoint or of a safetensors file, and where its weights come from."""
    if path.suffix == SUFFIX:
        stored = read_safetensors(path)
        return recognizer_of(stored, path), stored.history
    content = checkpoint_content(path)
    recognizer = build_recognizer(*spec_and_state(content, path), path)
    return recognizer, history_of(content, path)


if __name__ == "__main__":
    main()
