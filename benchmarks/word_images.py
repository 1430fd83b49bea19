"""What the benchmarks of the data work on: words of the embedded corpus, drawn and stored."""

import io
import itertools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from measuring import dtrb_module
from omegaconf import DictConfig

from hanline.cli.hydra_app import CONF
from hanline.data.dataset_writer import NewSample
from hanline.data.image_folder import FolderWriter
from hanline.data.lmdb_writer import LMDBWriter
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.text.charset import Charset

Samples = Sequence[NewSample]
MAX_LENGTH = 25
HEIGHT, WIDTH = 32, 100
# This many different words are rendered; a larger dataset repeats them.
DISTINCT = 2000


def composed(command: str, *overrides: str) -> DictConfig:
    """Compose a command's configuration."""
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(command, overrides=list(overrides))


@cache
def charset() -> Charset:
    """Return the embedded corpus's characters without those that a regular expression would read.

    DTRB puts its characters into one, as they are.
    """
    characters: str = instantiate(composed("synthesize", "charset=corpus").charset).characters
    return Charset("".join(c for c in characters if c not in "[]\\^-"))


@cache
def drawn_with(renderer: str = "broadcast") -> DatasetRenderer:
    """Return a renderer with the bundled fonts, so that every machine renders the same."""
    config = composed("train", f"renderer={renderer}", "synthesis.fonts=bundled")
    return instantiate(config.synthesis, characters=charset().characters)


@cache
def words(count: int = DISTINCT) -> list[str]:
    """Words of the embedded corpus, the most of which are different."""
    corpus = instantiate(composed("synthesize").corpus)
    look = drawn_with()
    return corpus.texts(charset().covers, look.fonts.can_draw, train_count=count).train


@cache
def samples() -> Samples:
    """Words, drawn: PNG files of 32 px, and labels."""
    drawn = drawn_with().draw(words(), processes=1)
    return [NewSample(sample.image, sample.label) for some in drawn for sample in some]


def write_lmdb(path: Path, count: int, of: Samples | None = None) -> Path:
    """Write an LMDB dataset of this many samples."""
    writer = LMDBWriter(path, resume=False)
    for piece in _pieces(of or samples(), count):
        writer.add(piece)
    return writer.finish({"made_by": "a benchmark"})


def write_folder(path: Path, count: int) -> Path:
    """Write a folder of this many images, and its ``gt.txt``."""
    writer = FolderWriter(path, "png")
    for piece in _pieces(samples(), count):
        writer.add(piece)
    return writer.finish({"made_by": "a benchmark"})


def _pieces(of: Samples, count: int) -> Iterator[Samples]:
    endless = itertools.cycle(of)
    for start in range(0, count, 10_000):
        yield list(itertools.islice(endless, min(10_000, count - start)))


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Where a benchmark puts its sets; they go when it ends."""
    with tempfile.TemporaryDirectory(prefix="hanline-benchmark-") as folder:
        yield Path(folder)


@contextmanager
def silent() -> Iterator[None]:
    """DTRB prints as it goes."""
    with redirect_stdout(io.StringIO()):
        yield


def dtrb_dataset(checkout: Path) -> tuple[type, type, SimpleNamespace]:
    """DTRB's LmdbDataset, its AlignCollate, and options for both."""
    _stand_in_for_missing()
    module = dtrb_module(checkout, "dataset")
    options = SimpleNamespace(
        data_filtering_off=False,
        batch_max_length=MAX_LENGTH,
        character=charset().characters,
        sensitive=True,
        rgb=False,
        imgH=HEIGHT,
        imgW=WIDTH,
    )
    return module.LmdbDataset, module.AlignCollate, options


def dtrb_packing(checkout: Path) -> ModuleType:
    """DTRB's create_lmdb_dataset.py."""
    _stand_in_for_missing()
    return dtrb_module(checkout, "create_lmdb_dataset")


def _stand_in_for_missing() -> None:
    """Stand in for packages that DTRB imports, with the little that is measured of them."""
    for name, needed in (
        ("fire", {}),
        ("natsort", {"natsorted": sorted}),
        ("six", {"BytesIO": io.BytesIO}),
    ):
        try:
            __import__(name)
        except ImportError:
            stand_in = ModuleType(name)
            vars(stand_in).update(needed)
            sys.modules[name] = stand_in


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
