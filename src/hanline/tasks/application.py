"""What every command does around its own work: configuration, help, and errors as messages."""

import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hanline.errors import HanlineError
from hanline.tasks.command_help import print_help
from hanline.tasks.config_check import check_config, explain, literal
from hanline.tasks.streams import escape_what_streams_lack

PACKAGE = Path(__file__).parents[1]
# A wheel carries the configs inside the package; in a checkout they stand beside src.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"


def run(name: str, settings: type, task: Callable[[DictConfig], Any]) -> None:
    """Run a command as a Hydra application.

    Args:
        name: the command, and its config in ``conf``.
        settings: a dataclass with the types of the config's own keys; its groups are not in it.
        task: the work. What it returns is what a sweep optimises.
    """
    escape_what_streams_lack()
    if {"-h", "--help"} & set(sys.argv[1:]):
        print_help(CONF, name)
        return

    def job(config: DictConfig) -> Any:
        return _checked(config, name, settings, task)

    sys.argv[1:] = [literal(argument, settings) for argument in sys.argv[1:]]
    # Have Hydra raise its errors here rather than print them and exit.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if not is_first_process():
        # The first process writes the run's folder; the others need none.
        sys.argv += ["hydra.run.dir=.", "hydra.sweep.dir=.", "hydra/job_logging=stdout"]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except HanlineError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        if getattr(error, "at_work", False):
            raise
        fail(explain(error, CONF, name))


def fail(message: str) -> NoReturn:
    """End with a message for the user, and exit status 1."""
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the first of those that torchrun started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def repeated_without(*keys: str) -> list[str]:
    """The words behind ``hanline`` that would run this job again, but for some keys."""
    job = HydraConfig.get()
    return [
        str(job.job.name),
        *(words for words in job.overrides.task if words.partition("=")[0] not in keys),
    ]


def plain(config: Any) -> Any:
    """A part of the configuration as Python's own dicts and lists, all filled in."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def quiet_others() -> None:
    """Have only the first process of a run speak of what goes well."""
    if not is_first_process() or int(os.environ.get("LOCAL_RANK", "0")):
        logging.getLogger().setLevel(logging.WARNING)


# A launcher's process on another machine finds this function by its name, and CONF with it.
def _checked(
    config: DictConfig, name: str, settings: type, task: Callable[[DictConfig], Any]
) -> Any:
    """Check a job's configuration, and do its work where the user started it."""
    # Not to be asked for later: with several devices it is gone by then.
    hydra_config = HydraConfig.get()
    in_sweep = not OmegaConf.is_missing(hydra_config.job, "num")
    if not hydra_config.job.chdir:
        # Ray's workers start somewhere else, and relative paths mean the user's place.
        os.chdir(hydra_config.runtime.cwd)
    try:
        check_config(config, CONF / f"{name}.yaml", settings)
        return task(config)
    except HanlineError as error:
        _refuse(error, in_sweep)
    except Exception as error:
        # Hydra wraps what goes wrong in the things that it builds.
        if isinstance(error, InstantiationException) and isinstance(error.__cause__, HanlineError):
            _refuse(error.__cause__, in_sweep)
        # No misuse of the command line, then, whatever its type.
        error.at_work = True  # type: ignore[attr-defined]
        raise


def _refuse(error: HanlineError, in_sweep: bool) -> NoReturn:
    """End with an error's message; a job of a sweep hands it back, and the others go on."""
    if not in_sweep:
        fail(str(error))
    raise error


def _sweep_folder(shard_key: str, *, _root_: DictConfig) -> str:
    """Where a sweep keeps files of its own: beside the shards that it makes, if it makes some."""
    given = OmegaConf.select(_root_, "hydra.overrides.task", default=[])
    output = OmegaConf.select(_root_, "output")
    if not output or not any(words.startswith(f"{shard_key}=") for words in given):
        return "multirun"
    return str(Path(_root_.hydra.runtime.cwd, output))


def _run_folder(resume: str | None, fresh: str) -> str:
    return str(Path(resume).parent) if resume else fresh


def _stages() -> str:
    choices = HydraConfig.get().runtime.choices
    stages = ("transformation", "feature_extraction", "sequence_modeling", "prediction")
    return "_".join(choices[f"model/{stage}"] for stage in stages)


OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
OmegaConf.register_new_resolver("stages", _stages, replace=True)
# As with Hydra's now, the same for a whole command.
OmegaConf.register_new_resolver("token", lambda: secrets.token_hex(3), replace=True, use_cache=True)
OmegaConf.register_new_resolver("sweep_folder", _sweep_folder, replace=True)
