"""The reader of the commands that read."""

from omegaconf import DictConfig

from hanline.memory import keep_freed_memory
from hanline.reading.reader import Reader


def make_reader(config: DictConfig) -> Reader:
    """The reader that a command's configuration asks for; this process will do little else."""
    reader = Reader(
        config.checkpoint,
        config.device,
        config.batch_size,
        config.precision,
        config.straighten,
    )
    if reader.device.type == "cpu":
        keep_freed_memory()
    return reader
