"""The Lightning trainer, with the settings that suit the machine."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

logger = logging.getLogger(__name__)


def make_trainer(
    run_dir: Path,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    accelerator: str,
    devices: int | str | list[int],
    num_nodes: int,
    strategy: str,
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"],
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
    """
    if precision == "auto":
        precision = best_precision(accelerator)
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
        max_epochs=-1,
        # The whole run is one epoch: validation counts steps, as the schedule does.
        val_check_interval=min(val_check_interval, max_steps) * accumulate_grad_batches,
        check_val_every_n_epoch=None,
        gradient_clip_val=gradient_clip_val,
        accumulate_grad_batches=accumulate_grad_batches,
        log_every_n_steps=log_every_n_steps,
        deterministic=deterministic,
        num_sanity_val_steps=0,
        # The data module's batches know of devices themselves, and count no sample twice.
        use_distributed_sampler=False,
        enable_model_summary=False,
    )


def best_precision(accelerator: str) -> Literal["32-true", "bf16-mixed"]:
    """bfloat16 where the hardware multiplies in it; elsewhere it would be slower than float32."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        chosen = torch.cuda.is_bf16_supported(including_emulation=False)
        where = torch.cuda.get_device_name()
    elif accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        chosen = _cpu_multiplies_bf16()
        where = "this processor"
    else:
        chosen, where = False, "this accelerator"
    logger.info(
        "precision: %s, since %s %s bfloat16 products",
        "bf16-mixed" if chosen else "32-true",
        where,
        "has" if chosen else "has no fast",
    )
    return "bf16-mixed" if chosen else "32-true"


def _cpu_multiplies_bf16() -> bool:
    # torch tells of these two only below an underscore, and not in every version.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
