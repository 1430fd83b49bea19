"""``hanline predict``: reads a folder of images."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.commands.reading import ReaderSettings, make_reader
from hanline.data.image_folder import GT, read_gt
from hanline.inference.evaluation import compare, summary
from hanline.inference.page_formats import PAGE_FORMATS
from hanline.inference.reader import image_files
from hanline.inference.readings_files import ReadingsWriter
from hanline.inference.readings_page import ReadingsPage
from hanline.inference.readings_report import print_readings
from hanline.system.progress import progress
from hanline.system.stopping import sigterm_unwinds


@dataclass
class Settings(ReaderSettings):
    """The keys of ``conf/predict.yaml``."""

    input: str
    output: str
    parts: bool
    page: bool
    page_format: Literal["alto", "hocr"] | None


def main() -> None:
    """Compose the configuration and read."""
    run("predict", Settings, predict)


def predict(config: DictConfig) -> None:
    """Read, print and write the readings; exit with 1 if an image could not be read."""
    place = Path(config.input)
    files = image_files(place)
    reader = make_reader(config)
    root = place if place.is_dir() else place.parent
    paths = [printable(file.relative_to(root)) for file in files]
    labels = known_labels(root)
    readings = []
    page = ReadingsPage(Path(config.output) / "readings.html") if config.page else None
    kind = config.page_format
    page_format = PAGE_FORMATS[kind](Path(config.output)) if kind else None
    # The files are opened before anything is read, and have what was read whatever ends it.
    with ReadingsWriter(Path(config.output)) as writer, sigterm_unwinds():
        try:
            with progress("reading images", len(files)) as advance:
                results = reader.readings(files, config.parts or bool(kind))
                for file, path, reading in zip(files, paths, results, strict=True):
                    writer.add(path, reading)
                    if page_format:
                        page_format.add(path, reading)
                    readings.append(reading)
                    if page:
                        page.add(path, file, reading, labels.get(path))
                    advance()
        except (KeyboardInterrupt, SystemExit):
            print(f"stopped; {writer.written} of {len(files)} images were read", file=sys.stderr)
            raise
    print_readings(paths, readings, labels)
    figures = compare(dict(zip(paths, readings, strict=True)), labels)
    if figures.samples:
        print(summary(figures))
    written = list(writer.paths)
    if page:
        page.write()
        written.append(page.path)
    if page_format:
        written.append(page_format.close())
    print("written: " + ", ".join(map(str, written)))
    unread = sum(bool(reading.problem) for reading in readings)
    if unread:
        print(f"{unread} of {len(readings)} images could not be read; see above", file=sys.stderr)
        sys.exit(1)


def known_labels(folder: Path) -> dict[str, str]:
    """Return the labels of a folder's ``gt.txt`` by path; empty if there is no ``gt.txt``."""
    gt = folder / GT
    if not gt.is_file():
        return {}
    rows = [row for row in read_gt(gt) if not row.problem and row.image.is_relative_to(folder)]
    return {printable(row.image.relative_to(folder)): row.label for row in rows}


def printable(path: Path) -> str:
    """Return a path as text, with bytes that are not UTF-8 escaped."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main()
