"""The Lightning trainer, with the settings that suit the machine."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from hanline.models.precision import Precision, best_precision, check_precision
from hanline.training.callbacks.checkpoints import LastValidation
from hanline.training.run_summary import LabelCheck

logger = logging.getLogger(__name__)


def make_trainer(
    run_dir: Path,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    accelerator: str,
    devices: int | str | list[int],
    num_nodes: int,
    strategy: str,
    precision: Precision | Literal["auto", "16-mixed"],
    max_steps: int,
    val_check_interval: int,
    gradient_clip_val: float | None,
    accumulate_grad_batches: int,
    log_every_n_steps: int,
    deterministic: bool,
) -> pl.Trainer:
    """Build the trainer of a run; see ``conf/trainer`` for what each argument means.

    Args:
        run_dir: where the run writes.

    Raises:
        HanlineError: the hardware does not have the precision.
    """
    reason = "as trainer.precision says"
    if precision == "auto":
        precision, why = best_precision(accelerator)
        reason = f"since {why}"
    elif warning := check_precision("trainer.precision", precision, accelerator):
        logger.warning(warning)
    logger.info("precision: %s, %s", precision, reason)
    return pl.Trainer(
        default_root_dir=run_dir,
        callbacks=[*callbacks, LabelCheck(), LastValidation()],
        logger=list(loggers) or False,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        precision=precision,
        max_steps=max_steps,
        max_epochs=-1,
        # The whole run is one epoch: validation counts steps, as the schedule does.
        val_check_interval=min(val_check_interval, max_steps) * accumulate_grad_batches,
        check_val_every_n_epoch=None,
        gradient_clip_val=gradient_clip_val,
        accumulate_grad_batches=accumulate_grad_batches,
        log_every_n_steps=log_every_n_steps,
        # Strictly, torch would refuse CTC's gradient on a GPU: it has one way of computing it.
        deterministic="warn" if deterministic else False,
        num_sanity_val_steps=0,
        # The data module's batches know of devices themselves, and count no sample twice.
        use_distributed_sampler=False,
        enable_model_summary=False,
    )
