"""The data of a run: its sources, mixed into batches.

Over 300 lines: one class, whose hooks Lightning calls and which share its sources.
"""

import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pydantic import ConfigDict
from torch.utils.data import DataLoader

from hanline.data.augmentation import Augmentation, AugmentedSamples
from hanline.data.base import ENDLESS, Batch, DataRun, Group, Samples, Source
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.mixture import MixtureDataset, SkipDamaged
from hanline.data.pixel_cache import NotCachedError, cache_pixels_of
from hanline.data.rendered_datasets import RenderedDatasets, choose_texts
from hanline.data.samplers import (
    BucketBatchSampler,
    EvalBatchSampler,
    MixtureBatchSampler,
    WidthBuckets,
)
from hanline.data.stored import StoredSource
from hanline.data.transfer import BatchLoader
from hanline.data.workers import START_METHOD, ignore_sigterm_in_worker
from hanline.errors import HanlineError
from hanline.metrics.registry import metrics
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.system.parallel import available_cpus
from hanline.text.charset import Charset
from hanline.text.corpus import Corpus

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MixedIn:
    """An entry of ``data.mix``: a dataset with its share of every training batch."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    dir: str
    share: float


@dataclass(frozen=True)
class MoreValidation:
    """An entry of ``data.more_validation``: a dataset with metrics of its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    dir: str


class TextImageData(pl.LightningDataModule):
    """Serves batches of text images; ``conf/data`` explains the keys.

    Args:
        train: makes the source of training samples from ``part`` and ``run``.
        validation: makes the source of validation samples in the same way.
        mix: datasets that have their own share of every training batch.
        image: ``height``, ``width``, ``channels`` and ``keep_ratio`` of the recognizer's images.
        charset: the characters that labels may have.
        corpus: makes the texts to render. It is called only if a source renders.
        synthesis: makes what renders. It is called only if a source renders.
        more_validation: more datasets to validate on; each has metrics of its own.
        augmentation: makes what happens to stored training images; None changes none.

    Raises:
        HanlineError: an argument is out of bounds.
    """

    def __init__(
        self,
        train: Callable[..., Source],
        validation: Callable[..., Source],
        mix: Sequence[MixedIn],
        rendered_dir: str,
        batch_size: int,
        num_workers: int | None,
        cache_pixels: bool | None,
        lowercase: bool,
        invalid_labels: Literal["skip", "error"],
        seed: int,
        max_label_length: int,
        image: dict[str, Any],
        charset: Charset,
        corpus: Callable[[], Corpus],
        synthesis: Callable[[], DatasetRenderer],
        # Runs of before it was there are resumed, too.
        more_validation: Sequence[MoreValidation] = (),
        augmentation: Callable[[], Augmentation] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise HanlineError(f"data.batch_size={batch_size}: expected 1 or more")
        if num_workers is not None and num_workers < 0:
            raise HanlineError(
                f"data.num_workers={num_workers}: expected a number of processes. 0 reads in the "
                "training process, null chooses by the CPUs"
            )
        if cache_pixels and image["width"] is None:
            raise HanlineError(
                "data.cache_pixels=true: expected a fixed image.width. If image.width is null, the "
                "width of an image is that of its batch. Set data.cache_pixels=null"
            )
        self.batch_size = batch_size
        self.num_workers = min(4, available_cpus() - 1) if num_workers is None else num_workers
        self.workers_reason = (
            "one fewer than CPUs, at most 4" if num_workers is None else "as data.num_workers says"
        )
        self.rendered_dir = rendered_dir
        self.run = DataRun(
            image_format=ImageFormat(**image),
            rules=LabelRules(charset, max_label_length, lowercase, invalid_labels),
            seed=seed,
            cache_pixels=cache_pixels,
            rendered=lambda: self.rendered,
        )
        self.image_format = self.run.image_format
        self.train = train(part="train", run=self.run)
        self.validation = validation(part="validation", run=self.run)
        more = [
            MoreValidation(**entry) if isinstance(entry, dict) else entry
            for entry in more_validation
        ]
        check_names([entry.name for entry in more])
        self.more_validation = {
            entry.name: StoredSource(entry.dir, "validation", self.run) for entry in more
        }
        self.mix = [MixedIn(**entry) if isinstance(entry, dict) else entry for entry in mix]
        check_shares(self.mix)
        self.mixed_in = [StoredSource(entry.dir, "train", self.run) for entry in self.mix]
        made = augmentation() if augmentation else None
        self.augmentation = made if made and made.changes else None
        self._make_corpus = corpus
        self._make_synthesis = synthesis
        self.train_groups: list[Group] = []
        self.validation_groups: list[Group] = []
        self.more_validation_groups: dict[str, list[Group]] = {}

    def prepare_data(self) -> None:
        """Render missing datasets, and decode the images of all. Runs once on each machine."""
        for source in self._sources:
            source.prepare()
        if not self._may_cache:
            return
        # Augmentation is of images as they are stored.
        cached = [self.validation, *self.more_validation.values()]
        cached = cached if self.augmentation else self._sources
        try:
            samples = [group.samples for source in cached for group in source.open()]
        except HanlineError:
            # setup() reports dataset errors, in every process.
            return
        automatic = self.run.cache_pixels is None
        stores = [pair for part in samples for pair in part.cacheable()]
        try:
            cache_pixels_of(stores, self.image_format, automatic)
        except NotCachedError as error:
            if not automatic:
                raise HanlineError(f"{error}. Set data.cache_pixels=false") from error
            logger.info("images are decoded in every epoch: %s", error)

    def setup(self, stage: str | None = None) -> None:
        """Open the sources. Runs in every process."""
        own = self.train.open()
        mixed_in = [source.open()[0] for source in self.mixed_in]
        self.train_groups = mix(own, mixed_in, self.mix)
        if self.augmentation:
            self.train_groups = augmented(self.train_groups, self.augmentation, self.run.seed)
        self.validation_groups = self.validation.open()
        if any(len(group.samples) >= ENDLESS for group in self.validation_groups):
            raise HanlineError(
                "data.validation: expected a source with an end. Take hanline.data.stored."
                "StoredSource, which renders a dataset if its dir is null"
            )
        self.more_validation_groups = {
            name: [group._replace(name=f"validation of {name}") for group in source.open()]
            for name, source in self.more_validation.items()
        }
        for group in self._groups:
            logger.info("%s: %s", group.name, group.samples.describe())
        if self._may_cache:
            self._use_cached_pixels()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches that are still to come in this run."""
        if not self.train_groups:
            raise RuntimeError("setup() comes before train_dataloader()")
        trainer = self._trainer()
        run: Any = {
            "steps": trainer.max_steps * trainer.accumulate_grad_batches,
            "first_step": trainer.global_step * trainer.accumulate_grad_batches,
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
        }
        taken = partial(
            MixtureBatchSampler,
            sizes=[len(group.samples) for group in self.train_groups],
            ratios=[group.weight for group in self.train_groups],
            seed=self.run.seed,
        )
        buckets = WidthBuckets(self.batch_size, self.run.seed)
        dataset = MixtureDataset([group.samples for group in self.train_groups], buckets)
        if self.image_format.width is not None:
            return self._loader(dataset, taken(batch_size=self.batch_size, **run))
        chunks = partial(taken, batch_size=buckets.chunk_size, steps=sys.maxsize)
        return self._loader(dataset, BucketBatchSampler(chunks, dataset.aspects(), buckets, **run))

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return every validation sample once; a list if there are more validation datasets."""
        if not self.validation_groups:
            raise RuntimeError("setup() comes before val_dataloader()")
        loaders = [
            self._validation_loader(groups)
            for groups in (self.validation_groups, *self.more_validation_groups.values())
        ]
        return loaders if len(loaders) > 1 else loaders[0]

    def loader_of(self, name: str) -> DataLoader[Batch]:
        """Return every sample of one of ``more_validation`` once."""
        return self._validation_loader(self.more_validation_groups[name])

    def _validation_loader(self, groups: Sequence[Group]) -> DataLoader[Batch]:
        trainer = self._trainer()
        buckets = WidthBuckets(self.batch_size, self.run.seed)
        dataset = MixtureDataset([group.samples for group in groups], buckets)
        if self.image_format.width is not None:
            widths = [self.image_format.width] * len(dataset)
        else:
            aspects = dataset.aspects()
            assert aspects is not None
            widths = [self.image_format.bucket_width(aspect) for aspect in aspects]
        batches = EvalBatchSampler(
            widths,
            self.batch_size,
            self.image_format.nominal_width,
            trainer.global_rank,
            trainer.world_size,
        )
        return self._loader(SkipDamaged(dataset), batches)

    @cached_property
    def rendered(self) -> RenderedDatasets:
        """The datasets that are rendered from the corpus."""
        synthesis = self._make_synthesis()
        texts = choose_texts(
            self._make_corpus(),
            self.run.rules.charset,
            synthesis,
            self.train.texts,
            self.validation.texts,
        )
        return RenderedDatasets(Path(self.rendered_dir), texts, synthesis)

    @property
    def damaged(self) -> int:
        """The number of damaged samples that were skipped so far, in all workers."""
        return sum(samples.damaged for samples in self._opened)

    def label_lengths(self) -> Counter[tuple[int, int]]:
        """Count all stored labels by length and number of immediate repeats."""
        return sum((samples.label_lengths() for samples in self._opened), Counter())

    @property
    def _sources(self) -> list[Source]:
        return [self.train, *self.mixed_in, self.validation, *self.more_validation.values()]

    @property
    def _groups(self) -> list[Group]:
        more = [group for groups in self.more_validation_groups.values() for group in groups]
        return [*self.train_groups, *self.validation_groups, *more]

    @property
    def _opened(self) -> list[Samples]:
        return [group.samples for group in self._groups]

    @property
    def _may_cache(self) -> bool:
        return self.run.cache_pixels is not False and self.image_format.width is not None

    def _use_cached_pixels(self) -> None:
        cached = [samples.use_cached_pixels() for samples in self._opened]
        if all(cached):
            logger.info("images: decoded already, in files *.pixels")
        elif self.run.cache_pixels:
            raise HanlineError(
                "data.cache_pixels=true: expected the cached pixels of an earlier step, but they "
                "are gone. Start again to decode the images again, or set data.cache_pixels=false"
            )

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("a loader belongs to a trainer: hand this data to one first")
        return self.trainer

    def _loader(self, dataset: Any, batches: Any) -> DataLoader[Batch]:
        return BatchLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=ignore_sigterm_in_worker,
            multiprocessing_context=START_METHOD if self.num_workers else None,
            # Without its own generator, a loader would draw from the one that the model's random
            # numbers come from, and a resumed run would draw others.
            generator=torch.Generator().manual_seed(self.run.seed),
        )


def augmented(groups: Sequence[Group], augmentation: Augmentation, seed: int) -> list[Group]:
    """Return the training groups, those of stored samples augmented."""
    return [
        group
        if len(group.samples) >= ENDLESS
        else group._replace(samples=AugmentedSamples(group.samples, augmentation, seed + place))
        for place, group in enumerate(groups)
    ]


def check_names(names: Sequence[str]) -> None:
    """Raise a HanlineError if names of ``data.more_validation`` cannot be part of a log's key."""
    for name in names:
        if not re.fullmatch(r"[\w-]+", name) or name in metrics() or names.count(name) > 1:
            raise HanlineError(
                f"data.more_validation has the name {name!r}: expected letters, digits, dashes and "
                "underscores, once, and not the name of a metric. Choose another name"
            )


def check_shares(mix: Sequence[MixedIn]) -> None:
    """Raise a HanlineError if the shares of ``data.mix`` leave nothing for the training source."""
    shares = [entry.share for entry in mix]
    if not all(math.isfinite(share) and share > 0 for share in shares) or sum(shares) >= 1:
        raise HanlineError(
            f"data.mix has the shares {shares}: expected finite numbers above 0 whose sum is below "
            "1. What they leave is the share of data.train"
        )


def mix(own: Sequence[Group], mixed_in: Sequence[Group], entries: Sequence[MixedIn]) -> list[Group]:
    """Return all training groups, each with its share of a batch as its weight.

    Args:
        own: the groups of ``data.train``, which have what the entries leave.
        mixed_in: the group of each entry.
        entries: the entries of ``data.mix``.
    """
    left = 1 - sum(entry.share for entry in entries)
    total = sum(group.weight for group in own)
    return [
        *(group._replace(weight=left * group.weight / total) for group in own),
        *(
            group._replace(name=entry.dir, weight=entry.share)
            for group, entry in zip(mixed_in, entries, strict=True)
        ),
    ]
