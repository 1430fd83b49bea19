"""The share of a training's time in which the device waits for data: a callback of `hanline train`.

PYTHONPATH=benchmarks hanline train ++callbacks.waiting._target_=waiting.Waiting
++callbacks.waiting.file=FILE ++callbacks.waiting.skip=20
"""

import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from hanline.data.base import Batch
from hanline.system.files import write_text


class Waiting(pl.Callback):
    """Measure a training, and write what was measured as JSON when it ends.

    Between the end of a step and the start of the next one, the loop fetches a batch. On a GPU both
    moments are events in its stream. So the time between them is that in which the GPU has nothing
    to do, or receives the batch; time in which only the host waits does not count.

    Args:
        file: gets ``images_per_second`` over all devices, ``waiting``, a share between
            0 and 1, ``steps``, how many were measured, ``devices``, and ``precision``.
        skip: steps at the beginning that do not count: workers start, and algorithms are chosen.
    """

    def __init__(self, file: str, skip: int) -> None:
        self.file = Path(file)
        self.skip = skip
        self._moments: list[tuple[Any, Any]] = []
        self._images = 0
        self._start: Any = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note when a step starts."""
        self._start = moment(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note when a step ends."""
        if batch_idx < self.skip:
            return
        self._moments.append((self._start, moment(pl_module.device)))
        # The first step only starts the clock.
        if len(self._moments) > 1:
            self._images += len(batch.labels) * trainer.world_size

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file."""
        if not trainer.is_global_zero or len(self._moments) < 2:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        ends_and_starts = zip(self._moments, self._moments[1:], strict=False)
        waited = sum(seconds(end, start) for (_, end), (start, _) in ends_and_starts)
        whole = seconds(self._moments[0][1], self._moments[-1][1])
        measured = {
            "images_per_second": self._images / whole,
            "waiting": waited / whole,
            "steps": len(self._moments) - 1,
            "devices": trainer.world_size,
            "precision": str(trainer.precision),
        }
        write_text(self.file, json.dumps(measured))


def moment(device: torch.device) -> Any:
    """Return now, as the device's stream meets it, for :func:`seconds`."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def seconds(start: Any, end: Any) -> float:
    """Return the seconds from one moment to another; both have passed."""
    if isinstance(start, float):
        return float(end - start)
    return float(start.elapsed_time(end)) / 1000
