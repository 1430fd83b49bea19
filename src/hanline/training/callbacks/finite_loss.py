"""The choice between stopping and skipping steps if the loss is not finite."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from hanline.data.base import Batch
from hanline.errors import HanlineError
from hanline.training.callbacks.last_checkpoint import LastCheckpoint
from hanline.training.errors import TrainingDivergedError

logger = logging.getLogger(__name__)
SHOWN = 5


@dataclass(frozen=True)
class Trained:
    """A batch that was trained: its step, its labels, their losses (B,) and the mean."""

    step: int
    labels: list[str]
    label_losses: Tensor
    loss: Tensor


class FiniteLoss(pl.Callback):
    """Stop a training that diverges, or leave out the steps in which it would.

    Args:
        action: ``stop`` ends the run with a message; ``skip`` leaves out a step whose gradient
            is not finite, with a warning.
        every: with ``stop``, steps between two looks. Each look makes the host wait for a GPU.
        most_skipped: with ``skip``, how many steps in a row are left out before the run ends.

    Raises:
        HanlineError: a number is below 1.
    """

    def __init__(self, action: Literal["stop", "skip"], every: int, most_skipped: int) -> None:
        for key, value in (("every", every), ("most_skipped", most_skipped)):
            if value < 1:
                raise HanlineError(f"callbacks.finite_loss.{key}={value}: expected at least 1")
        self.action = action
        self.every = every
        self.most_skipped = most_skipped
        self._recent: list[Trained] = []
        self._skipping = False
        self._skipped_in_a_row = 0
        self._buffers: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Keep the buffers as they are before a step that may be left out."""
        if self.action == "skip" and batch_idx % trainer.accumulate_grad_batches == 0:
            self._buffers = [buffer.clone() for buffer in pl_module.buffers()]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop a gradient that is not finite; an optimizer passes over weights without one."""
        # With 16-mixed, the scaler itself leaves such steps out: they are how it finds its scale.
        if self.action == "stop" or getattr(trainer.precision_plugin, "scaler", None) is not None:
            return
        # All devices have the same gradient, so all leave the same steps out.
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self._skipping = not bool(get_total_norm(gradients).isfinite())
        if self._skipping:
            optimizer.zero_grad(set_to_none=True)
            # Batch normalization has taken the batch into its statistics.
            for buffer, before in zip(pl_module.buffers(), self._buffers, strict=True):
                buffer.copy_(before)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Look at the losses since the last look."""
        losses = outputs.get("label_losses", outputs["loss"].expand(len(batch.labels)))
        self._recent.append(
            Trained(trainer.global_step, batch.labels, losses, outputs["loss"].detach())
        )
        batches = trainer.fit_loop.total_batch_idx + 1
        if batches % trainer.accumulate_grad_batches:
            return
        if self.action == "stop":
            if trainer.global_step % self.every == 0:
                self._look(trainer)
            return
        if self._skipping:
            self._skipped_in_a_row += 1
            if trainer.is_global_zero:
                logger.warning(
                    "step %d is left out, since its gradient is not finite: %s",
                    trainer.global_step,
                    _describe_all(self._recent),
                )
            if self._skipped_in_a_row > self.most_skipped:
                raise self._diverged(
                    trainer,
                    f"{self._skipped_in_a_row} steps in a row, until step {trainer.global_step}, "
                    "have a gradient that is not finite",
                )
        else:
            self._skipped_in_a_row = 0
        self._skipping = False
        self._recent.clear()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look before a state can be saved."""
        if trainer.state.fn == "fit" and self.action == "stop":
            self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        if not self._recent:
            return
        is_bad = ~torch.stack([trained.loss for trained in self._recent]).isfinite()
        any_bad = is_bad.any()
        if trainer.world_size > 1:
            any_bad = trainer.strategy.reduce(any_bad.int(), reduce_op="max")
        if any_bad:
            bad = next((t for t, b in zip(self._recent, is_bad, strict=True) if b), None)
            if bad is None:
                reason = f"a loss on another device is not finite before step {trainer.global_step}"
            else:
                reason = f"the loss of step {bad.step} is {float(bad.loss)}. {_describe(bad)}"
            raise self._diverged(trainer, reason)
        self._recent.clear()

    def _diverged(self, trainer: pl.Trainer, reason: str) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"the training diverged: {reason}. {_kept(trainer.checkpoint_callbacks)}. Lower "
            "optimizer.lr, or leave such steps out with callbacks.finite_loss.action=skip"
        )


def _describe_all(batches: Sequence[Trained]) -> str:
    """Describe the batches of a step whose loss is not finite, or else all of them."""
    bad = [trained for trained in batches if not bool(trained.loss.isfinite())]
    return " ".join(map(_describe, bad or batches))


def _describe(trained: Trained) -> str:
    """Name the labels whose own loss is not finite."""
    finite = trained.label_losses.isfinite().tolist()
    bad = [label for label, is_finite in zip(trained.labels, finite, strict=True) if not is_finite]
    if not bad:
        which, of = "No label's own loss is, but the batch's gradient; its", trained.labels
    elif len(bad) == len(trained.labels):
        which, of = "That of every label is, so the weights are no longer sound; the batch's", bad
    else:
        which, of = f"That of {len(bad)} of {len(trained.labels)} is; these", bad
    more = f" and {len(of) - SHOWN} more" if len(of) > SHOWN else ""
    return f"{which} labels: {', '.join(map(repr, of[:SHOWN]))}{more}"


def _kept(callbacks: Sequence[pl.Callback]) -> str:
    """Say where the last sound state is."""
    for callback in callbacks:
        if isinstance(callback, LastCheckpoint) and Path(callback.path).is_file():
            return f"The last sound state is {callback.path}"
    return "No state was saved before"
