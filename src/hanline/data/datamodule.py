"""The data of a run: sets that are given, or drawn from the corpus, as batches."""

import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from hanline.data.dataset import (
    Batch,
    LabelRules,
    LMDBDataset,
    Sample,
    batch_of,
    used_samples,
)
from hanline.data.images import ImageFormat
from hanline.data.lmdb_store import find_sets
from hanline.data.pixel_cache import NotKeptError, keep_ready_pixels
from hanline.data.rendered_datasets import RenderedDatasets, choose_texts
from hanline.data.samplers import (
    BucketBatchSampler,
    EvalBatchSampler,
    MixtureBatchSampler,
    WidthBuckets,
)
from hanline.data.shards import complete
from hanline.data.transfer import BatchLoader
from hanline.errors import HanlineError
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.system.parallel import available_cpus, end_with_parent
from hanline.text.charset import Charset
from hanline.text.corpus import Corpus, describe_counts

logger = logging.getLogger(__name__)


class TextImageData(pl.LightningDataModule):
    """Serves batches of text images; see ``conf/data`` for what each argument means.

    Args:
        image: ``height``, ``width``, ``channels`` and ``keep_ratio`` of the recogniser's images.
        charset: the characters that labels may have.
        corpus, synthesis: make what is drawn, and how; called only where a folder is None.
    """

    def __init__(
        self,
        train_dir: str | None,
        validation_dir: str | None,
        rendered_dir: str,
        train_samples: int | None,
        validation_samples: int | None,
        select_data: Sequence[str] | None,
        batch_ratio: Sequence[float] | None,
        total_data_usage_ratio: float,
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
    ) -> None:
        super().__init__()
        if not 0 < total_data_usage_ratio <= 1:
            raise HanlineError(
                f"data.total_data_usage_ratio is {total_data_usage_ratio}: it must lie above 0 and "
                "not above 1"
            )
        if batch_size < 1:
            raise HanlineError(f"data.batch_size is {batch_size}: a batch has at least one sample")
        if num_workers is not None and num_workers < 0:
            raise HanlineError(
                f"data.num_workers is {num_workers}: it takes a number of processes, 0 for none "
                "besides this one, or null"
            )
        self.train_dir = train_dir
        self.validation_dir = validation_dir
        self.select_data = select_data
        self.batch_ratio = batch_ratio
        self.total_data_usage_ratio = total_data_usage_ratio
        self.batch_size = batch_size
        self.num_workers = min(4, available_cpus() - 1) if num_workers is None else num_workers
        self.workers_reason = (
            "one fewer than CPUs, at most 4" if num_workers is None else "as data.num_workers says"
        )
        if cache_pixels and image["width"] is None:
            raise HanlineError(
                "data.cache_pixels=true needs an image.width: where it is null, the width of an "
                "image is that of its batch, so that its pixels are not known before"
            )
        self.cache_pixels = cache_pixels
        self.rules = LabelRules(charset, max_label_length, lowercase, invalid_labels)
        self.seed = seed
        self.image_format = ImageFormat(**image)
        self.rendered_dir = rendered_dir
        self.train_samples = train_samples
        self.validation_samples = validation_samples
        self._make_corpus = corpus
        self._make_synthesis = synthesis
        self.train_groups: list[LMDBDataset] = []
        self.validation: LMDBDataset | None = None

    def prepare_data(self) -> None:
        """Draw the sets that are not given, and decode the images of all, unless that was done.

        Runs in one process of each machine.
        """
        for part, given in self._stored_parts.items():
            if given is None:
                self.drawn.make(part)
        if not self._may_be_ready:
            return
        try:
            datasets = [self._training_set(paths) for paths in self._training_sets]
            datasets.append(self._dataset(self._validation_sets))
        except HanlineError:
            # Of what is wrong with the sets setup() tells, in every process; so nothing is decoded.
            return
        used = [(store, used_samples(store, d.usage_ratio)) for d in datasets for store in d.stores]
        unasked = self.cache_pixels is None
        try:
            keep_ready_pixels(used, self.image_format, unasked)
        except NotKeptError as error:
            if not unasked:
                raise HanlineError(f"{error}; data.cache_pixels=false does without them") from error
            logger.info("images are decoded in every epoch: %s", error)

    def setup(self, stage: str | None = None) -> None:
        """Open the sets and choose their samples. Runs in every process."""
        self.train_groups = [self._training_set(paths) for paths in self._training_sets]
        for name, group in zip(self.select_data or ["training"], self.train_groups, strict=True):
            _tell(name, group)
        self._open_validation()
        self._take_ready_pixels()

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches that are still to come in this run."""
        trainer = self._trainer()
        run: Any = {
            "steps": trainer.max_steps * trainer.accumulate_grad_batches,
            "first_step": trainer.global_step * trainer.accumulate_grad_batches,
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
        }
        sizes = [len(group) for group in self.train_groups]
        taken = partial(
            MixtureBatchSampler, sizes=sizes, ratios=self.batch_ratio or sizes, seed=self.seed
        )
        dataset = Groups(self.train_groups)
        if self.image_format.width is not None:
            return self._loader(dataset, taken(batch_size=self.batch_size, **run))
        like = WidthBuckets(self.batch_size, self.seed)
        chunks = partial(taken, batch_size=like.chunk_size, steps=sys.maxsize)
        return self._loader(dataset, BucketBatchSampler(chunks, dataset.aspects(), like, **run))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation sample once."""
        if self.validation is None:
            raise RuntimeError("setup() comes before val_dataloader()")
        trainer = self._trainer()
        if self.image_format.width is not None:
            widths = [self.image_format.width] * len(self.validation)
        else:
            widths = [self.image_format.bucket_width(a) for a in self.validation.aspects()]
        batches = EvalBatchSampler(
            widths,
            self.batch_size,
            self.image_format.nominal_width,
            trainer.global_rank,
            trainer.world_size,
        )
        return self._loader(SkipCorrupt(self.validation), batches)

    @cached_property
    def drawn(self) -> RenderedDatasets:
        """The sets that are drawn from the corpus."""
        synthesis = self._make_synthesis()
        texts = choose_texts(
            self._make_corpus(),
            self.rules.charset,
            synthesis,
            self.train_samples,
            self.validation_samples,
        )
        return RenderedDatasets(Path(self.rendered_dir), texts, synthesis)

    @property
    def damaged(self) -> int:
        """How many samples have been skipped so far because their image is damaged."""
        return sum(dataset.damaged for _, dataset in self._named_datasets())

    def label_lengths(self) -> Counter[tuple[int, int]]:
        """Those of all stored sets; see :meth:`LMDBDataset.label_lengths`."""
        shapes: Counter[tuple[int, int]] = Counter()
        for _, dataset in self._named_datasets():
            shapes += dataset.label_lengths()
        return shapes

    @property
    def _stored_parts(self) -> dict[str, str | None]:
        """The parts that are sets on disk, and where each is; None where it is drawn."""
        return {"train": self.train_dir, "validation": self.validation_dir}

    @property
    def _training_sets(self) -> list[Sequence[Path]]:
        """Those that are stored, by their groups."""
        if "train" not in self._stored_parts:
            return []
        root = Path(self.train_dir) if self.train_dir else self.drawn.path("train")
        return select_sets(root, self.select_data)

    @property
    def _validation_sets(self) -> Sequence[Path]:
        root = Path(self.validation_dir) if self.validation_dir else self.drawn.path("validation")
        return complete(root, find_sets(root))

    def _open_validation(self) -> None:
        self.validation = self._dataset(self._validation_sets)
        _tell("validation", self.validation)

    def _training_set(self, paths: Sequence[Path]) -> LMDBDataset:
        return self._dataset(paths, self.total_data_usage_ratio)

    def _dataset(self, paths: Sequence[Path], usage_ratio: float = 1.0) -> LMDBDataset:
        return LMDBDataset(paths, self.image_format, self.rules, usage_ratio)

    @property
    def _may_be_ready(self) -> bool:
        return self.cache_pixels is not False and self.image_format.width is not None

    def _take_ready_pixels(self) -> None:
        if not self._may_be_ready:
            return
        ready = 0
        # Images of several groups share a batch, in which they are all pixels or all to be decoded.
        for sharing in (self.train_groups, [self.validation] if self.validation else []):
            found = [dataset.find_ready() for dataset in sharing]
            if all(pixels is not None for pixels in found):
                for dataset, pixels in zip(sharing, found, strict=True):
                    dataset.ready = pixels or []
                    ready += 1
        if ready == len(self._named_datasets()):
            logger.info("images: decoded already, in files *.pixels")
        elif self.cache_pixels:
            raise HanlineError(
                "the ready pixels are gone: start again, and they are made again. "
                "data.cache_pixels=false does without them"
            )

    def _named_datasets(self) -> list[tuple[str, LMDBDataset]]:
        names = self.select_data or ["training"]
        named = list(zip(names, self.train_groups, strict=True)) if self.train_groups else []
        return named + ([("validation", self.validation)] if self.validation else [])

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
            multiprocessing_context=_CONTEXT if self.num_workers else None,
            # Without one of its own, a loader would draw from the generator that the model's
            # random numbers come from, and a resumed run would draw others.
            generator=torch.Generator().manual_seed(self.seed),
        )


# On Linux a worker outlasts SIGTERM by blocking it before it has a thread of its own. One that is
# not forked has threads of its libraries by then.
_CONTEXT = "fork" if sys.platform == "linux" else None


def ignore_sigterm_in_worker(worker: int) -> None:
    """Have a worker serve the step at which its run is stopped, and the validation after it.

    Ctrl-C on a terminal, and SIGTERM from systemd, SLURM or ``timeout``, come to all processes of a
    run. The first one finishes its step and saves the state, which it cannot without its workers;
    then it ends them. Only on Linux can a process tell who sent it a signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # Before any thread starts: one in which it were not blocked would get it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_for_parent, daemon=True).start()
    end_with_parent()


def _end_for_parent() -> None:
    """Heed SIGTERM from the process whose worker this is: it is how Python ends workers, too."""
    if sys.platform == "linux":
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)


class Groups(torch.utils.data.Dataset[Batch]):
    """Several data sets numbered through, whose samples share batches."""

    def __init__(self, groups: Sequence[LMDBDataset]) -> None:
        self.groups = list(groups)

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        # A wide line may be alone in its batch: if it is damaged, the next ones stand in for it.
        for shift in range(_STAND_INS):
            samples = self._samples([(i + shift) % len(self) for i in indices])
            if samples:
                break
        return batch_of(samples, self.groups[0].image_format)

    def _samples(self, indices: Sequence[int]) -> list[Sample]:
        samples: list[Sample] = []
        start = 0
        for group in self.groups:
            samples += group.samples([i - start for i in indices if 0 <= i - start < len(group)])
            start += len(group)
        return samples

    def aspects(self) -> np.ndarray:
        """The ratio of width to height that every image keeps."""
        return np.concatenate([group.aspects() for group in self.groups])


# After so many damaged images in a row, the set is no use.
_STAND_INS = 16


class SkipCorrupt(torch.utils.data.Dataset[Batch | None]):
    """A data set whose batches are None where all their images are damaged."""

    def __init__(self, dataset: LMDBDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Batch | None:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch | None:
        samples = self.dataset.samples(indices)
        return batch_of(samples, self.dataset.image_format) if samples else None


def _tell(name: str, dataset: LMDBDataset) -> None:
    logger.info("%s: %d samples; left out %s", name, len(dataset), describe_counts(dataset.unfit))


def select_sets(root: Path, select_data: Sequence[str] | None) -> list[Sequence[Path]]:
    """The LMDB sets below a folder, in groups: for each name, those whose path contains it.

    Raises:
        HanlineError: a name is in no set's path, and the message has the paths; or shards of a set
            that is selected are missing, or there twice.
    """
    paths = find_sets(root)
    if select_data is None:
        return [complete(root, paths)]
    groups = []
    for name in select_data:
        group = [path for path in paths if name in path.relative_to(root).as_posix()]
        if not group:
            listed = ", ".join(path.relative_to(root).as_posix() for path in paths)
            raise HanlineError(
                f"data.select_data names {name!r}, but no set below {root} has it in its path; "
                f"there are: {listed}"
            )
        groups.append(complete(root, group))
    return groups
