"""Reads image files with a trained recogniser."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from hanline.data.images import ImageError, ImageFormat, decode_image, to_pixels
from hanline.errors import HanlineError
from hanline.interop.onnx import OnnxRecognizer
from hanline.interop.opening import open_recognizer
from hanline.model.recognizer import Recognizer
from hanline.parallel import available_cpus

SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("apng", "avif", "bmp", "dib", "gif", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"),
    )
)


@dataclass(frozen=True)
class Reading:
    """What was read in an image.

    Attributes:
        text: empty where there is a problem.
        confidence: the product of the characters' probabilities, between 0 and 1.
        problem: why the image could not be read; empty where it could.
    """

    text: str = ""
    confidence: float = 0.0
    problem: str = ""


class Reader:
    """Reads images, in batches, each decoded while the one before is read.

    Args:
        recognizer: what reads; it knows the size and the colours of the images that it takes.
        device: ``auto`` takes a GPU if there is one; else a device of torch, such as ``cuda:1``.
        batch_size: images at a time.

    Raises:
        HanlineError: there is no such device, or no batch of that size.
    """

    def __init__(
        self, recognizer: Recognizer | OnnxRecognizer, device: str = "auto", batch_size: int = 64
    ) -> None:
        if batch_size < 1:
            raise HanlineError(f"batch_size is {batch_size}: a batch has at least one image")
        if device == "auto" and isinstance(recognizer, OnnxRecognizer):
            self.device = recognizer.best_device()
        else:
            self.device = _device(device)
        self.batch_size = batch_size
        self.recognizer = recognizer.to(self.device)
        if isinstance(self.recognizer, Recognizer):
            self.recognizer.eval()
        self.image_format = ImageFormat(**recognizer.spec["image"])

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, device: str = "auto", batch_size: int = 64
    ) -> "Reader":
        """A reader with the recogniser of a checkpoint, a safetensors file or an ONNX model."""
        return cls(open_recognizer(Path(path)), device, batch_size)

    def read(self, images: Iterable[Path | bytes]) -> Iterator[Reading]:
        """Read image files, given by their paths or their bytes; one reading for each, in order."""
        remaining = iter(images)
        waiting: deque[Future[list[np.ndarray | ImageError]]] = deque()
        # Of more lines, more have the same width and are read together.
        at_a_time = self.batch_size * (1 if self.image_format.width else 4)
        with ThreadPoolExecutor(available_cpus()) as pool:
            while True:
                while len(waiting) < 3 and (batch := list(islice(remaining, at_a_time))):
                    waiting.append(pool.submit(self._decode, batch))
                if not waiting:
                    return
                yield from self._read_batch(waiting.popleft().result())

    def pixels(self, images: Iterable[Path | bytes]) -> torch.Tensor:
        """Image files as what is read of them, uint8 (B, C, H, W); those that cannot be read are
        left out."""
        decoded = self._decode(list(images))
        return _stacked([image for image in decoded if isinstance(image, np.ndarray)])

    def _decode(self, images: Sequence[Path | bytes]) -> list[np.ndarray | ImageError]:
        decoded: list[np.ndarray | ImageError] = []
        for image in images:
            try:
                decoded.append(to_pixels(decode_image(image), self.image_format))
            except ImageError as error:
                decoded.append(error)
        return decoded

    def _read_batch(self, decoded: Sequence[np.ndarray | ImageError]) -> list[Reading]:
        readings = [
            Reading(problem=str(image)) if isinstance(image, ImageError) else Reading()
            for image in decoded
        ]
        of_width: dict[int, list[tuple[int, np.ndarray]]] = {}
        for index, image in enumerate(decoded):
            if isinstance(image, np.ndarray):
                of_width.setdefault(image.shape[1], []).append((index, image))
        for width, lines in sorted(of_width.items()):
            size = max(1, self.batch_size * self.image_format.usual_width // width)
            for start in range(0, len(lines), size):
                indices, pixels = zip(*lines[start : start + size], strict=True)
                images = _stacked(pixels).to(self.device)
                texts, confidences = self.recognizer.read(images)
                for index, text, confidence in zip(indices, texts, confidences, strict=True):
                    readings[index] = Reading(text, confidence)
        return readings


def _stacked(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """B arrays (H, W, C) → (B, C, H, W)."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def image_files(place: Path) -> list[Path]:
    """The image files of a folder and all below it, in natural order; or the one file.

    Raises:
        HanlineError: there is no such folder, or no image in it.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise HanlineError(f"there is no folder {place}")
    files = [
        path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir()
    ]
    if not files:
        raise HanlineError(
            f"there is no image in {place} or below it; images are known by their names: "
            f"{' '.join(sorted(SUFFIXES))}"
        )
    return sorted(files, key=lambda path: natural_key(path.relative_to(place).as_posix()))


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """A key that sorts numbers in names as numbers, and letters whatever their case."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], name


def _device(name: str) -> torch.device:
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise HanlineError(f"there is no device {name!r} here: {reason}") from error
    return device
