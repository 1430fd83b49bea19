"""The Lightning trainer, with the settings that suit the machine."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from hanline.errors import HanlineError
from hanline.models.precision import Precision, best_precision, check_precision

logger = logging.getLogger(__name__)
PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


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
    max_time: str | None,
    val_check_interval: int,
    limit_train_batches: int | float | None,
    limit_val_batches: int | float | None,
    overfit_batches: int | float,
    fast_dev_run: bool | int,
    num_sanity_val_steps: int,
    gradient_clip_val: float | None,
    gradient_clip_algorithm: Literal["norm", "value"] | None,
    accumulate_grad_batches: int,
    log_every_n_steps: int,
    deterministic: bool,
    benchmark: bool | None,
    sync_batchnorm: bool,
    detect_anomaly: bool,
    profiler: Literal["simple", "advanced", "pytorch"] | None,
    enable_model_summary: bool,
) -> pl.Trainer:
    """Build the trainer of a run; see ``conf/trainer`` for what each argument means.

    Args:
        run_dir: where the run writes.

    Raises:
        HanlineError: a setting is out of range, or this machine has no such device or precision.
    """
    for name, value in (
        ("max_steps", max_steps),
        ("val_check_interval", val_check_interval),
        ("accumulate_grad_batches", accumulate_grad_batches),
        ("log_every_n_steps", log_every_n_steps),
    ):
        if value < 1:
            raise HanlineError(f"trainer.{name}={value}: expected a whole number of at least 1")
    reason = "set by trainer.precision"
    if precision == "auto":
        precision, why = best_precision(accelerator)
        reason = f"since {why}"
    elif warning := check_precision("trainer.precision", precision, accelerator):
        logger.warning(warning)
    logger.info("precision: %s, %s", precision, reason)
    try:
        return pl.Trainer(
            default_root_dir=run_dir,
            callbacks=list(callbacks),
            logger=list(loggers) or False,
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            precision=precision,
            max_steps=max_steps,
            max_time=max_time,
            max_epochs=-1,
            # The whole run is one epoch: validation counts steps, as the scheduler does.
            val_check_interval=min(val_check_interval, max_steps) * accumulate_grad_batches,
            check_val_every_n_epoch=None,
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            overfit_batches=overfit_batches,
            fast_dev_run=fast_dev_run,
            num_sanity_val_steps=num_sanity_val_steps,
            gradient_clip_val=gradient_clip_val,
            gradient_clip_algorithm=gradient_clip_algorithm,
            accumulate_grad_batches=accumulate_grad_batches,
            log_every_n_steps=log_every_n_steps,
            # Strictly, torch would refuse CTC's gradient on a GPU: it has one way of computing it.
            deterministic="warn" if deterministic else False,
            benchmark=benchmark,
            sync_batchnorm=sync_batchnorm,
            detect_anomaly=detect_anomaly,
            profiler=_profiler(profiler, run_dir),
            enable_model_summary=enable_model_summary,
            # callbacks.progress is the bar.
            enable_progress_bar=True,
            # The data module's batches know of devices themselves, and count no sample twice.
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, ModuleNotFoundError) as error:
        # Lightning's own checks: each names what it takes.
        raise HanlineError(
            f"trainer.accelerator={accelerator}, trainer.devices={devices}, trainer.strategy="
            f"{strategy}: expected settings that this machine has. {' '.join(str(error).split())}"
        ) from error


def _profiler(name: str | None, run_dir: Path) -> Profiler | None:
    """Return the profiler of a name, which writes ``fit-profile*`` into the run's folder."""
    return PROFILERS[name](dirpath=run_dir, filename="profile") if name else None
