"""Training without a stored set: lines that are drawn as they are needed, never the same twice."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hanline.data.datamodule import TextImageData
from hanline.data.dataset import Batch, LabelRules, batch_of
from hanline.data.images import ImageFormat, clamp_aspect
from hanline.data.samplers import WidthBuckets
from hanline.synthesis.dataset_renderer import DatasetRenderer, RenderTask
from hanline.text.character_stats import count_classes
from hanline.text.text_generator import TextGenerator

logger = logging.getLogger(__name__)


class OnlineData(TextImageData):
    """Draws the training lines in the workers; validation is a set, as elsewhere.

    Args:
        texts: how much of the words is of which kind; see ``conf/data/online.yaml``.
        kwargs: what :class:`~hanline.data.datamodule.TextImageData` takes.
    """

    def __init__(self, texts: Mapping[str, float], **kwargs: Any) -> None:
        super().__init__(
            train_dir=None,
            train_samples=1,
            select_data=None,
            batch_ratio=None,
            total_data_usage_ratio=1.0,
            **kwargs,
        )
        self.weights = texts

    @property
    def _stored_parts(self) -> dict[str, str | None]:
        return {"validation": self.validation_dir}

    def setup(self, stage: str | None = None) -> None:
        """Open the validation set, and tell what will be drawn. Runs in every process."""
        self._open_validation()
        self._take_ready_pixels()
        counts = count_classes(map(self.endless.texts.text, range(_TOLD)))
        shares = {name: 100 * count / sum(counts.values()) for name, count in counts.items()}
        logger.info(
            "training: lines without end, whose characters are %s",
            ", ".join(f"{name} {share:.1f} %" for name, share in shares.items()),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches that are still to come in this run."""
        trainer = self._trainer()
        batches = StepSampler(
            steps=trainer.max_steps * trainer.accumulate_grad_batches,
            first_step=trainer.global_step * trainer.accumulate_grad_batches,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        return self._loader(self.endless, batches)

    @cached_property
    def endless(self) -> "EndlessLines":
        """The lines of the run."""
        look = self.drawn.synthesis
        texts = TextGenerator(
            self.drawn.texts.train_words,
            self.rules.charset,
            look.fonts.can_draw,
            self.weights,
            self.drawn.texts.min_words,
            self.drawn.texts.max_words,
            self.rules.max_length,
            self.seed,
        )
        like = WidthBuckets(self.batch_size, self.seed)
        return EndlessLines(texts, look, like, self.rules, self.image_format)


# As many lines tell how often each class of character is drawn.
_TOLD = 2000


class EndlessLines(Dataset[Batch]):
    """The lines of a run; a number is a batch.

    Args:
        texts: what is drawn.
        synthesis: how.
        like: which lines share a batch, where widths follow the images; else a batch has lines as
            they come.
        rules: what becomes of a text as a label.
        image_format: what the images become.
    """

    def __init__(
        self,
        texts: TextGenerator,
        synthesis: DatasetRenderer,
        like: WidthBuckets,
        rules: LabelRules,
        image_format: ImageFormat,
    ) -> None:
        self.texts = texts
        self.synthesis = synthesis
        self.like = like
        self.rules = rules
        self.image_format = image_format
        # The chunks whose batches take turns, cut.
        self._cut: dict[int, list[list[RenderTask]]] = {}

    def __getitem__(self, batch: int) -> Batch:
        return batch_of(list(self.lines(batch)), self.image_format)

    def __getitems__(self, batches: Sequence[int]) -> Batch:
        (batch,) = batches
        return self[batch]

    def lines(self, batch: int) -> Iterator[tuple[Image.Image, str]]:
        """The lines of a batch, drawn, with their labels."""
        for task in self.tasks(batch):
            yield self.synthesis.picture(task), self.rules.apply(task.text)

    def tasks(self, batch: int) -> list[RenderTask]:
        """What is drawn for a batch."""
        if self.image_format.width is not None:
            size = self.like.batch_size
            return [self._task(number) for number in range(batch * size, (batch + 1) * size)]
        chunk, group = self.like.place(batch)
        if chunk not in self._cut:
            while len(self._cut) >= self.like.CHUNKS_AT_A_TIME:
                self._cut.pop(min(self._cut))
            first = chunk * self.like.chunk_size
            tasks = [self._task(first + i) for i in range(self.like.chunk_size)]
            widths = [clamp_aspect(self.synthesis.aspect(task)) for task in tasks]
            self._cut[chunk] = [
                [tasks[place] for place in places] for places in self.like.cut(chunk, widths)
            ]
        return self._cut[chunk][group]

    def _task(self, number: int) -> RenderTask:
        return self.synthesis.task(self.texts.text(number), number)


class StepSampler:
    """Number a device's batches, as :class:`~hanline.data.samplers.MixtureBatchSampler` does."""

    def __init__(self, steps: int, first_step: int, rank: int, world_size: int) -> None:
        self.steps = steps
        self.first_step = first_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            yield [step * self.world_size + self.rank]
