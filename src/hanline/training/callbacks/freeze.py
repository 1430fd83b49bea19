"""Stages whose weights stay as they are in the first steps of a run."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hanline.configs import STAGES
from hanline.errors import HanlineError
from hanline.training.module import RecognizerModule


class Freeze(pl.Callback):
    """Keep the weights and the statistics of some stages for some steps.

    Args:
        stages: names of stages, as in ``conf/model``.
        steps: for how many steps; None for the whole run.

    Raises:
        HanlineError: a name is not a stage, all stages are named for the whole run, or steps is
            negative.
    """

    def __init__(self, stages: Sequence[str], steps: int | None) -> None:
        unknown = [name for name in stages if name not in STAGES]
        if unknown:
            raise HanlineError(
                f"freeze=[{', '.join(stages)}]: expected stages, of {', '.join(STAGES)}. Correct "
                f"{', '.join(unknown)}"
            )
        if steps is not None and steps < 0:
            raise HanlineError(
                f"freeze_steps={steps}: expected at least 0, or null for the whole run. Raise it"
            )
        if steps is None and set(stages) == set(STAGES):
            raise HanlineError(
                f"freeze=[{', '.join(stages)}]: expected a stage that learns. Leave one out, or "
                "give freeze_steps"
            )
        self.names = list(stages)
        self.steps = steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Freeze, or thaw when the time has come."""
        frozen = self._is_frozen(trainer)
        for stage in self._stages(pl_module):
            # Several devices wait for the gradients of every weight.
            if trainer.world_size == 1:
                stage.requires_grad_(not frozen)
            for part in stage.modules():
                if isinstance(part, _BatchNorm):
                    part.train(not frozen)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop the gradients of frozen stages: an optimizer passes over weights without one."""
        if self._is_frozen(trainer):
            for stage in self._stages(pl_module):
                for parameter in stage.parameters():
                    parameter.grad = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the weights trainable."""
        for stage in self._stages(pl_module):
            stage.requires_grad_(True)

    def _is_frozen(self, trainer: pl.Trainer) -> bool:
        return self.steps is None or trainer.global_step < self.steps

    def _stages(self, pl_module: pl.LightningModule) -> list[nn.Module]:
        assert isinstance(pl_module, RecognizerModule)
        return [getattr(pl_module.recognizer, name) for name in self.names]
