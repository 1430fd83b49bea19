"""Several looks in one set."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from hanline.errors import HanlineError
from hanline.synthesis.base import Renderer
from hanline.synthesis.fonts import Font


@dataclass(frozen=True)
class MixedRenderer:
    """Draws each text with one of several renderers.

    Attributes:
        renderers: the renderers, by names of one's own.
        weights: how often each is taken, by the same names, in any measure: {a: 3, b: 1} takes
            ``a`` three times out of four.
    """

    renderers: Mapping[str, Renderer]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.renderers.keys() != self.weights.keys():
            raise HanlineError(
                f"synthesis.renderer.renderers has {', '.join(self.renderers)} and weights has "
                f"{', '.join(self.weights)}: each renderer takes one weight"
            )
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise HanlineError(
                f"synthesis.renderer.weights is {dict(self.weights)}: it takes numbers of at "
                "least 0, not all of them 0"
            )

    def render(self, text: str, font: Font, seed: int) -> Image.Image:
        """See :class:`hanline.synthesis.base.Renderer`."""
        rng = random.Random(seed)
        names = sorted(self.renderers)
        (name,) = rng.choices(names, [self.weights[name] for name in names])
        return self.renderers[name].render(text, font, rng.getrandbits(64))
