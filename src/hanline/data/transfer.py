"""The transfer of batches from the processes that read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hanline.data.base import Batch
from hanline.errors import HanlineError

# Larger batches go through shared memory, which is faster for them.
_PIPED_BYTES = 3 * 2**18


class BatchLoader(DataLoader[Batch]):
    """A loader of datasets whose items are batches.

    A batch that is None, since all its images are damaged, is passed over.

    Raises:
        HanlineError: all batches are None, or a worker was killed.
    """

    def __init__(self, dataset: Dataset[Any], **options: Any) -> None:
        super().__init__(dataset, collate_fn=_pack, **options)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        any_batch = passed_over = False
        batches: Iterator[Any] = super().__iter__()
        while True:
            try:
                packed = next(batches)
            except StopIteration:
                break
            if packed is None:
                passed_over = True
            else:
                any_batch = True
                # A large or pinned batch is open already.
                yield packed.open() if isinstance(packed, PipedBatch) else packed
        if passed_over and not any_batch:
            raise HanlineError("every image of the dataset is damaged: the warnings name them")


@dataclass(frozen=True)
class PipedBatch:
    """A small batch on its way from a worker, through its pipe.

    A tensor would go through shared memory. That copies less, but both processes have to answer
    each other several times for its handle: a tenth of the time of a batch of words.

    Attributes:
        pixels: uint8 (B, H, W, C).
        labels: B texts.
        positions: as :class:`~hanline.data.base.Batch` has them.
    """

    pixels: np.ndarray
    labels: list[str]
    positions: list[np.ndarray | None] | None

    def open(self) -> Batch:
        """Return the batch."""
        return self._batch(torch.from_numpy(self.pixels))

    def pin_memory(self) -> Batch:
        """Return the batch in memory that a GPU can fetch from; torch's loader asks for it."""
        return self._batch(torch.from_numpy(self.pixels).pin_memory())

    def _batch(self, pixels: torch.Tensor) -> Batch:
        return Batch(pixels.permute(0, 3, 1, 2), self.labels, self.positions)


def _pack(batch: Any) -> PipedBatch | Batch | None:
    """Collate samples that are a batch already."""
    if batch is None or batch.images.nbytes > _PIPED_BYTES:
        return cast(Batch | None, batch)
    pixels = batch.images.permute(0, 2, 3, 1).numpy()
    return PipedBatch(pixels, batch.labels, batch.positions)
