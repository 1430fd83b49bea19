"""Plain PNGs, decoded without Pillow's reader: 8-bit grey or RGB, in one piece, nothing else."""

import struct
import zlib

from PIL import Image

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# Depth, color type, compression, filter and interlacing.
_PLAIN = {b"\x08\0\0\0\0": "L", b"\x08\x02\0\0\0": "RGB"}
# Larger ones gain nothing.
_PLAIN_PIXELS = 2**20
_LAST_FILTER = 4


def decode_plain_png(content: bytes) -> Image.Image | None:
    """Decode a plain PNG; None if it is another file, or broken, so that Pillow reports why."""
    plain = _parts(content)
    if plain is None:
        return None
    mode, size, data = plain
    try:
        return Image.frombytes(mode, size, data, "zip", mode, 0)
    except ValueError:
        return None


def is_sound_png(content: bytes) -> bool:
    """Return whether :func:`decode_plain_png` decodes a file; often in half the time."""
    plain = _parts(content)
    if plain is None:
        return False
    mode, (width, height), data = plain
    # A row has a byte before its pixels that says how they are filtered.
    row = 1 + width * len(mode)
    try:
        rows = zlib.decompressobj().decompress(data, height * row + 1)
    except zlib.error:
        return False
    return len(rows) == height * row and max(rows[::row]) <= _LAST_FILTER


def _parts(content: bytes) -> tuple[str, tuple[int, int], bytes] | None:
    """Return the parts of a PNG of 8-bit grey or RGB pixels, in one piece, and nothing else.

    Of small images, Pillow's own reader takes half its time to look for what else there may be.

    Returns:
        The mode, width and height, and the compressed pixels; None if it is not plain.
    """
    mode = _PLAIN.get(content[24:29])
    length = int.from_bytes(content[33:37], "big")
    if (
        mode is None
        or content[:16] != _PNG_START
        or content[37:41] != b"IDAT"
        or content[45 + length :] != _PNG_END
        or zlib.crc32(content[12:29]).to_bytes(4, "big") != content[29:33]
    ):
        return None
    width, height = struct.unpack_from(">II", content, 16)
    if not 0 < width * height <= _PLAIN_PIXELS:
        return None
    return mode, (width, height), content[41 : 41 + length]
