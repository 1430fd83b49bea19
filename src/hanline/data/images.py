"""Image files into pixels: whatever the file, one grey or RGB image of the recognizer's size."""

import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from hanline.data.plain_png import decode_plain_png, is_sound_png
from hanline.errors import HanlineError
from hanline.raster import FORMATS, NO_IMAGE, open_raster
from hanline.system.regular_files import read_regular

# The errors of Pillow's decoders for damaged files; RuntimeError is AVIF's.
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    ValueError,
    MemoryError,
    OverflowError,
    struct.error,
)

_ORIENTATION = ExifTags.Base.Orientation
_WHITE_16 = 65535
# If widths follow images: the least and the greatest, as multiples of the height, and the factor
# from one width to the next.
_SHORTEST, _LONGEST, _STEP = 2, 64, 1.05


class ImageError(HanlineError):
    """An image cannot be read; the message is the reason."""


@dataclass(frozen=True)
class ImageFormat:
    """The images that a recognizer takes.

    Attributes:
        height: in pixels.
        width: in pixels; None lets it follow the image, see :meth:`bucket_width`.
        channels: 1 grey, 3 RGB.
        keep_ratio: keep the ratio of width to height and repeat the last column up to the width,
            rather than stretch the image to it.
    """

    height: int
    width: int | None
    channels: int
    keep_ratio: bool

    def __post_init__(self) -> None:
        if self.width is None and not self.keep_ratio:
            raise HanlineError(
                "image.width is null, so that lines keep their ratio: set image.keep_ratio=true too"
            )
        if min(self.height, self.width or 1) < 1:
            raise HanlineError(
                f"image.height is {self.height} and image.width is {self.width}: an image has "
                "at least one pixel"
            )
        if self.channels not in (1, 3):
            raise HanlineError(f"image.channels is {self.channels}: it is 1 (grey) or 3 (RGB)")

    def bucket_width(self, aspect: float) -> int:
        """Return the width at which an image of this ratio of width to height is recognized.

        Where it follows the image it is one of a few dozen, each a little wider than the one
        before, so that many lines have the same and share a batch without any padding: a line is
        stretched by 2.5 % at most, a short one by 5. An image shorter than two heights is extended
        to them, one longer than 64 is squeezed.
        """
        if self.width is not None:
            return self.width
        steps = round(math.log(clamp_aspect(aspect) / _SHORTEST) / math.log(_STEP))
        return 4 * round(self.height * _SHORTEST * _STEP**steps / 4)

    @property
    def nominal_width(self) -> int:
        """The width of a usual line, in pixels, by which a batch is measured."""
        return self.width or 10 * self.height


def clamp_aspect(aspect: float) -> float:
    """Limit a ratio of width to height to those that images keep if widths follow them."""
    return min(max(aspect, _SHORTEST), _LONGEST)


def decode_image(file: Path | bytes) -> Image.Image:
    """Decode an image file, as a person would see it, into mode L or RGB.

    The first frame of an animation counts; EXIF's rotation is done; 16-bit grey loses its lower 8
    bits; transparent pixels become the paper: white, or black below light text.

    Raises:
        ImageError: it cannot be read, is not an image, or is a damaged or far too large one.
    """
    content = file if isinstance(file, bytes) else _content(file)
    plain = decode_plain_png(content)
    if plain is not None:
        return plain
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on and raises from 179 on; only the error counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_raster(content) as image:
                image.load()
                return as_seen(image)
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(NO_IMAGE) from error
    except _DAMAGED as error:
        raise ImageError(f"damaged image: {error}") from error


def check_image(content: bytes) -> None:
    """See whether :func:`decode_image` decodes an image file; often in half the time.

    Raises:
        ImageError: it does not.
    """
    if not is_sound_png(content):
        decode_image(content)


def aspect_of(content: bytes) -> float:
    """Return the width of an image, as a person would see it, as a multiple of its height.

    Its pixels are not decoded.

    Raises:
        ImageError: it is not an image.
    """
    try:
        with open_raster(content) as image:
            # Asked for, an orientation that is not there would be looked for behind the pixels.
            orientation = image.getexif().get(_ORIENTATION) if "exif" in image.info else None
            lies = orientation in (5, 6, 7, 8)
            return image.height / image.width if lies else image.width / image.height
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise ImageError(f"damaged image: {error}") from error


def to_pixels(
    image: Image.Image, image_format: ImageFormat, width: int | None = None
) -> np.ndarray:
    """Resize an image of mode L or RGB bicubically, to uint8 (H, W, C).

    Args:
        width: W of the batch, if widths follow images; None takes the image's own.
    """
    mode = "L" if image_format.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    height = image_format.height
    width = width or image_format.bucket_width(image.width / image.height)
    inner = inner_width(image.size, image_format, width)
    resized = image.resize((inner, height), Image.Resampling.BICUBIC)
    # A third quicker than np.asarray.
    pixels = np.frombuffer(resized.tobytes(), dtype=np.uint8)
    pixels = pixels.reshape(height, inner, image_format.channels)
    if inner < width:
        pixels = np.concatenate([pixels, np.repeat(pixels[:, -1:], width - inner, axis=1)], axis=1)
    return pixels


def inner_width(size: tuple[int, int], image_format: ImageFormat, width: int) -> int:
    """Return how many columns of :func:`to_pixels` the picture takes; the others are padding.

    Args:
        size: width and height of the image, in pixels.
        width: the number of all columns.
    """
    natural = image_format.height * size[0] / size[1]
    if image_format.width is not None:
        return max(1, min(width, math.ceil(natural))) if image_format.keep_ratio else width
    # A line that is too short to be stretched is extended.
    short = natural < _SHORTEST * image_format.height
    return max(1, min(round(natural), width)) if short else width


def _content(file: Path) -> bytes:
    """Read the bytes of an image file.

    Pillow is never given a path: it would map an uncompressed TIFF into memory, where a file that
    is cut short meanwhile ends the process, and scrambles it if its orientation tag says that it
    lies on its side (Pillow 13.0).
    """
    try:
        return read_regular(file)
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except (OSError, ValueError) as error:  # no path may hold a NUL: ValueError
        raise ImageError(f"unreadable file: {getattr(error, 'strerror', error)}") from error


def open_picture(image: Image.Image) -> Image.Image:
    """Return an image that Pillow has opened or made, as `as_seen` does.

    Raises:
        ImageError: it is closed, damaged, of a mode that does not convert, or of a format whose
            decoder is not among those that are trusted.
    """
    # Decoding happens only now, and for an EPS it would be done by another program.
    if isinstance(image, ImageFile.ImageFile) and image.format not in (*FORMATS, "MPO"):
        raise ImageError(f"an image file of the format {image.format}: {NO_IMAGE}")
    try:
        image.load()
        return as_seen(image)
    except _DAMAGED as error:
        raise ImageError(f"damaged image: {error}") from error


def as_seen(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to L or RGB, as a person would see it.

    Raises:
        ImageError: it has no pixels, or numbers that are no shades of grey.
        ValueError: Pillow does not convert its mode.
    """
    if not image.width or not image.height:
        raise ImageError(f"an image of {image.width} × {image.height} pixels")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _in_8_bits(image)
    if image.has_transparency_data:
        return _on_paper(image.convert("RGBA"))
    return image.convert("L" if image.mode == "1" else "RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or in floating point, its range found from its values."""
    values = np.asarray(image, dtype=np.float64)
    low, high = values.min(), values.max()
    # NaN is not within any bounds.
    if not (low >= 0 and high <= _WHITE_16):
        raise ImageError(
            f"grey from {low:g} to {high:g}: expected 0 to 1 in floating point, 0 to 255 or 0 to "
            f"{_WHITE_16}"
        )
    if image.mode == "F" and high <= 1:
        values = values * 255
    # 16-bit grey comes as I;16, or as I from some files; anything else counts as 8-bit.
    elif image.mode.startswith("I;16") or high > 255:
        values = values / 257
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _on_paper(image: Image.Image) -> Image.Image:
    opacity = np.asarray(image.getchannel("A"), dtype=np.float64)
    luminance = np.asarray(image.convert("RGB").convert("L"), dtype=np.float64)
    light_text = (luminance * opacity).sum() > 127 * opacity.sum() and opacity.mean() < 128
    paper = Image.new("RGBA", image.size, "black" if light_text else "white")
    return Image.alpha_composite(paper, image).convert("RGB")
