"""Samples of LMDB datasets that exist, or that are rendered from the corpus once."""

import math
from collections.abc import Sequence
from pathlib import Path

from hanline.data.base import DataRun, Group, Part, Source
from hanline.data.dataset import LMDBDataset
from hanline.data.lmdb_store import find_datasets
from hanline.data.shards import check_shards_complete
from hanline.errors import HanlineError


class StoredSource(Source):
    """LMDB datasets on disk; ``conf/data/lmdb.yaml`` explains the keys.

    Args:
        dir: an LMDB dataset or a folder of them. None renders one from the corpus.
        samples: how many texts are rendered; None for all.
        select_data: names of groups; None puts all datasets into one group.
        batch_ratio: the share of each group; None goes by their sizes.
        usage_ratio: the share of each dataset that is used.
        part, run: as :class:`~hanline.data.base.Source` has them.

    Raises:
        HanlineError: an argument is out of bounds.
    """

    def __init__(
        self,
        dir: str | None,
        part: Part,
        run: DataRun,
        samples: int | None = None,
        select_data: Sequence[str] | None = None,
        batch_ratio: Sequence[float] | None = None,
        usage_ratio: float = 1.0,
    ) -> None:
        super().__init__(part, run)
        if not 0 < usage_ratio <= 1:
            raise HanlineError(
                f"data.{part}.usage_ratio={usage_ratio}: expected a number above 0 and at most 1"
            )
        names = list(select_data or ["training" if part == "train" else part])
        ratios = list(batch_ratio) if batch_ratio is not None else None
        if ratios is not None and not (
            len(ratios) == len(names)
            and all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
        ):
            raise HanlineError(
                f"data.{part}.batch_ratio={ratios}: expected {len(names)} finite numbers above 0, "
                f"one for each entry of data.{part}.select_data"
            )
        self.dir = dir
        self.texts = samples
        self.select_data = select_data
        self.names = names
        self.ratios = ratios
        self.usage_ratio = usage_ratio

    def prepare(self) -> None:
        if self.dir is None:
            self.run.rendered().make(self.part)

    def open(self) -> list[Group]:
        root = Path(self.dir) if self.dir is not None else self.run.rendered().path(self.part)
        paths = select_datasets(root, self.select_data, f"data.{self.part}.select_data")
        datasets = [
            LMDBDataset(group, self.run.image_format, self.run.rules, self.usage_ratio)
            for group in paths
        ]
        ratios = self.ratios or [len(dataset) for dataset in datasets]
        return list(map(Group, self.names, datasets, ratios))


def select_datasets(
    root: Path, select_data: Sequence[str] | None, key: str = "data.train.select_data"
) -> list[Sequence[Path]]:
    """Return the LMDB datasets of a folder in groups: for each name, those with it in their path.

    Args:
        root: the folder.
        select_data: the names; None makes one group of all.
        key: for messages.

    Raises:
        HanlineError: a name is in no path, or shards of a selected dataset are missing or twice
            there.
    """
    paths = find_datasets(root)
    if select_data is None:
        return [check_shards_complete(root, paths)]
    groups = []
    for name in select_data:
        group = [path for path in paths if name in path.relative_to(root).as_posix()]
        if not group:
            listed = ", ".join(path.relative_to(root).as_posix() for path in paths)
            raise HanlineError(
                f"{key} names {name!r}: expected a part of the path of a dataset below {root}. "
                f"These exist: {listed}"
            )
        groups.append(check_shards_complete(root, group))
    return groups
