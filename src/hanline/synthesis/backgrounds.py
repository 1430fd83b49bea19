"""Render backgrounds of text in grey, without image files."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


@dataclass(frozen=True)
class Plate:
    """The columns that the text takes, from ``left`` up to ``right``."""

    left: int
    right: int


def background(
    name: str,
    shape: tuple[int, int],
    ground: float,
    text: float,
    outlined: bool,
    plate: Plate,
    rng: random.Random,
    noise: np.random.Generator,
) -> np.ndarray:
    """Draw a ground.

    Args:
        name: one of :data:`BACKGROUNDS`.
        shape: (H, W).
        ground: its shade, 0 to 255.
        text: the shade of the text, from which the ground keeps its distance everywhere.
        outlined: whether an outline does that for it, so that any shade may stand behind.
        plate: where the text is.

    Returns:
        float32 (H, W), 0 to 255.
    """
    # The limit to which the ground may go towards the text's shade.
    reach = 1.0 if outlined else 0.5
    pattern = BACKGROUNDS[name](shape, rng, noise)
    if name == "plate":
        scene = rng.uniform(0, 255) + pattern * rng.uniform(20, 120)
        opacity = rng.uniform(0.55, 1.0)
        pad = rng.randint(2, 12)
        columns = slice(max(0, plate.left - pad), plate.right + pad)
        scene[:, columns] += opacity * (ground - scene[:, columns])
        # A picture that shines through stays as far from the text as any other ground.
        limit = ground + reach * (text - ground)
        kept = np.minimum(scene, limit) if text > ground else np.maximum(scene, limit)
        scene[:, columns] = kept[:, columns]
        return scene.clip(0, 255).astype(np.float32)
    towards = text - ground
    away = (255 - ground) if towards < 0 else -ground
    share = rng.uniform(0.2, 1.0)
    picture = np.where(pattern > 0, pattern * towards * reach, -pattern * away) * share + ground
    return picture.clip(0, 255).astype(np.float32)


def _plain(shape: tuple[int, int], rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    return np.zeros(shape, dtype=np.float32)


def _gradient(shape: tuple[int, int], rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * math.pi)
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None] * math.sin(angle)
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :] * math.cos(angle)
    return (rows + columns) / (abs(math.sin(angle)) + abs(math.cos(angle)))


def _stripes(shape: tuple[int, int], rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, math.pi)
    period = shape[0] * rng.uniform(0.08, 1.5)
    rows = np.arange(shape[0], dtype=np.float32)[:, None] * math.sin(angle)
    columns = np.arange(shape[1], dtype=np.float32)[None, :] * math.cos(angle)
    waves = np.sin((rows + columns) * (2 * math.pi / period))
    return waves if rng.random() < 0.5 else np.sign(waves).astype(np.float32)


def _picture(shape: tuple[int, int], rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """Clouds of several sizes with shapes among them: −1 to 1."""
    height, width = shape
    scene = Image.new("L", (width, height), 128)
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.randint(0, 8)):
        x, y = rng.uniform(-0.1, 1) * width, rng.uniform(-0.5, 1) * height
        box = (x, y, x + rng.uniform(0.3, 6) * height, y + rng.uniform(0.1, 1.5) * height)
        kind = rng.choice([draw.rectangle, draw.ellipse])
        kind(box, fill=rng.randrange(256))
    scene = scene.filter(ImageFilter.BoxBlur(rng.uniform(0, 3)))
    picture = np.asarray(scene, dtype=np.float32) / 128 - 1
    for _ in range(rng.randint(1, 3)):
        cell = height * rng.uniform(0.05, 1.2)
        cells = (max(2, round(width / cell)), max(2, round(height / cell)))
        clouds = Image.fromarray(noise.integers(0, 256, cells[::-1], dtype=np.uint8))
        grown = clouds.resize((width, height), Image.Resampling.BICUBIC)
        picture += rng.uniform(0.2, 1) * (np.asarray(grown, dtype=np.float32) / 128 - 1)
    return (picture / max(1e-3, float(np.abs(picture).max()))).astype(np.float32)


Ground = Callable[[tuple[int, int], random.Random, np.random.Generator], np.ndarray]
BACKGROUNDS: dict[str, Ground] = {
    "plain": _plain,
    "gradient": _gradient,
    "stripes": _stripes,
    "picture": _picture,
    "plate": _picture,
}
"""By name, what makes a pattern between −1 and 1; ``plate`` is a picture under a plate."""
