"""How batches come from the processes that read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hanline.data.dataset import Batch
from hanline.errors import HanlineError


@dataclass(frozen=True)
class PipedBatch:
    """A small batch on its way from a worker, through its pipe.

    A tensor would go through shared memory, which copies less, but for whose handle both processes
    have to answer each other several times: a tenth of the time of a batch of words.

    Attributes:
        pixels: uint8 (B, H, W, C).
        labels: B texts.
    """

    pixels: np.ndarray
    labels: list[str]

    def open(self) -> Batch:
        """The batch."""
        return Batch(torch.from_numpy(self.pixels).permute(0, 3, 1, 2), self.labels)

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU can fetch from; torch's loader asks for it."""
        pinned = torch.from_numpy(self.pixels).pin_memory()
        return Batch(pinned.permute(0, 3, 1, 2), self.labels)


class BatchLoader(DataLoader[Batch]):
    """A loader of data sets whose items are batches.

    A batch that is None, since all its images are damaged, is passed over.

    Raises:
        HanlineError: all of them are.
    """

    def __init__(self, dataset: Dataset[Any], **options: Any) -> None:
        super().__init__(dataset, collate_fn=_pack, **options)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        sound = passed_over = 0
        parcels: Iterator[Any] = super().__iter__()
        for parcel in parcels:
            if parcel is None:
                passed_over += 1
            else:
                sound += 1
                # Large or pinned, it is open already.
                yield parcel.open() if isinstance(parcel, PipedBatch) else parcel
        if passed_over and not sound:
            raise HanlineError("every image of the set is damaged; the warnings above name them")


# Batches of so many bytes go through the pipe; for larger ones shared memory is faster.
_PIPED = 3 * 2**18


def _pack(batch: Any) -> PipedBatch | Batch | None:
    """The collation of what is a batch already."""
    if batch is None or batch.images.nbytes > _PIPED:
        return cast(Batch | None, batch)
    return PipedBatch(batch.images.permute(0, 2, 3, 1).numpy(), batch.labels)
