"""``hanline train``: train a recognizer."""

import logging
import os
import sys
import warnings
from contextlib import nullcontext, suppress
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict

from hanline.cli.command_line import arguments, set_arguments
from hanline.cli.config_check import check_config
from hanline.cli.hydra_app import fail, is_first_process, plain, quiet_others, run
from hanline.configs import command_file
from hanline.data.datamodule import TextImageData
from hanline.data.images import ImageFormat
from hanline.errors import HanlineError
from hanline.models.recognizer import Recognizer
from hanline.pretrained import model_path
from hanline.system.files import write_text
from hanline.text.charset import Charset
from hanline.training.callbacks.best_checkpoint import best_value
from hanline.training.callbacks.freeze import Freeze
from hanline.training.callbacks.guard import GUARD, Guard
from hanline.training.callbacks.label_fit import LabelFit
from hanline.training.callbacks.last_checkpoint import TrainingStopped
from hanline.training.distributed import end_with_first_process, launched_processes
from hanline.training.errors import failures_as_messages
from hanline.training.resume import (
    check_said,
    check_state,
    permitted_changes,
    relocated,
    said_targets,
)
from hanline.training.run_folder import clear_folder, sole_run
from hanline.training.run_summary import log_start, retain_freed_memory
from hanline.training.weight_transfer import finetune_from
from hanline.trusted_targets import check_targets, read_config

logger = logging.getLogger(__name__)
CONFIG = "config.yaml"
WORKER = "--worker"
# A run that ends within the hour on two processor cores.
WITHOUT_ARGUMENTS = ("experiment=headline_quick",)


@dataclass
class GuardKeys:
    """The keys below ``guard``."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    dataset: str | None = None
    most_lost: float = 0.2
    metric: str = "accuracy"
    stop: bool = False


@dataclass
class Settings:
    """The keys of ``conf/train.yaml`` that belong to no group."""

    seed: int
    image: ImageFormat
    max_label_length: int
    name: str
    finetune_from: str | None
    resume: str | None
    run_dir: str
    # Runs of before these were there are resumed, too.
    overwrite: bool = False
    freeze: list[str] = field(default_factory=list)
    freeze_steps: int | None = None
    guard: GuardKeys = field(default_factory=GuardKeys)


def main() -> None:
    """Compose the configuration and train."""
    given = arguments()
    if given[:1] == [WORKER]:
        # Worker of a run with several processes. Rank 0 composed the configuration and owns the
        # exit status; if a worker exits non-zero first, Lightning kills rank 0.
        end_with_first_process(int(given[2]))
        with suppress(TrainingStopped):
            try:
                train(DictConfig(OmegaConf.load(given[1])))
            except HanlineError as error:
                fail(str(error))
        return
    run("train", Settings, compose_and_train, without_arguments=WITHOUT_ARGUMENTS)


def compose_and_train(config: DictConfig) -> float | None:
    """Complete the configuration, write it into the run's folder, and train.

    Returns:
        The best validation accuracy, in percent; None if no callback keeps it.
    """
    if config.resume:
        config = resumed(config)
    run_dir = Path(config.run_dir)
    # The written configuration must do without Hydra's interpolations.
    config = DictConfig(plain(config))
    with sole_run(run_dir) if is_first_process() else nullcontext():
        if is_first_process():
            if not config.resume:
                finetuned = Path(config.finetune_from) if config.finetune_from else None
                clear_folder(run_dir, config.overwrite, finetuned)
            write_text(run_dir / CONFIG, OmegaConf.to_yaml(config))
        return _train_in(run_dir, config)


def _train_in(run_dir: Path, config: DictConfig) -> float | None:
    # Lightning starts its processes with this command line. By default each of them would compose
    # the configuration again, even of a whole sweep.
    set_arguments([WORKER, str(run_dir / CONFIG), str(os.getpid())], program=__file__)
    HydraConfig.instance().cfg = None
    try:
        return train(config)
    except TrainingStopped as stopped:
        if is_first_process():
            print(f"stopped; to go on: hanline train resume={stopped.checkpoint}", file=sys.stderr)
        sys.exit(128 + stopped.signal_number)


def train(config: DictConfig) -> float | None:
    """Train by a complete configuration.

    Returns:
        The best validation accuracy, in percent; None if no callback keeps it.

    Raises:
        TrainingStopped: a signal ended it.
        HanlineError: it diverged, or another failure ended it.
    """
    quiet_others()
    quiet_lightning()
    pl.seed_everything(config.seed, verbose=False)
    charset: Charset = instantiate(config.charset)
    recognizer = make_recognizer(config, charset)
    if config.finetune_from and not config.resume:
        finetune_from(recognizer, model_path(config.finetune_from))
    guard = GuardKeys(**config.get("guard", {}))
    module: pl.LightningModule = instantiate(config.module, _partial_=True)(
        recognizer=recognizer,
        optimizer=instantiate(config.optimizer),
        scheduler=instantiate(config.scheduler),
    )
    data: TextImageData = instantiate(
        with_guard(config.data, guard),
        # Runs of before it was there are resumed, too.
        augmentation=partial(instantiate, config.augmentation)
        if "augmentation" in config
        else None,
        charset=charset,
        corpus=partial(instantiate, config.corpus),
        synthesis=partial(instantiate, config.synthesis, characters=charset.characters),
    )
    trainer: pl.Trainer = instantiate(
        config.trainer,
        run_dir=Path(config.run_dir),
        callbacks=[*instantiate(config.callbacks).values(), *own_callbacks(config, guard)],
        loggers=list(instantiate(config.logger).values()),
        _recursive_=False,
    )
    log_start(trainer, recognizer, data)
    retain_freed_memory(trainer)
    last = Path(config.run_dir) / "last.ckpt"
    with launched_processes(trainer, last), failures_as_messages(last):
        trainer.fit(module, data, ckpt_path=config.resume, weights_only=True)
    if data.damaged:
        logger.warning("%d samples were skipped, since their images are damaged", data.damaged)
    if trainer.is_global_zero:
        logger.info("the run is in %s", config.run_dir)
    return best_value(trainer, "accuracy")


def with_guard(data: DictConfig, guard: GuardKeys) -> DictConfig:
    """Return the data's configuration, with the guard's dataset among those to validate on.

    Raises:
        HanlineError: the name of the guard is taken.
    """
    if guard.dataset is None:
        return data
    named = list(data.get("more_validation", []))
    if GUARD in (entry["name"] for entry in named):
        raise HanlineError(
            f"data.more_validation has the name {GUARD!r}: expected another, since guard.dataset "
            "has it. Rename it"
        )
    guarded = {"name": GUARD, "dir": guard.dataset}
    return DictConfig(plain(data) | {"more_validation": [*named, guarded]})


def own_callbacks(config: DictConfig, guard: GuardKeys) -> list[pl.Callback]:
    """Return the callbacks of ``freeze``, ``guard`` and ``finetune_from``."""
    callbacks: list[pl.Callback] = []
    if config.finetune_from and not config.resume:
        callbacks.append(LabelFit())
    stages = list(config.get("freeze", []))
    if stages:
        callbacks.append(Freeze(stages, config.get("freeze_steps")))
    if guard.dataset is not None:
        run_dir = Path(config.run_dir)
        callbacks.append(Guard(run_dir, guard.metric, guard.most_lost, guard.stop))
    return callbacks


def make_recognizer(config: DictConfig, charset: Charset) -> Recognizer:
    """Build the recognizer of a configuration, with new weights."""
    return Recognizer(
        **plain(config.model),
        charset=charset.characters,
        image=plain(config.image),
        max_label_length=config.max_label_length,
    )


def quiet_lightning() -> None:
    """Leave out messages of Lightning that log_start has, or that do not hold here."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    # Its batches do resume: they follow from the step.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")
    # The metrics have summed over all devices when they are logged.
    warnings.filterwarnings("ignore", message=".*recommended to use `self.log.*sync_dist=True")


def resumed(config: DictConfig) -> DictConfig:
    """Return the configuration of the run that is resumed, with the permitted changes.

    Raises:
        HanlineError: there is nothing to resume, or the command line would make it another run.
    """
    checkpoint = Path(config.resume)
    written = checkpoint.parent / CONFIG
    for file in (checkpoint, written):
        if not file.is_file():
            raise HanlineError(
                f"resume={checkpoint}: expected the last.ckpt of a run, in the run's own folder, "
                f"but there is no {file}"
            )
    overrides = HydraConfig.get().overrides.task
    changed, left_out = permitted_changes(overrides, checkpoint)
    # It may come from others, or have been edited: nothing in it is resolved or built unchecked.
    settings = read_config(written)
    required = {
        known.name
        for known in fields(Settings)
        if known.default is MISSING and known.default_factory is MISSING
    }
    missing = required - set(settings)
    if missing or not isinstance(settings["run_dir"], str):
        raise HanlineError(
            f"{written}: expected {', '.join(sorted(missing)) or 'run_dir as text'}. Take the "
            "config.yaml that the run wrote"
        )
    said = said_targets(overrides)
    check_said(said, settings)
    run_dir = checkpoint.parent
    # The run's folder may have been moved.
    former = DictConfig(relocated(settings, settings["run_dir"], str(run_dir)))
    for key in changed:
        OmegaConf.update(former, key, OmegaConf.select(config, key))
    for name in left_out & set(former.get("callbacks") or ()):
        del former.callbacks[name]
    check_targets(plain(former), written, run_dir, said)
    former.resume = str(checkpoint)
    check_config(former, command_file("train"), Settings)
    recognizer = make_recognizer(former, instantiate(former.charset))
    check_state(checkpoint, recognizer.spec, former.trainer.max_steps)
    return former


if __name__ == "__main__":
    main()
