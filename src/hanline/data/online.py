"""Lines that are rendered as they are needed, never the same twice."""

from collections.abc import Mapping, Sequence

import numpy as np

from hanline.data.base import ENDLESS, DataRun, Group, Part, Sample, Samples, Source
from hanline.data.images import ImageFormat, clamp_aspect
from hanline.data.labels import LabelRules
from hanline.synthesis.dataset_renderer import DatasetRenderer, RenderTask
from hanline.text.character_stats import count_classes
from hanline.text.text_generator import TextGenerator

# This many lines show how often each class of character comes.
_COUNTED = 2000


class OnlineSource(Source):
    """Lines without end, rendered by the workers; ``conf/data/online.yaml`` explains the keys.

    A line has as many words as a text of the corpus.

    Args:
        texts: the share of each kind of word.
        part, run: as :class:`~hanline.data.base.Source` has them.
    """

    def __init__(self, texts: Mapping[str, float], part: Part, run: DataRun) -> None:
        super().__init__(part, run)
        self.weights = texts

    def prepare(self) -> None:
        """Do nothing: a line exists only in its batch."""

    def open(self) -> list[Group]:
        rendered = self.run.rendered()
        texts = TextGenerator(
            rendered.texts.train_words,
            self.run.rules.charset,
            rendered.synthesis.fonts.can_draw,
            self.weights,
            rendered.texts.min_words,
            rendered.texts.max_words,
            self.run.rules.max_length,
            self.run.seed,
        )
        lines = OnlineLines(texts, rendered.synthesis, self.run.rules, self.run.image_format)
        return [Group("training" if self.part == "train" else self.part, lines, 1.0)]


class OnlineLines(Samples):
    """The lines of a run, by number.

    Args:
        texts: the texts to render.
        synthesis: renders it.
        rules: what a text is as a label.
        image_format: what the images become.
    """

    def __init__(
        self,
        texts: TextGenerator,
        synthesis: DatasetRenderer,
        rules: LabelRules,
        image_format: ImageFormat,
    ) -> None:
        self.texts = texts
        self.synthesis = synthesis
        self.rules = rules
        self.image_format = image_format

    def __len__(self) -> int:
        return ENDLESS

    def describe(self) -> str:
        counts = count_classes(map(self.texts.text, range(_COUNTED)))
        shares = {name: 100 * count / sum(counts.values()) for name, count in counts.items()}
        listed = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
        return f"lines without end, whose characters are {listed}"

    def samples(self, numbers: Sequence[int]) -> list[Sample]:
        return [self._sample(self.task(number)) for number in numbers]

    def aspects(self, numbers: np.ndarray | None = None) -> np.ndarray | None:
        """Return width / height of some lines, without rendering them."""
        if numbers is None:
            return None
        aspects = (self.synthesis.aspect(self.task(number)) for number in numbers.tolist())
        return np.array([clamp_aspect(aspect) for aspect in aspects])

    def _sample(self, task: RenderTask) -> Sample:
        rendering = self.synthesis.rendering(task)
        label = self.rules.apply(task.text)
        # In lower case, a few characters become two.
        known = len(label) == len(task.text)
        return Sample(rendering.image, label, rendering.positions if known else None)

    def task(self, number: int) -> RenderTask:
        """Return the sample rendered for a number."""
        return self.synthesis.task(self.texts.text(number), number)
