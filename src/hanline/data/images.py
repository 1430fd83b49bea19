"""Image files into pixels: whatever the file, one grey or RGB picture of the recogniser's size."""

import io
import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hanline.errors import HanlineError

# What Pillow's decoders raise for damaged files; RuntimeError is AVIF's.
_DAMAGED = (
    *(OSError, EOFError, RuntimeError, SyntaxError, ValueError),
    *(MemoryError, OverflowError, struct.error),
)


class ImageError(HanlineError):
    """An image cannot be read; the message is the reason."""


@dataclass(frozen=True)
class ImageFormat:
    """What a recogniser takes.

    Attributes:
        height, width: in pixels.
        channels: 1 grey, 3 RGB.
        keep_ratio: keep the ratio of width to height and repeat the last column up to the width,
            rather than stretch the image to it.
    """

    height: int
    width: int
    channels: int
    keep_ratio: bool

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise HanlineError(
                f"image.height is {self.height} and image.width is {self.width}: an image has "
                "at least one pixel"
            )
        if self.channels not in (1, 3):
            raise HanlineError(f"image.channels is {self.channels}: it is 1 (grey) or 3 (RGB)")


def decode_image(file: Path | bytes) -> Image.Image:
    """Decode an image file, as a person would see it, into mode L or RGB.

    The first frame of an animation counts; EXIF's rotation is done; 16-bit grey loses its lower 8
    bits; what is transparent becomes the paper: white, or black below light text.

    Raises:
        ImageError: it cannot be read, is no image, or a damaged or far too large one.
    """
    content = file if isinstance(file, bytes) else _content(file)
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on and refuses from 179 on; the latter is told below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                return _as_seen(image)
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError("no image, or of a format that Pillow does not know") from error
    except _DAMAGED as error:
        raise ImageError(f"damaged image: {error}") from error


def to_pixels(image: Image.Image, image_format: ImageFormat) -> np.ndarray:
    """An image of mode L or RGB → uint8 (H, W, C), resized bicubically."""
    image = image.convert("L" if image_format.channels == 1 else "RGB")
    height, width = image_format.height, image_format.width
    if image_format.keep_ratio:
        width = max(1, min(width, math.ceil(height * image.width / image.height)))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    if width < image_format.width:
        missing = image_format.width - width
        pixels = np.concatenate([pixels, np.repeat(pixels[:, -1:], missing, axis=1)], axis=1)
    return pixels.reshape(height, image_format.width, image_format.channels)


def _content(file: Path) -> bytes:
    """The bytes of an image file.

    Pillow is never given a path: it would map an uncompressed TIFF into memory, where a file that
    is cut short meanwhile ends the process, and scrambles it if its orientation tag says that it
    lies on its side (Pillow 13.0).
    """
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except OSError as error:
        raise ImageError(f"unreadable file: {error.strerror}") from error


def _as_seen(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        # 16-bit grey comes as I;16, or as I from some files; anything else counts as 8-bit.
        scale = 257 if image.mode.startswith("I;16") or values.max() > 255 else 1
        return Image.fromarray((values / scale).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        return _on_paper(image.convert("RGBA"))
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_paper(image: Image.Image) -> Image.Image:
    opacity = np.asarray(image.getchannel("A"), dtype=np.float64)
    luminance = np.asarray(image.convert("RGB").convert("L"), dtype=np.float64)
    light_text = (luminance * opacity).sum() > 127 * opacity.sum() and opacity.mean() < 128
    paper = Image.new("RGBA", image.size, "black" if light_text else "white")
    return Image.alpha_composite(paper, image).convert("RGB")
