"""Reads image files with a trained recognizer.

Over 300 lines: one way from images to readings, whose steps pass batches to each other.
"""

import io
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import cast, overload

import numpy as np
import torch
from PIL import Image

from hanline.data.images import (
    ImageError,
    ImageFormat,
    decode_image,
    inner_width,
    open_picture,
    to_pixels,
)
from hanline.errors import HanlineError
from hanline.inference.deskew import straightened
from hanline.inference.parts import Parts, located
from hanline.inference.preparation import Checkpoint, prepare
from hanline.models.beam import Beam, Prior
from hanline.models.confidence import Confidence, ConfidenceScale
from hanline.models.precision import ReadingPrecision
from hanline.models.recognizer import Recognizer
from hanline.models.stage import Letter
from hanline.pretrained import SHIPPED
from hanline.system.parallel import available_cpus

SUFFIXES = {
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """What was read in an image.

    Attributes:
        text: empty where there is a problem.
        confidence: between 0 and 1. If the model's file was calibrated, the chance that the text is
            right; else the product of the characters' probabilities.
        problem: why the image could not be read; empty where it could.
        parts: its characters and words, if they were asked for.
        others: the next best texts with their confidences, the best first, if the search was asked
            for more than one.
    """

    text: str = ""
    confidence: float = 0.0
    problem: str = ""
    parts: Parts | None = None
    others: tuple[tuple[str, float], ...] = ()


# What an image is given as: a file's path or its bytes, or an image that is decoded already, as
# (H, W), (H, W, 3) or (H, W, 4) of uint8 or as Pillow has it.
Picture = str | Path | bytes | np.ndarray | Image.Image
# Which of the images given, its pixels (H, W, C), and the width and height of what they are of.
_Numbered = tuple[int, np.ndarray, tuple[int, int]]


class Reader:
    """Reads images, in batches, each decoded while the one before is read.

    Args:
        checkpoint: what reads: a file of ``hanline train``, or of ``hanline export`` as onnx or
            safetensors; ``shipped``, the reader that comes with Hanline; ``in-use``, or the name
            of a model of ``hanline models``; or a recognizer.
        device: ``auto`` takes a GPU if there is one; else a device of torch, such as ``cuda:1``.
        batch_size: images at a time.
        precision: ``32-true``; ``bf16-mixed``, which is faster where the hardware multiplies in
            bfloat16 and now and then reads borderline characters differently; ``int8``, which is
            faster still on a processor, for files that were exported with
            ``format.int8=true``; ``auto`` takes the fastest that is possible. ONNX models have
            their own.
        deskew: where widths follow the images, look again at lines that were read with little
            confidence, turned level and cut to their text.
        decoding: how the scores become texts; None takes the most probable character each.
        calibrated: give confidences as chances, if the file was calibrated. Else they are products
            of probabilities.

    Raises:
        HanlineError: the file cannot be opened, the device does not exist, the batch size is not
            positive, or the recognizer cannot read in 8 bits, or cannot search.
    """

    def __init__(
        self,
        checkpoint: Checkpoint = SHIPPED,
        device: str = "auto",
        batch_size: int = 64,
        precision: ReadingPrecision = "auto",
        deskew: bool = True,
        decoding: Beam | None = None,
        calibrated: bool = True,
    ) -> None:
        if batch_size < 1:
            raise HanlineError(f"batch_size is {batch_size}: a batch has at least one image")
        prepared = prepare(checkpoint, device, precision)
        self.device = prepared.device
        self.batch_size = batch_size
        self.recognizer = prepared.runnable
        self.precision = prepared.precision
        self.in_bfloat16 = prepared.in_bfloat16
        self.image_format = ImageFormat(**self.recognizer.spec["image"])
        self.deskew = deskew and self.image_format.width is None
        self._scale: ConfidenceScale | None = (
            getattr(self.recognizer, "confidence_scale", None) if calibrated else None
        )
        self.prior: Prior | None = None
        if decoding:
            if not isinstance(self.recognizer, Recognizer):
                raise HanlineError(
                    "decoding=beam: expected a checkpoint, or a file of hanline export "
                    "format=safetensors, since another runtime gives texts only. Set "
                    "decoding=greedy, or checkpoint=… to such a file"
                )
            self.prior = Prior(decoding, self.recognizer.charset)

    @overload
    def read(  # type: ignore[overload-overlap]
        self, images: Picture, parts: bool = False
    ) -> Reading: ...
    @overload
    def read(self, images: Iterable[Picture], parts: bool = False) -> list[Reading]: ...
    def read(
        self, images: Picture | Iterable[Picture], parts: bool = False
    ) -> Reading | list[Reading]:
        """Read an image, or several; of several, those of like size are read together.

        Args:
            images: one of :data:`Picture`, or several.
            parts: give each reading its :attr:`Reading.parts`.

        Raises:
            HanlineError: the model cannot say where its characters are.
            TypeError: something is not a picture. An unreadable one is a reading with a problem.
        """
        if isinstance(images, str | Path | bytes | np.ndarray | Image.Image):
            return next(self.readings([images], parts))
        return list(self.readings(images, parts))

    def readings(self, images: Iterable[Picture], parts: bool = False) -> Iterator[Reading]:
        """Read images as they come, which may be without end; one reading for each, in order.

        Where widths follow the images, 16 times ``batch_size`` of them are taken before the first
        reading is given: the more there are, the more have the same width and are read together.
        """
        if isinstance(images, (str, bytes, np.ndarray, *_NO_SERIES)) or not isinstance(
            images, Iterable
        ):
            raise TypeError(f"{_TAKES}, not {type(images).__name__}")
        if parts and not isinstance(self.recognizer, Recognizer):
            raise HanlineError(
                "parts=true: expected a checkpoint, or a file of hanline export "
                "format=safetensors, since another runtime gives texts only. Set parts=false, or "
                "checkpoint=… to such a file"
            )
        remaining = map(_checked, images)
        waiting: deque[Future[list[_Line | ImageError]]] = deque()
        size = min(_PIECE, self.batch_size)
        pieces = math.ceil(self.batch_size / size) * (1 if self.image_format.width else 8)
        pool = ThreadPoolExecutor(available_cpus())
        try:
            while True:
                # While some are read, as many are decoded.
                while len(waiting) < 2 * pieces and (piece := list(islice(remaining, size))):
                    waiting.append(pool.submit(self._decode, piece))
                if not waiting:
                    return
                together = [waiting.popleft() for _ in range(min(pieces, len(waiting)))]
                decoded = [line for some in together for line in some.result()]
                yield from self._read_batch(decoded, parts)
        finally:
            # Whoever stops does not wait for what nobody will read.
            pool.shutdown(cancel_futures=True)

    def batches(self, images: Iterable[Picture]) -> Iterator[torch.Tensor]:
        """Yield the pixels of images, uint8 (B, C, H, W), images of one width together."""
        of_width = _by_width(
            (0, line.pixels, line.size)
            for line in self._decode(list(images))
            if isinstance(line, _Line)
        )
        for like in of_width.values():
            yield from _stacked([pixels for _, pixels, _ in like]).split(self.batch_size)

    def _decode(self, images: Sequence[Picture]) -> list["_Line | ImageError"]:
        decoded: list[_Line | ImageError] = []
        for image in images:
            try:
                opened = _opened(image)
                pixels = to_pixels(opened, self.image_format)
                decoded.append(_Line(pixels, image, opened.size))
            except ImageError as error:
                decoded.append(error)
        return decoded

    def _read_batch(self, decoded: Sequence["_Line | ImageError"], parts: bool) -> list[Reading]:
        readings = [
            Reading(problem=str(line)) if isinstance(line, ImageError) else Reading()
            for line in decoded
        ]
        lines = [
            (i, line.pixels, line.size) for i, line in enumerate(decoded) if isinstance(line, _Line)
        ]
        for index, reading in self._read_lines(lines, parts):
            readings[index] = reading
        if self.deskew:
            unsure = [i for i, r in enumerate(readings) if _confidence_a_character(r) < _UNSURE]
            turned = ((i, self._straightened(decoded[i])) for i in unsure)
            level = [(i, *pixels_and_size) for i, pixels_and_size in turned if pixels_and_size]
            for index, reading in self._read_lines(level, parts):
                best = max(readings[index], reading, key=_confidence_a_character)
                if best is reading and reading.parts:
                    size = cast(_Line, decoded[index]).size
                    best = replace(reading, parts=reading.parts.stretched(size))
                readings[index] = best
        return [self._calibrated(reading) for reading in readings] if self._scale else readings

    def _calibrated(self, reading: Reading) -> Reading:
        """Return a reading whose confidence is the chance that it is right."""
        product = reading.confidence
        if reading.problem or not self._scale or not isinstance(product, Confidence):
            return reading
        chance = self._scale.chance(product.least)
        # The image says how much less probable the others are.
        others = tuple(
            (text, chance * min(1.0, sure / product) if product else 0.0)
            for text, sure in reading.others
        )
        return replace(reading, confidence=chance, others=others)

    def _straightened(
        self, line: "_Line | ImageError"
    ) -> tuple[np.ndarray, tuple[int, int]] | None:
        """Return the pixels of a line turned level, and its size.

        None if it is level already, or no image.
        """
        if isinstance(line, ImageError):
            return None
        try:
            opened = _opened(line.picture)
            if self.image_format.channels == 1:
                # It would be grey at last; so there is a third to turn.
                opened = opened.convert("L")
            level = straightened(opened)
        except ImageError:
            return None  # a file that has gone since it was read first
        return (to_pixels(level, self.image_format), level.size) if level else None

    def _read_lines(self, lines: Sequence[_Numbered], parts: bool) -> Iterator[tuple[int, Reading]]:
        """Read numbered pixels (H, W, C): those of one width in batches, like ones together."""
        for batches in self._together(_by_width(lines)):
            stacked = [
                _stacked([pixels for _, pixels, _ in batch]).to(self.device) for batch in batches
            ]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bfloat16):
                if self.prior:
                    yield from self._searched(batches, stacked, self.prior, parts)
                    continue
                if parts:
                    yield from self._with_parts(batches, stacked)
                    continue
                results = self.recognizer.read_all(stacked)
            for batch, (texts, confidences) in zip(batches, results, strict=True):
                for (number, _, _), text, confidence in zip(batch, texts, confidences, strict=True):
                    yield number, Reading(text, confidence)

    def _with_parts(
        self, batches: Sequence[Sequence[_Numbered]], stacked: Sequence[torch.Tensor]
    ) -> Iterator[tuple[int, Reading]]:
        recognizer = cast(Recognizer, self.recognizer)
        for batch, results in zip(batches, recognizer.read_letters_all(stacked), strict=True):
            for line, text, confidence, letters in zip(batch, *results, strict=True):
                yield line[0], Reading(text, confidence, "", self._parts(line, letters))

    def _searched(
        self,
        batches: Sequence[Sequence[_Numbered]],
        stacked: Sequence[torch.Tensor],
        prior: Prior,
        parts: bool,
    ) -> Iterator[tuple[int, Reading]]:
        recognizer = cast(Recognizer, self.recognizer)
        for batch, found in zip(batches, recognizer.search_all(stacked, prior), strict=True):
            for line, (best, *rest) in zip(batch, found, strict=True):
                others = tuple((other.text, other.confidence) for other in rest)
                placed = self._parts(line, best.letters) if parts else None
                yield line[0], Reading(best.text, best.confidence, "", placed, others)

    def _parts(self, line: _Numbered, letters: Sequence[Letter]) -> Parts:
        _, pixels, size = line
        width = pixels.shape[1]
        scale = width * size[0] / inner_width(size, self.image_format, width)
        delay = cast(Recognizer, self.recognizer).delay * self.image_format.height / width
        letters = [replace(letter, middle=letter.middle - delay) for letter in letters]
        return Parts(located(letters, scale, size), size=size)

    def _together(self, of_width: Mapping[int, list[_Numbered]]) -> Iterator[list[list[_Numbered]]]:
        """Batches of lines of one width, those of like widths together, narrow ones first.

        Together they have as many pixels as a batch of usual lines.
        """
        pixels = self.batch_size * self.image_format.nominal_width
        together: list[list[_Numbered]] = []
        room, narrowest = 0, 1
        for width, like in of_width.items():
            size = max(1, pixels // width)
            for start in range(0, len(like), size):
                batch = like[start : start + size]
                room -= len(batch) * width
                if together and (room < 0 or width > _LIKE * narrowest):
                    yield together
                    together = []
                if not together:
                    room, narrowest = pixels - len(batch) * width, width
                together.append(batch)
        if together:
            yield together


@dataclass(frozen=True)
class _Line:
    """A decoded image: its pixels (H, W, C), what it was given as, and its width and height.

    Few lines are looked at again, so those are opened again: all of them would fill the memory.
    """

    pixels: np.ndarray
    picture: Picture
    size: tuple[int, int]


# The most images that a thread decodes at a time.
_PIECE = 32
# A line with less confidence per character is read again, turned level.
_UNSURE = 0.93
# Widths up to this multiple of the narrowest one share a batch.
_LIKE = 1.25


def _by_width(lines: Iterable[_Numbered]) -> dict[int, list[_Numbered]]:
    """Numbered pixels (H, W, C), by W."""
    of_width: dict[int, list[_Numbered]] = {}
    for line in lines:
        of_width.setdefault(line[1].shape[1], []).append(line)
    return dict(sorted(of_width.items()))


def _confidence_a_character(reading: Reading) -> float:
    return float(reading.confidence ** (1 / len(reading.text))) if reading.text else 0.0


def _opened(image: Picture) -> Image.Image:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in _CHANNELS:
            raise ImageError(
                f"an array of {image.dtype} {image.shape}: it takes uint8 (H, W), (H, W, 1), "
                "(H, W, 3) or (H, W, 4)"
            )
        if not image.size:
            raise ImageError(f"an array of {image.shape}: it has no pixels")
        image = Image.fromarray(image.squeeze(2) if image.shape[2:] == (1,) else image)
    if isinstance(image, Image.Image):
        return open_picture(image)
    return decode_image(Path(image) if isinstance(image, str) else image)


def _checked(image: Picture) -> Picture:
    if isinstance(image, str | Path | bytes | np.ndarray | Image.Image):
        return image
    raise TypeError(f"{_TAKES}, not {type(image).__name__}")


_TAKES = (
    "expected an image: a path (str or Path), the bytes of a file, an array of uint8 or a Pillow "
    "image; or a list or another iterable of such"
)
# They give something else than images when they are iterated.
_NO_SERIES = (io.IOBase, bytearray, memoryview, Mapping, torch.Tensor, PurePath)


_CHANNELS = ((), (1,), (3,), (4,))


def _stacked(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    """B arrays (H, W, C) → (B, C, H, W)."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def image_files(place: Path) -> list[Path]:
    """Return the image files of a folder and all below it, in natural order; or the one file.

    Raises:
        HanlineError: the folder does not exist, or no image in it.
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
    """Return a key that sorts numbers in names as numbers, and letters regardless of case."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], name
