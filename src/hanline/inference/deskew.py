"""Lines that rise or fall, or stand small in their image: turned level and cut to their text."""

import math

import numpy as np
from PIL import Image

# Degrees that are tried, and how finely at last.
_WIDEST_TURN, _COARSE, _FINE = 12.0, 0.75, 0.15
# A line is left unchanged if it is level to within this, in degrees, and takes this share of the
# height: there is nothing to gain.
_LEVEL, _FULL = 0.5, 0.8
# Rows with less than this share of the ink of the fullest row are not text.
_FAINT = 0.06
# Pixels of height at which a line is looked at, and to which a smaller one is enlarged.
_LOOKED_AT = 48
_EDGES, _FEW_EDGES = 4000, 1000
# Pixels of height beyond which a line shows no more.
_TALL = 96


def straightened(image: Image.Image) -> Image.Image | None:
    """Return a line turned level and cut to its text.

    How far it is turned follows from where its edges are: the rows of a level line are either full
    of them or empty.

    Args:
        image: one line of text, of mode ``L`` or ``RGB``; of a higher one no more than 96 rows of
            pixels are taken.

    Returns:
        An image of the same mode; None where the line is level and fills its image already.
    """
    width = max(2, round(image.width * _LOOKED_AT / image.height))
    if image.height < 4 or width > 100 * _LOOKED_AT:
        return None
    small = image.convert("L").resize((width, _LOOKED_AT), Image.Resampling.BILINEAR)
    edges = _edges(np.asarray(small, dtype=np.float32))
    rows, columns = np.nonzero(edges)
    if rows.size < 20:
        return None
    # A few thousand of them give the same angle as all; the coarse search needs fewer.
    some = slice(None, None, -(-rows.size // _EDGES))
    rows, columns = rows[some], columns[some]
    weights = edges[rows, columns].astype(np.float64)
    x, y = (columns - width / 2).astype(np.float32), (rows - _LOOKED_AT / 2).astype(np.float32)
    few = slice(None, None, -(-rows.size // _FEW_EDGES))
    turns = np.arange(-_WIDEST_TURN, _WIDEST_TURN + 0.1, _COARSE)
    angle = _best_angle(x[few], y[few], weights[few], turns)
    turns = np.arange(angle - _COARSE, angle + _COARSE + 0.01, _FINE)
    angle = _best_angle(x, y, weights, turns)
    if abs(angle) < _LEVEL:
        angle = 0.0
    profile, first = _profile(x, y, weights, angle)
    full = np.flatnonzero(profile > _FAINT * profile.max())
    top, bottom = first + full[0] - 1.5, first + full[-1] + 2.5
    if angle == 0 and bottom - top > _FULL * _LOOKED_AT:
        return None
    line = _thumbnail(image)
    scale = _LOOKED_AT / line.height
    return _cut(line, angle, top / scale, bottom / scale)


def _thumbnail(image: Image.Image) -> Image.Image:
    if image.height <= _TALL:
        return image
    return image.resize((max(1, round(image.width * _TALL / image.height)), _TALL))


def _edges(pixels: np.ndarray) -> np.ndarray:
    """How steep each pixel is, without the hardly steep ones."""
    edges = np.zeros_like(pixels)
    edges[1:-1, 1:-1] = np.abs(pixels[2:, 1:-1] - pixels[:-2, 1:-1]) + np.abs(
        pixels[1:-1, 2:] - pixels[1:-1, :-2]
    )
    edges[edges < 0.25 * np.percentile(edges, 98)] = 0
    return edges


def _best_angle(x: np.ndarray, y: np.ndarray, weights: np.ndarray, angles: np.ndarray) -> float:
    """Return the angle, in degrees, at which the rows differ most in how many edges they have."""
    sharpness = [float((_profile(x, y, weights, angle)[0] ** 2).sum()) for angle in angles]
    return float(angles[int(np.argmax(sharpness))])


def _profile(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, angle: float
) -> tuple[np.ndarray, int]:
    """Count the edges in each row of the turned image; also return the first row's offset."""
    radians = math.radians(angle)
    cos, sin = np.float32(math.cos(radians)), np.float32(math.sin(radians))
    turned = y * cos - x * sin
    first = math.floor(turned.min())
    turned -= first
    # Nothing is below zero, where to cut and to round down would differ.
    return np.bincount(turned.astype(np.intp), weights), first


def _cut(image: Image.Image, angle: float, top: float, bottom: float) -> Image.Image:
    """Return the rows ``top`` to ``bottom``, from the middle, of the image turned by ``angle``."""
    # A line that takes few pixels is enlarged while it is turned, not afterwards.
    zoom = max(1.0, _LOOKED_AT / (bottom - top))
    radians = math.radians(angle)
    cos, sin = math.cos(radians), math.sin(radians)
    width = image.width * abs(cos) + (bottom - top) * abs(sin)
    size = (max(1, round(width * zoom)), max(1, round((bottom - top) * zoom)))
    # For each pixel of the result, where it lies in the image.
    left = -width / 2
    matrix = (
        cos / zoom,
        -sin / zoom,
        cos * left - sin * top + image.width / 2,
        sin / zoom,
        cos / zoom,
        sin * left + cos * top + image.height / 2,
    )
    # What comes in from outside goes on as the edge of the image is.
    pad = math.ceil(abs(sin) * image.width / 2 + max(abs(top), abs(bottom))) + 2
    padded = np.pad(
        np.asarray(image),
        ((pad, pad), (pad, pad)) + ((0, 0),) * (len(image.getbands()) > 1),
        mode="edge",
    )
    a, b, c, d, e, f = matrix
    return Image.fromarray(padded).transform(
        size, Image.Transform.AFFINE, (a, b, c + pad, d, e, f + pad), Image.Resampling.BICUBIC
    )
