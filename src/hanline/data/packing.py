"""An image folder with its ``gt.txt`` into an LMDB dataset."""

import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, Literal

from hanline import __version__
from hanline.data.dataset_writer import write_lock
from hanline.data.image_folder import Row, count_rows, read_lines, row_of
from hanline.data.images import ImageError, check_image
from hanline.data.lmdb_writer import LMDBWriter
from hanline.data.shards import Shard
from hanline.errors import HanlineError
from hanline.system.parallel import available_cpus, ordered_map
from hanline.system.progress import progress
from hanline.system.regular_files import read_regular

logger = logging.getLogger(__name__)
ROWS_A_TASK = 256
BAD_ROWS = "bad_rows.tsv"
# A forked process starts at once. A spawned one imports for 0.2 s and more. Meanwhile this process
# packs about 20 MB of images.
_START: Literal["spawn", "fork"] = "fork" if sys.platform == "linux" else "spawn"
_ALONE = 20_000_000


@dataclass
class PackingReport:
    """The counts of packed and refused rows of a ``gt.txt``.

    Attributes:
        packed: how many rows are samples of the dataset now.
        bad_rows: the others, each with its problem.
    """

    packed: int = 0
    bad_rows: list[Row] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        """Return the number of bad rows by problem."""
        return Counter(row.problem.split(":")[0] for row in self.bad_rows)


def pack(
    gt: Path, output: Path, processes: int, shard: Shard | None = None
) -> PackingReport | None:
    """Pack the images that a ``gt.txt`` names, in its order.

    Every image is decoded once to check it; its bytes are stored unchanged. Bad rows are left out,
    and named in ``bad_rows.tsv`` beside the dataset's data.

    Args:
        gt: the list of images and labels; paths are relative to its folder.
        output: the LMDB dataset to write, which must not exist, or the folder of a shard.
        processes: how many check images; 0 takes every CPU.
        shard: which of the rows are packed; None packs all.

    Returns:
        None if the shard exists already.

    Raises:
        HanlineError: no row makes a sample, the disk is full, or ``output`` exists or holds another
            dataset.
    """
    if processes < 0:
        raise HanlineError(
            f"processes={processes}: expected a number of processes, or 0 for one for each CPU"
        )
    total = count_rows(gt)
    fingerprint = {"rows": total, "gt_sha256": _sha256(gt)} if shard else {}
    path = shard.path(output) if shard else output
    part = shard.part(total) if shard else range(total)
    with write_lock(path):
        if shard and shard.exists_matching(output, fingerprint):
            return None
        writer = LMDBWriter(path, resume=False)
        try:
            shard_metadata = {"shard": shard.metadata(fingerprint)} if shard else {}
            return _pack(gt, part, writer, processes, shard_metadata)
        except HanlineError:
            writer.discard()
            raise


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _pack(
    gt: Path, part: range, writer: LMDBWriter, processes: int, shard: dict[str, Any]
) -> PackingReport:
    report = PackingReport()
    lines = islice(read_lines(gt), part.start, part.stop)
    tasks = iter(lambda: tuple(islice(lines, ROWS_A_TASK)), ())
    if not processes:
        processes = _processes_for(gt, part)
    with progress("packing images", len(part)) as advance:
        for checked in ordered_map(partial(check_rows, gt.parent), tasks, processes, _START):
            samples = [(image, row.label) for row, image in checked if not row.problem]
            report.bad_rows += [row for row, _ in checked if row.problem]
            writer.add(samples)
            advance(len(checked))
    report.packed = writer.done
    # A shard may have bad rows only; without it the dataset would never be complete.
    if not report.packed and not shard:
        reasons = ", ".join(f"{count} × {why}" for why, count in report.counts().items())
        raise HanlineError(f"no row of {gt} makes a sample: {reasons or 'it is empty'}")
    provenance = {
        "made_by": f"hanline {__version__} pack",
        "gt": str(gt),
        "samples": report.packed,
        "bad_rows": dict(report.counts()),
        **shard,
    }
    bad = [f"{row.number}\t{row.problem}\t{row.image}\n" for row in report.bad_rows]
    writer.finish(provenance, {BAD_ROWS: "".join(bad)} if bad else {})
    return report


def _processes_for(gt: Path, part: range) -> int:
    """Return as many processes as there are CPUs and tasks, if the work is worth their start."""
    if _START == "spawn" and _image_bytes(gt, part) <= _ALONE:
        return 1
    return max(1, min(available_cpus(), ceil(len(part) / ROWS_A_TASK)))


def _image_bytes(gt: Path, part: range) -> float:
    """Estimate the bytes of all images by the size of the first ones."""
    first = [
        row_of(gt.parent, number, line).image
        for number, line in islice(read_lines(gt), part.start, min(part.stop, part.start + 16))
    ]
    sizes = []
    for image in first:
        with suppress(OSError, ValueError):
            sizes.append(image.stat().st_size)
    return len(part) * sum(sizes) / max(1, len(sizes))


def check_rows(folder: Path, lines: Iterable[tuple[int, str]]) -> list[tuple[Row, bytes]]:
    """Return the row and the image file's bytes of each line; a bad row has a problem and no bytes.

    Args:
        folder: where the ``gt.txt`` is.
        lines: numbered.
    """
    return [_checked(row_of(folder, number, line)) for number, line in lines]


def _checked(row: Row) -> tuple[Row, bytes]:
    if row.problem:
        return row, b""
    try:
        content = read_regular(row.file)
        check_image(content)
    except FileNotFoundError:
        problem = "missing file"
    except ImageError as error:
        problem = f"broken image: {error}"
    except (OSError, ValueError) as error:  # no path may hold a NUL: ValueError
        problem = f"unreadable file: {getattr(error, 'strerror', error)}"
    else:
        return row, content
    return row._replace(problem=problem), b""
