"""The frame around the work of each command: configuration, help, and errors as messages."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from hanline.cli.command_help import print_help
from hanline.cli.command_line import arguments, set_arguments, with_keys
from hanline.cli.config_check import check_config
from hanline.cli.model_presets import register_presets
from hanline.cli.quoting import literal
from hanline.cli.resolvers import register_resolvers
from hanline.cli.streams import PrintError, escape_unencodable, failures_to_print
from hanline.cli.suggestions import explain
from hanline.configs import CONF, command_file, register_folders
from hanline.errors import HanlineError
from hanline.system.memory import is_memory_full

__all__ = ["CONF", "fail", "is_first_process", "plain", "quiet_others", "repeated_without", "run"]

MEMORY_FULL = "the machine's memory is full: expected room for the work. Free some, and try again"
# What a disk or a folder can answer, whatever the program does.
_DISK_ERRORS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


def run(
    name: str,
    settings: type,
    task: Callable[[DictConfig], Any],
    positional: Sequence[str] = (),
    without_arguments: Sequence[str] = (),
) -> None:
    """Run a command as a Hydra application.

    Args:
        name: the command, and its yaml in ``conf`` or in another package's config folder.
        settings: a dataclass with the types of the yaml's own keys, without its groups.
        task: the work. Its result is what a sweep optimizes.
        positional: the keys of the first words, which may be left out.
        without_arguments: the words that are taken if the user gives none.
    """
    escape_unencodable()
    with failures_to_print():
        _run(name, settings, task, positional, without_arguments)


def _run(
    name: str,
    settings: type,
    task: Callable[[DictConfig], Any],
    positional: Sequence[str],
    without_arguments: Sequence[str],
) -> None:
    given = arguments()
    if {"-h", "--help"} & set(given):
        print_help(name)
        return

    def job(config: DictConfig) -> Any:
        return _checked(config, name, settings, task)

    if not given and without_arguments:
        given = list(without_arguments)
        print(f"no settings given: hanline {name} {' '.join(given)}; --help lists all settings")
    words = [literal(word, settings) for word in with_keys(given, positional)]
    # Have Hydra raise its errors here rather than print them and exit.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if not is_first_process():
        # The first process writes the run's folder; the others need none.
        words += ["hydra.run.dir=.", "hydra.sweep.dir=.", "hydra/job_logging=stdout"]
    set_arguments(words)
    try:
        # The files of other packages are found by Hydra's search path.
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except HanlineError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        # Hydra's error of a missing choice is an OSError as well.
        if getattr(error, "at_work", False):
            raise
        fail(explain(error, name))
    except (MemoryError, OSError) as error:
        # Before the work began: Hydra makes a run's folder.
        reason = _of_the_machine(error)
        if reason is None or getattr(error, "at_work", False):
            raise
        fail(reason)


def fail(message: str) -> NoReturn:
    """End with a message for the user, and exit status 1."""
    with suppress(PrintError):  # which may be what the message is about
        sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def is_first_process() -> bool:
    """Return whether this is a run's only process, or its first under torchrun or SLURM."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def repeated_without(*keys: str) -> list[str]:
    """Return the words behind ``hanline`` that run this job again, without some keys."""
    job = HydraConfig.get()
    return [
        str(job.job.name),
        *(words for words in job.overrides.task if words.partition("=")[0] not in keys),
    ]


def plain(config: Any) -> Any:
    """Return a part of the configuration as dicts and lists, all interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def quiet_others() -> None:
    """Silence all processes of a run but the first, except for warnings and errors."""
    if not is_first_process() or int(os.environ.get("LOCAL_RANK", "0")):
        logging.getLogger().setLevel(logging.WARNING)


# A launcher's process on another machine finds this function by its name.
def _checked(
    config: DictConfig, name: str, settings: type, task: Callable[[DictConfig], Any]
) -> Any:
    """Check a job's configuration, and do its work where the user started it."""
    # Read now: with several devices it does not exist any more when the task ends.
    hydra_config = HydraConfig.get()
    in_sweep = not OmegaConf.is_missing(hydra_config.job, "num")
    if not hydra_config.job.chdir:
        # Ray's workers start in another folder, and relative paths are meant from the user's.
        os.chdir(hydra_config.runtime.cwd)
    try:
        check_config(config, command_file(name), settings)
        return task(config)
    except HanlineError as error:
        _refuse(error, in_sweep)
    except Exception as error:
        # Hydra wraps the errors of the parts that it builds.
        if isinstance(error, InstantiationException) and isinstance(error.__cause__, HanlineError):
            _refuse(error.__cause__, in_sweep)
        if (reason := _of_the_machine(error)) is not None:
            _refuse(HanlineError(reason), in_sweep)
        # A defect of the program, whatever the type of the error.
        error.at_work = True  # type: ignore[attr-defined]
        raise


def _of_the_machine(error: Exception) -> str | None:
    """Return the message for a full memory or disk or a missing permission; None if it is none."""
    if is_memory_full(error):
        return "the machine's memory is full: expected room for the work. Free some, and try again"
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        place = error.filename or "a file"
        return (
            f"{place}: expected to be read or written, but {error.strerror}. Give it room or "
            "permission, or name another place"
        )
    return None


def _refuse(error: HanlineError, in_sweep: bool) -> NoReturn:
    """End with an error's message; a job of a sweep hands it back, and the others go on."""
    if not in_sweep:
        fail(str(error))
    raise error


register_folders()
register_presets()
register_resolvers()
