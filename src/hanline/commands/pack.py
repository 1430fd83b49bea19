"""``hanline pack``: packs images and their ``gt.txt`` into an LMDB dataset."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from hanline.cli.hydra_app import repeated_without, run
from hanline.data.packing import BAD_ROWS, pack
from hanline.data.shards import Shard

BAD_ROWS_SHOWN = 20


@dataclass
class Settings:
    """The keys of ``conf/pack.yaml``."""

    input: str
    output: str
    shard: int | None
    shards: int
    processes: int


def main() -> None:
    """Compose the configuration and pack."""
    run("pack", Settings, pack_and_report)


def pack_and_report(config: DictConfig) -> None:
    """Pack, and print what became of the rows."""
    gt, output = Path(config.input), Path(config.output)
    shard = None
    if config.shard is not None:
        command = repeated_without("shard", "output")
        shard = Shard(config.shard, config.shards, "shard", command)
    report = pack(gt, output, config.processes, shard)
    if report is None:
        print(f"shard {config.shard} of {output} exists already")
        return
    path = shard.path(output) if shard else output
    print(f"packed {report.packed} samples into {path}")
    for row in report.bad_rows[:BAD_ROWS_SHOWN]:
        print(f"left out line {row.number}: {row.problem}: {row.image}")
    if len(report.bad_rows) > BAD_ROWS_SHOWN:
        print(f"… and {len(report.bad_rows) - BAD_ROWS_SHOWN} more")
    if report.bad_rows:
        for problem, count in report.counts().most_common():
            print(f"{count} × {problem}")
        print(f"all bad rows: {path / BAD_ROWS}")


if __name__ == "__main__":
    main()
