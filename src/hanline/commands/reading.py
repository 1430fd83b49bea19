"""The reader of the commands that read."""

from omegaconf import DictConfig

from hanline.inference.reader import Reader
from hanline.system.malloc import keep_freed_memory


def make_reader(config: DictConfig) -> Reader:
    """The reader that a command's configuration asks for; this process will do little else."""
    reader = Reader(
        config.checkpoint,
        config.device,
        config.batch_size,
        config.precision,
        config.deskew,
    )
    if reader.device.type == "cpu":
        keep_freed_memory()
    return reader
