"""The folder of a run: one run writes it at a time, and no other run's checkpoints are lost."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hanline.errors import HanlineError

logger = logging.getLogger(__name__)
LOCK = ".lock"
# The files of a run, which another run in its folder writes again.
_WRITTEN = ("*.ckpt", "*.ckpt.partial", "log_train.txt", "events.out.tfevents.*")
# Data workers of a run that was killed end a moment after it, and hold its lock until then.
_PATIENCE = 5.0


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Make a run's folder, and keep other runs out of it while this one lasts.

    Raises:
        HanlineError: another run is at work there, or the folder cannot be written.
    """
    # Its file stays: were it removed, a run that waits for it and one that comes later would each
    # hold a lock.
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise HanlineError(
            f"hydra.run.dir={folder}: expected a folder that no other run is writing. Wait for the "
            "end of that run, or name another folder"
        ) from error
    except NotImplementedError:
        logger.warning(
            "%s is on a file system without locks: start one run at a time there", folder
        )
    except OSError as error:
        raise HanlineError(
            f"hydra.run.dir={folder}: expected a folder that can be written ({error.strerror}). "
            "Name another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def clear_folder(folder: Path, overwrite: bool, finetune_from: Path | None) -> None:
    """See that a new run in a folder loses no checkpoint, or remove those that it may lose.

    Args:
        folder: the run's folder.
        overwrite: whether an earlier run's files are removed.
        finetune_from: what the run takes its weights from, which must stay.

    Raises:
        HanlineError: there is a checkpoint in the folder, and none may be lost.
    """
    checkpoints = sorted(folder.glob("*.ckpt"))
    if not checkpoints:
        return
    last = folder / "last.ckpt"
    if not overwrite:
        resumed = last if last in checkpoints else checkpoints[0]
        raise HanlineError(
            f"hydra.run.dir={folder}: expected a folder without checkpoints, and {resumed.name} is "
            f"there. Go on with that run with resume={resumed}, name another folder, or give "
            "overwrite=true to lose it"
        )
    if finetune_from and finetune_from.resolve().is_relative_to(folder.resolve()):
        raise HanlineError(
            f"finetune_from={finetune_from}: expected a file outside hydra.run.dir={folder}, where "
            "overwrite=true removes it. Name another folder"
        )
    for pattern in _WRITTEN:
        for file in folder.glob(pattern):
            file.unlink()
