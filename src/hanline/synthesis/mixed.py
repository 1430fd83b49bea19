"""Several styles in one dataset."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from hanline.errors import HanlineError
from hanline.synthesis.base import Renderer, Rendering
from hanline.synthesis.fonts import Font


@dataclass(frozen=True)
class MixedRenderer(Renderer):
    """Render each text with one of several renderers.

    Attributes:
        renderers: the renderers, by names that the user chooses.
        weights: how often each is taken, by the same names. Only their ratios matter: {a: 3, b: 1}
            takes ``a`` three times of four.
    """

    version: ClassVar[int] = 1

    renderers: Mapping[str, Renderer]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.renderers.keys() != self.weights.keys():
            raise HanlineError(
                f"renderer.weights={dict(self.weights)}: expected a weight for each of "
                f"{', '.join(self.renderers)}. Name the same renderers in both"
            )
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise HanlineError(
                f"renderer.weights={dict(self.weights)}: expected numbers from 0, one of them "
                "above 0. Raise the weight of one renderer"
            )

    def draw(self, text: str, font: Font, seed: int) -> Rendering:
        """See :class:`hanline.synthesis.base.Renderer`."""
        renderer, seed = self._choose(seed)
        return renderer.draw(text, font, seed)

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """See :class:`hanline.synthesis.base.Renderer`."""
        renderer, seed = self._choose(seed)
        return renderer.render(text, font, seed)

    def aspect(self, text: str, font: Font, seed: int) -> float:
        """See :class:`hanline.synthesis.base.Renderer`."""
        renderer, seed = self._choose(seed)
        return renderer.aspect(text, font, seed)

    def _choose(self, seed: int) -> tuple[Renderer, int]:
        """Return the renderer that a seed chooses, and the seed for it."""
        rng = random.Random(seed)
        names = sorted(self.renderers)
        (name,) = rng.choices(names, [self.weights[name] for name in names])
        return self.renderers[name], rng.getrandbits(64)
