"""Augmentation of stored images: the degradations of rendered lines, applied to pictures."""

import hashlib
import io
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from hanline.data.base import ENDLESS, Sample, Samples
from hanline.errors import HanlineError
from hanline.raster import open_raster

# A picture of fewer rows is not made smaller: its letters would be gone.
_FEWEST_ROWS = 16
# The least rows of a picture that is made smaller and larger again.
_LEAST_ROWS = 12


@dataclass(frozen=True)
class Augmentation:
    """What happens to stored training images; ``conf/augmentation`` explains the keys.

    Sizes stay, and so do the places of the letters.

    Raises:
        HanlineError: a value is out of range.
    """

    contrast_probability: float
    contrast: float
    invert_probability: float
    noise_probability: float
    noise: float
    blur_probability: float
    blur: float
    rescale_probability: float
    rescale: float
    jpeg_probability: float
    jpeg_quality: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= value <= 1:
                raise HanlineError(
                    f"augmentation.{field.name}={value}: expected 0 to 1. Correct it"
                )
        for name, low, high in (
            ("contrast", 0, 0.9),
            ("noise", 0, 128),
            ("blur", 0, 2),
            ("rescale", 0.1, 1),
            ("jpeg_quality", 1, 95),
        ):
            if not low <= getattr(self, name) <= high:
                raise HanlineError(
                    f"augmentation.{name}={getattr(self, name)}: expected {low} to {high}. "
                    "Correct it"
                )

    @property
    def changes(self) -> bool:
        """Whether any image is changed."""
        return any(
            getattr(self, field.name) for field in fields(self) if "_probability" in field.name
        )

    def apply(self, image: Image.Image, seed: int) -> Image.Image:
        """Return another look of an image, the same for the same seed."""
        rng = random.Random(seed)
        if rng.random() < self.contrast_probability:
            for enhance in (ImageEnhance.Contrast, ImageEnhance.Brightness):
                image = enhance(image).enhance(1 + rng.uniform(-self.contrast, self.contrast))
        if rng.random() < self.invert_probability:
            image = ImageOps.invert(image)
        if rng.random() < self.noise_probability:
            noise = np.random.default_rng(seed).standard_normal(
                (image.height, image.width), dtype=np.float32
            )
            pixels = np.asarray(image, dtype=np.float32)
            noise = noise if pixels.ndim == 2 else noise[:, :, None]
            noisy = pixels + noise * (rng.random() * self.noise)
            image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        if rng.random() < self.blur_probability:
            radius = rng.random() * self.blur * image.height / 10
            image = image.filter(ImageFilter.GaussianBlur(radius))
        if rng.random() < self.rescale_probability and image.height >= _FEWEST_ROWS:
            factor = max(rng.uniform(self.rescale, 1), _LEAST_ROWS / image.height)
            small = (max(1, round(image.width * factor)), round(image.height * factor))
            image = image.resize(small, Image.Resampling.BILINEAR).resize(
                image.size, Image.Resampling.BICUBIC
            )
        if rng.random() < self.jpeg_probability:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=rng.randint(self.jpeg_quality, 95))
            mode, image = image.mode, open_raster(file.getvalue())
            image.load()
            image = image.convert(mode)
        return image


class AugmentedSamples(Samples):
    """Samples without end: those of a stored group in a new random order each time round.

    Each time, a sample has another look. Order and look follow from the seed and the number, so a
    run is the same with any number of workers, and goes on at any sample.

    Args:
        stored: the samples, which have an end.
        augmentation: what happens to their images.
        seed: decides orders and looks.
    """

    def __init__(self, stored: Samples, augmentation: Augmentation, seed: int) -> None:
        self.stored = stored
        self.augmentation = augmentation
        self.seed = seed
        self.image_format = stored.image_format
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return ENDLESS

    def samples(self, numbers: Sequence[int]) -> list[Sample]:
        augmented = []
        for number in numbers:
            for sample in self.stored.samples([self._stored_number(number)]):
                if not isinstance(sample.image, Image.Image):
                    raise TypeError("cached pixels cannot be augmented")
                look = int.from_bytes(
                    hashlib.sha256(f"{self.seed} {number}".encode()).digest()[:8], "big"
                )
                image = self.augmentation.apply(sample.image, look)
                augmented.append(sample._replace(image=image))
        return augmented

    def aspects(self, numbers: np.ndarray | None = None) -> np.ndarray | None:
        if numbers is None:
            return None
        return self.stored.aspects(np.array([self._stored_number(int(n)) for n in numbers]))

    def describe(self) -> str:
        return f"{self.stored.describe()}; augmented"

    @property
    def damaged(self) -> int:
        return self.stored.damaged

    def label_lengths(self) -> Counter[tuple[int, int]]:
        return self.stored.label_lengths()

    def _stored_number(self, number: int) -> int:
        rounds, offset = divmod(int(number), len(self.stored))
        if self._order[0] != rounds:
            order = np.random.default_rng([self.seed, rounds]).permutation(len(self.stored))
            self._order = (rounds, order)
        return int(self._order[1][offset])
