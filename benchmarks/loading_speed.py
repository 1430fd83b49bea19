"""LMDB → batches of pixels in random order: Hanline's loader and DTRB's.

    python benchmarks/loading_speed.py --dtrb PATH [--samples N] [--batch-size N]

Both read the same set of drawn words, 32 × 100 pixels in one channel, with no worker on one core,
then with two workers; Hanline with its defaults, so that pixels are ready (the first opening, at
which they are decoded, is not counted), and with data.cache_pixels=false. Hanline's batches are
bytes, which the device makes numbers between −1 and 1; DTRB's are such numbers.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from measuring import Row, command, copy_rate, dtrb_argument, in_turns, one_core
from torch.utils.data import DataLoader
from word_images import (
    HEIGHT,
    WIDTH,
    charset,
    composed,
    dtrb_dataset,
    size_of,
    temporary_folder,
    write_lmdb,
)

from hanline.commands.train import quiet_lightning
from hanline.data.datamodule import TextImageData
from hanline.data.dataset import LMDBDataset

Loader = Callable[[], Iterator[Any]]
WORKERS = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    dtrb_argument(parser)
    parser.add_argument("--samples", type=int, default=20_000, help="of the set")
    parser.add_argument("--batch-size", type=int, default=192)


def rows(given: argparse.Namespace) -> Iterable[Row]:
    with temporary_folder() as folder:
        path = write_lmdb(folder / "set", given.samples)
        # No process may open a set twice.
        dtrb_path = shutil.copytree(path, folder / "dtrb")
        # Pixels are read and written; where they are not ready, the set's bytes are read instead.
        pixels = HEIGHT * WIDTH
        sample_bytes = size_of(path / "data.mdb") / given.samples + pixels
        own = partial(hanline_loader, path, given.batch_size)
        loaders: list[Callable[[int], Loader]] = [own, partial(own, cache_pixels="false")]
        if given.dtrb:
            loaders.append(dtrb_loaders(given.dtrb, dtrb_path, given.batch_size))
        with one_core():
            alone = in_turns(*(side(loader(0), given) for loader in loaders))
        with_workers = in_turns(*(side(loader(WORKERS), given) for loader in loaders))
        copies = [copy_rate(threads) for threads in (1, WORKERS)]
    for how, rates, copy in (
        ("one core", alone, copies[0]),
        (f"{WORKERS} workers", with_workers, copies[1]),
    ):
        ready, decoded, *theirs = rates
        for what, rate, moved in (
            ("load", ready, 2 * pixels),
            ("load and decode", decoded, sample_bytes),
        ):
            yield Row(
                f"{what}, {how}",
                "images/s",
                rate,
                theirs[0] if theirs else None,
                "DTRB",
                goal=4.0 if (what, how) == ("load", "one core") else None,
                limit=copy / moved,
                limited_by="bytes",
            )
    yield Row(
        f"load and decode, {WORKERS} workers against none",
        "images/s",
        with_workers[1],
        alone[1],
        "Hanline, no worker",
        goal=1.8,
    )


def side(loader: Loader, given: argparse.Namespace) -> Callable[[], float]:
    """Return what loads a share of the dataset's batches. The start of workers does not count."""
    batches = given.samples // given.batch_size - 1

    def measure() -> float:
        coming = loader()
        next(coming)
        start = time.perf_counter()
        for _ in islice(coming, batches - 1):
            pass
        return (batches - 1) * given.batch_size / (time.perf_counter() - start)

    return measure


def hanline_loader(path: Path, batch_size: int, workers: int, cache_pixels: str = "null") -> Loader:
    """Return the loader that training takes."""
    config = composed(
        "train",
        "data=lmdb",
        f"data.train.dir={path}",
        f"data.validation.dir={path}",
        f"data.batch_size={batch_size}",
        f"data.num_workers={workers}",
        f"data.cache_pixels={cache_pixels}",
        f"image.height={HEIGHT}",
        f"image.width={WIDTH}",
    )
    data: TextImageData = instantiate(config.data, charset=charset(), corpus=None, synthesis=None)
    data.prepare_data()
    data.setup("fit")
    quiet_lightning()
    data.trainer = pl.Trainer(
        max_steps=10**9, logger=False, enable_checkpointing=False, accelerator="cpu"
    )
    # Where the disk has too little room there are none.
    cached = [isinstance(g.samples, LMDBDataset) and g.samples.pixels for g in data.train_groups]
    assert all(cached) == (cache_pixels == "null")
    loader = data.train_dataloader()
    return lambda: iter(loader)


def dtrb_loaders(checkout: Path, path: Path, batch_size: int) -> Callable[[int], Loader]:
    """Return the loader that DTRB's training takes, for a number of workers."""
    dataset_class, collate_class, options = dtrb_dataset(checkout)
    dataset = dataset_class(str(path), options)

    def loader(workers: int) -> Loader:
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=True,
            num_workers=workers,
            collate_fn=collate_class(imgH=HEIGHT, imgW=WIDTH),
        )
        return lambda: iter(loader)

    return loader


if __name__ == "__main__":
    command(__doc__, arguments, rows)
