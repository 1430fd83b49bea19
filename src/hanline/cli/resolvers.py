"""The resolvers of Hanline's configs, as in ``${run_folder:…}``."""

import secrets
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from hanline.cli.model_presets import stages_of
from hanline.configs import STAGES


def register_resolvers() -> None:
    """Have OmegaConf know the resolvers in this process."""
    for resolver in (model_name, run_folder, sweep_folder):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
    # Like Hydra's now, it is the same throughout a command.
    OmegaConf.register_new_resolver("token", token, replace=True, use_cache=True)


def model_name() -> str:
    """Return the word that chose the model, or its stages joined if one was swapped.

    A configuration that is composed outside a command has no chosen words. Its name is "run".
    """
    if not HydraConfig.initialized():
        return "run"
    chosen = HydraConfig.get().runtime.choices
    stages = {stage: chosen[f"model/{stage}"] for stage in STAGES}
    return (
        str(chosen["model"]) if stages == stages_of(chosen["model"]) else "_".join(stages.values())
    )


def token() -> str:
    """Return six random hexadecimal digits, by which runs of one second differ."""
    return secrets.token_hex(3)


def run_folder(resume: str | None, fresh: str) -> str:
    """Return the folder of a run: that of the checkpoint that it resumes, or a fresh one."""
    return str(Path(resume).parent) if resume else fresh


def sweep_folder(*, _root_: DictConfig) -> str:
    """Return where a sweep writes its own files: beside the shards if it makes shards."""
    given = OmegaConf.select(_root_, "hydra.overrides.task", default=[])
    output = OmegaConf.select(_root_, "output")
    keys = [word.partition("=")[0] for word in given]
    if not output or not any(key.split(".")[-1] == "shard" for key in keys):
        return "multirun"
    return str(Path(_root_.hydra.runtime.cwd, output))
