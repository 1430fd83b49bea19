"""All metrics of a validation, summed so that several devices give the values that one would."""

from collections.abc import Sequence
from typing import Any

import torch
import torchmetrics
from torch import Tensor

from hanline.metrics.base import Readings
from hanline.metrics.registry import metrics

# Readings are summed in groups of this size: summing costs more than comparing 192 of them.
CHUNK = 8192


class ValidationMetrics(torchmetrics.Metric):
    """Every metric of :func:`hanline.metrics.registry.metrics`.

    A metric's sums are one state, an int64 vector that is added over devices.
    """

    full_state_update = False
    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.walked = metrics()
        self.add_state("samples", _zeros(1), dist_reduce_fx="sum")
        for name, metric in self.walked.items():
            self.add_state(f"{name}_sums", _zeros(len(metric.sums)), dist_reduce_fx="sum")
        self._clear()

    def update(
        self, labels: Sequence[str], texts: Sequence[str], losses: Tensor, counts: Tensor
    ) -> None:
        """Add a batch of B labels and what was read.

        Args:
            labels, texts: B each.
            losses, counts: (B,) each, as :meth:`Prediction.losses` gives them.
        """
        if len(labels) != len(texts):
            raise ValueError(f"{len(labels)} labels, but {len(texts)} readings")
        # Where `+=` sets an attribute, a module takes microseconds.
        self._labels.extend(labels)
        self._texts.extend(texts)
        self._losses.append(losses.detach())
        self._counts.append(counts)
        if len(self._labels) >= CHUNK:
            self._sum_up()

    def forward(self, *batch: Any) -> Any:
        """Add a batch, and return the values of it alone."""
        self._sum_up()
        return super().forward(*batch)

    def sync(self, *how: Any, **named: Any) -> None:
        """Add up the sums of all devices; also comes before compute() if there is one device."""
        self._sum_up()
        super().sync(*how, **named)

    def reset(self) -> None:
        """Forget all readings."""
        self._clear()
        super().reset()

    def compute(self) -> dict[str, float]:
        """Return each metric's value by name, and ``samples``, how many readings there were."""
        values = {"samples": float(self.samples)}
        for name, metric in self.walked.items():
            sums = getattr(self, f"{name}_sums").tolist()
            values[name] = metric.value(dict(zip(metric.sums, sums, strict=True)))
        return values

    def _clear(self) -> None:
        self._labels: list[str] = []
        self._texts: list[str] = []
        self._losses: list[Tensor] = []
        self._counts: list[Tensor] = []

    def _sum_up(self) -> None:
        """Add the readings since the last time to the sums."""
        if not self._labels:
            return
        readings = Readings(
            self._labels,
            self._texts,
            torch.cat(self._losses).float().cpu().numpy(),
            torch.cat(self._counts).cpu().numpy(),
        )
        self.samples += len(readings)
        for name, metric in self.walked.items():
            state: Tensor = getattr(self, f"{name}_sums")
            state += torch.tensor(metric.add(readings), device=state.device)
        self._clear()


def _zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)
