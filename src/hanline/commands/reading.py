"""The reader of the commands that read."""

from dataclasses import dataclass

from hydra.utils import instantiate
from omegaconf import DictConfig

from hanline.inference.reader import Reader
from hanline.models.precision import ReadingPrecision
from hanline.system.malloc import keep_freed_memory


@dataclass
class ReaderSettings:
    """The keys of ``conf/reader/default.yaml``."""

    checkpoint: str
    device: str
    precision: ReadingPrecision
    batch_size: int
    deskew: bool


def make_reader(config: DictConfig, calibrated: bool = True) -> Reader:
    """Make the reader of a command. This process does little else.

    Args:
        config: with the keys of ``conf/reader/default.yaml``.
        calibrated: see :class:`hanline.Reader`.
    """
    reader = Reader(
        config.checkpoint,
        config.device,
        config.batch_size,
        config.precision,
        config.deskew,
        # A command that has no such group reads greedily.
        instantiate(config.decoding) if config.get("decoding") else None,
        calibrated,
    )
    if reader.device.type == "cpu":
        keep_freed_memory()
    return reader
