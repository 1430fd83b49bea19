"""Trains several models from nothing for the same time on the same lines, and reads with them.

    python benchmarks/backbones.py FOLDER [FOLDER ...] [--minutes N] [--models NAME ...]
        [--out FOLDER] [--set KEY=VALUE ...]

The recipe is experiment=headline_quick, its schedule cut to the time; each model has a learning
rate of its own, and what needs a fixed width has 480 pixels. A FOLDER has lines and a gt.txt.
Training takes all cores. The speed of reading is that of the last FOLDER on one core, files and
all, in bfloat16 where the processor multiplies in it.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import describe_machine, one_core, rate_of
from rich.console import Console
from rich.table import Table

from hanline import Reader
from hanline.data.image_folder import GT, Row, read_gt
from hanline.metrics.comparison import Comparison
from hanline.metrics.punctuation import fold_punctuation

# The sequence modeling that DTRB gives its models; headline_quick has a smaller one.
_DTRB = (
    *("optimizer.lr=0.001", "model.sequence_modeling.hidden_size=256"),
    *("model.sequence_modeling.out_channels=256", "model.sequence_modeling.layers=2"),
)
_FIXED = (*_DTRB, "image.width=480")
# What each model is given in addition to its name.
MODELS: dict[str, Sequence[str]] = {
    "none_compact_bilstm_ctc": (),
    "headline": ("optimizer.lr=0.002", "model.sequence_modeling.hidden_size=192"),
    "none_vgg_bilstm_ctc": _DTRB,
    "none_rcnn_bilstm_ctc": _DTRB,
    "none_resnet_bilstm_ctc": _DTRB,
    "none_vgg_bilstm_attn": _FIXED,
    "tps_resnet_bilstm_attn": _FIXED,
}
STEP = re.compile(r"step (\d+) of ")


@dataclass(frozen=True)
class Trained:
    """What one model became.

    Attributes:
        model: of conf/model.
        parameters: in millions.
        steps: that it took.
        minutes: from the first step to the last.
        errors: CER with spaces and exact lines, both in percent, for each folder.
        lines_per_second: read on one core.
    """

    model: str
    parameters: float
    steps: int
    minutes: float
    errors: dict[str, tuple[float, float]]
    lines_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="that are read; each has a gt.txt")
    parser.add_argument("--minutes", type=float, default=5, help="of training each")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("outputs/backbones"), help="checkpoints")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all")
    given = parser.parse_args()
    print(describe_machine())
    # Whether they are there shows before hours of training.
    lines = {folder.name: read_folder(folder) for folder in given.folders}
    done: list[Trained] = []
    try:
        for model in given.models:
            done.append(trained(model, given, lines))
            print(json.dumps(asdict(done[-1]), ensure_ascii=False), flush=True)
    finally:
        print_table(done, given.folders)


def read_folder(folder: Path) -> list[Row]:
    """Return the lines of a folder."""
    return [row for row in read_gt(folder / GT) if not row.problem]


def trained(model: str, given: argparse.Namespace, lines: Mapping[str, Sequence[Row]]) -> Trained:
    """Train a model for the time, and read with it."""
    run = given.out / model
    settings = [f"model={model}", *MODELS[model], *given.set, f"hydra.run.dir={run}"]
    steps = max(10, int(60 * given.minutes * steps_per_second(settings)))
    print(f"{model}: {steps} steps", flush=True)
    settings += [f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}"]
    # Short trainings, too, are warmed up, in the same share of them.
    settings += [f"scheduler.warmup_steps={max(1, min(200, steps // 12))}"]
    times = dict(run_training(settings))
    minutes = (times[max(times)] - times[min(times)]) / 60 * steps / (max(times) - min(times))
    # Without a second look at lines that were read badly: these models read many lines badly.
    reader = Reader(run / "last.ckpt", device="cpu", deskew=False)
    errors = {}
    for folder, rows in lines.items():
        texts = [
            fold_punctuation(reading.text) for reading in reader.read(row.image for row in rows)
        ]
        found = Comparison.of([fold_punctuation(row.label) for row in rows], texts)
        errors[folder] = found["cer"], found["accuracy"]
    images = [row.image for row in lines[given.folders[-1].name]]
    with one_core():
        rate = rate_of(lambda: reader.read(images), len(images), seconds=3)
    parameters = sum(p.numel() for p in reader.recognizer.parameters()) / 1e6
    return Trained(model, parameters, steps, minutes, errors, rate)


def steps_per_second(settings: Sequence[str]) -> float:
    """Of a training's first steps, without the very first, which choose algorithms."""
    times = list(run_training([*settings, "trainer.max_steps=1000000"], until=40))
    (first, start), (last, end) = times[1], times[-1]
    return (last - first) / (end - start)


def run_training(settings: Sequence[str], until: int | None = None) -> list[tuple[int, float]]:
    """When which steps were done, in seconds; ``until`` that many seconds after the first."""
    command = [
        *(sys.executable, "-u", "-m", "hanline.commands.train", "experiment=headline_quick"),
        *("trainer.log_every_n_steps=5", *settings),
    ]
    times: list[tuple[int, float]] = []
    printed: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed = [*printed[-20:], line]
            if found := STEP.match(line):
                times.append((int(found[1]), time.perf_counter()))
                if until and len(times) > 3 and times[-1][1] - times[0][1] > until:
                    process.kill()
                    return times
    if process.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{''.join(printed)}")
    return times


def print_table(done: Sequence[Trained], folders: Sequence[Path]) -> None:
    table = Table("model", "parameters", "steps", "minutes", box=None, pad_edge=False)
    for folder in folders:
        table.add_column(f"{folder.name}: CER")
        table.add_column("exact")
    table.add_column("lines/s, one core")
    for one in done:
        table.add_row(
            *(one.model, f"{one.parameters:.1f} M", f"{one.steps:,}", f"{one.minutes:.1f}"),
            *(f"{percent:.1f} %" for pair in one.errors.values() for percent in pair),
            f"{one.lines_per_second:.0f}",
        )
    Console(width=max(160, Console().width)).print(table)


if __name__ == "__main__":
    main()
