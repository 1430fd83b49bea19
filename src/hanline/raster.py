"""Image files opened by decoders that are named here, whatever the files claim to be."""

import io

from PIL import Image

# Pillow chooses a decoder by a file's content, and knows some forty. EPS starts Ghostscript on the
# file, WMF hands it to the system, and others are seldom used and little tested.
# Those that Pillow has ready stand first.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000")
NO_IMAGE = "no image of a known format (JPEG, PNG, BMP, WebP, TIFF, GIF, AVIF, JPEG 2000, PNM)"


def open_raster(content: bytes) -> Image.Image:
    """Return the image of a file's content, its pixels not decoded yet.

    Raises:
        PIL.UnidentifiedImageError: it is none of `FORMATS`.
        OSError, ValueError, SyntaxError: it is damaged, in one of the ways of its decoder.
    """
    return Image.open(io.BytesIO(content), formats=FORMATS)
