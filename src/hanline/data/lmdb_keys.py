"""The keys of an LMDB dataset.

They are DTRB's: ``num-samples`` holds the count as decimal text, ``image-%09d`` the bytes of an
image file and ``label-%09d`` its UTF-8 label, numbered from 1. Hanline adds two that other readers
ignore:

- ``position-%09d``: left and right of each character as shares of the image's width, float16
  (N, 2), little-endian, NaN if unknown.
- ``checksum-%09d``: the CRC32 of image, label and positions, each begun with the sample's number,
  as three uint32, little-endian. Under number 0 it is that of the count.

The functions below count samples from 0.
"""

import zlib

COUNT = b"num-samples"
CHECKSUMS = "checksums"
"""The key of ``provenance.json`` that says that there are checksums."""


def image_key(number: int) -> bytes:
    """Return the key of a sample's image; samples count from 0."""
    return b"image-%09d" % (number + 1)


def label_key(number: int) -> bytes:
    """Return the key of a sample's label."""
    return b"label-%09d" % (number + 1)


def position_key(number: int) -> bytes:
    """Return the key of a sample's positions."""
    return b"position-%09d" % (number + 1)


def checksum_key(number: int) -> bytes:
    """Return the key of a sample's checksums; −1 is for the number of samples."""
    return b"checksum-%09d" % (number + 1)


def checksum_of(value: bytes, number: int) -> bytes:
    """Return the checksum of one value of a sample: 4 bytes."""
    return zlib.crc32(value, number + 1).to_bytes(4, "little")
