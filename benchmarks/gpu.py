"""What an NVIDIA card makes of a training: speed, waiting for data, and the share of its peak.

    python benchmarks/gpu.py [--minutes 10] [--models NAME ...] [--json FILE]

It ends after the minutes and names what it left out. Without a card it ends with status 2.

- Steps alone: batches that lie on the card already, 32×100 pixels, 1,400 classes, in bf16-mixed and
  16-mixed, with the transformation and the feature extraction compiled or not. The peak is the rate
  of a product of matrices, measured on the spot.
- Trainings: `hanline train` (`headline` with experiment=headline, so that each batch has the width
  of its lines; the others with 32×100 pixels), with lines that are
  rendered as they are needed (data=online) and with a stored dataset, on one card and, if there are
  two, on two, each with a process of its own.
- A training that resumes, and its checkpoint read on the card and on the processor.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine, number
from rich.console import Console
from rich.table import Table
from training_speed import CLASSES, HEIGHT, WIDTH, characters, operations, own_module
from word_images import samples, temporary_folder

from hanline import Reader
from hanline.system.files import write_text

NO_CARD = 2
MODELS = ["none_vgg_bilstm_ctc", "tps_resnet_bilstm_attn", "headline"]
PRECISIONS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "32-true": torch.float32}
MEASURED_PRECISIONS = ("bf16-mixed", "16-mixed")
BATCH = 192
# The steps of a training that count, and those before them that do not.
STEPS, SKIPPED = 100, 20
# The samples of the stored dataset.
STORED = 4000
# Seconds that a compiled step may take: nothing can stop it once it has begun.
COMPILING = 120


@dataclass(frozen=True)
class StepAlone:
    """Training steps on a batch that lies on the device.

    Attributes:
        model: of conf/model.
        precision: as Lightning names it.
        compiled: whether the transformation and the feature extraction were.
        images_per_second: of forward, backward and optimizer.
        of_peak: the operations of the products a second, as a share of the product rate.
    """

    model: str
    precision: str
    compiled: bool
    images_per_second: float
    of_peak: float


@dataclass(frozen=True)
class Training:
    """A run of `hanline train`.

    Attributes:
        model: of conf/model.
        data: online or stored.
        devices: each with a process of its own.
        precision: that the run took.
        images_per_second: over all devices.
        waiting: the share of the time in which the device waits for data.
    """

    model: str
    data: str
    devices: int
    precision: str
    images_per_second: float
    waiting: float


@dataclass(frozen=True)
class Resumed:
    """A training that was resumed, and its checkpoint on two devices.

    Attributes:
        steps: after which the resumed run ended.
        same_texts: the share of images that are read the same on the device and on the processor.
        confidence_difference: the largest difference of a confidence.
    """

    steps: int
    same_texts: float
    confidence_difference: float


class OutOfTimeError(Exception):
    """The minutes are over."""


class Deadline:
    """The moment when the benchmark has to end.

    Args:
        minutes: from now.
    """

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def left(self, at_least: float = 0.0) -> float:
        """Return the seconds that are left.

        Raises:
            OutOfTimeError: they are not more than ``at_least``.
        """
        left = self._end - time.monotonic()
        if left <= at_least:
            raise OutOfTimeError
        return left


def main() -> None:
    """Measure everything that fits into the minutes, and print it."""
    given = make_parser().parse_args()
    if not torch.cuda.is_available():
        print(
            "error: expected an NVIDIA card that torch can use, and there is none. Run this on a "
            "machine with one, and with a torch that was built for it",
            file=sys.stderr,
        )
        sys.exit(NO_CARD)
    found: list[StepAlone | Training | Resumed] = []
    left_out: list[str] = []
    print(describe_machine())
    print(f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}", flush=True)
    try:
        measure_all(given, found, left_out)
    finally:
        # What took minutes is not lost to a fault in what follows.
        print_all(found, left_out)
        if given.json:
            write_text(given.json, json.dumps([asdict(one) for one in found], indent=2))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="that it may take")
    parser.add_argument("--models", nargs="+", default=MODELS, help="of conf/model")
    parser.add_argument("--batch", type=int, default=BATCH, help="images of a batch")
    parser.add_argument("--json", type=Path, help="to write what was measured to")
    return parser


def measure_all(
    given: argparse.Namespace, found: list[StepAlone | Training | Resumed], left_out: list[str]
) -> None:
    """Measure, the cheap and the most wanted first; ``left_out`` gets what found no time."""
    deadline = Deadline(given.minutes)
    device = torch.device("cuda")
    with temporary_folder() as folder:
        for name, measure in cases(given, device, folder, deadline):
            try:
                print(f"{deadline.left():.0f} s left: {name}", file=sys.stderr, flush=True)
                found.append(measure())
            except (OutOfTimeError, subprocess.TimeoutExpired):
                left_out.append(f"{name}: no time was left")
            # One failure, as of too little memory, must not end what others may measure.
            except Exception as error:
                left_out.append(f"{name}: {failure(error)}")


def cases(
    given: argparse.Namespace, device: torch.device, folder: Path, deadline: Deadline
) -> Iterator[tuple[str, Callable[[], StepAlone | Training | Resumed]]]:
    """Yield the name of each piece of work, and what measures it."""

    def step(model: str, precision: str, compiled: bool) -> tuple[str, Callable[[], StepAlone]]:
        name = f"a step of {model} in {precision}{', compiled' if compiled else ''}"

        def measure() -> StepAlone:
            deadline.left(at_least=COMPILING if compiled else 0)
            return step_alone(model, precision, compiled, device, given.batch)

        return name, measure

    def run(model: str, data: str, devices: int) -> tuple[str, Callable[[], Training]]:
        name = f"train {model}, data={data}, {devices} processes"
        return name, lambda: training(
            folder / f"{model}_{data}_{devices}",
            *(model, data, devices, "gpu"),
            overrides=[f"data.batch_size={given.batch}"],
            timeout=deadline.left(),
        )

    for precision in MEASURED_PRECISIONS:
        for model in given.models:
            yield step(model, precision, compiled=False)
    yield "resume", lambda: resume(folder / "resumed", "gpu", timeout=deadline.left())
    for model in given.models:
        for data in ("stored", "online"):
            yield run(model, data, devices=1)
    for model in given.models:
        yield step(model, MEASURED_PRECISIONS[0], compiled=True)
    if torch.cuda.device_count() > 1:
        for model in given.models:
            for data in ("stored", "online"):
                yield run(model, data, devices=2)
    for model in given.models:
        yield step(model, MEASURED_PRECISIONS[1], compiled=True)


def step_alone(
    model: str,
    precision: str,
    compiled: bool,
    device: torch.device,
    batch: int,
    seconds: float = 3.0,
    product_size: int = 8192,
) -> StepAlone:
    """Measure steps, and the product rate of the device right after them."""
    step = make_step(model, precision, compiled, device, batch)
    # The first steps choose algorithms, fetch memory, and compile.
    for _ in range(3):
        step()
    rate = rate_on(device, step, batch, seconds)
    peak = product_rate_on(device, PRECISIONS[precision], product_size)
    return StepAlone(
        model, precision, compiled, rate, rate * operations(model, trained=True) / peak
    )


def make_step(
    model: str, precision: str, compiled: bool, device: torch.device, batch: int
) -> Callable[[], object]:
    """Return a step as Lightning takes it in a precision."""
    module, clip = own_module(model)
    module = module.to(device)
    recognizer = module.recognizer
    optimizer = module.make_optimizer(recognizer.parameters())
    if compiled:
        # Labels have other lengths in each batch, so the loss is not compiled.
        torch._dynamo.reset()
        for stage in ("transformation", "feature_extraction"):
            setattr(recognizer, stage, torch.compile(getattr(recognizer, stage)))
    pixels = torch.randint(0, 256, (batch, HEIGHT, WIDTH, 1), dtype=torch.uint8, device=device)
    images = pixels.permute(0, 3, 1, 2)
    alphabet = characters(model)
    labels = [alphabet[i % CLASSES : i % CLASSES + 1 + i % 10] or alphabet[0] for i in range(batch)]
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
    mixed = precision != "32-true"

    def step() -> None:
        with torch.autocast(device.type, PRECISIONS[precision]) if mixed else nullcontext():
            loss = module(images, labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(recognizer.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()

    return step


def rate_on(
    device: torch.device, work: Callable[[], object], count: float, seconds: float
) -> float:
    """Return how many of ``count`` a device finishes a second, in at least that many seconds."""
    finish(device)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or not done:
        work()
        done += 1
        # A host that ran far ahead would measure how fast it can ask for work.
        if done % 10 == 0:
            finish(device)
    finish(device)
    return done * count / (time.perf_counter() - start)


def product_rate_on(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Return the operations a second of a product of two square matrices, two a multiply-add."""
    left, right = torch.randn(2, size, size, device=device, dtype=dtype)
    left @ right
    return max(rate_on(device, lambda: left @ right, 2.0 * size**3, 0.3) for _ in range(3))


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training(
    run_dir: Path,
    model: str,
    data: str,
    devices: int,
    accelerator: str,
    overrides: Sequence[str] = (),
    steps: int = STEPS,
    skipped: int = SKIPPED,
    timeout: float | None = None,
) -> Training:
    """Train by the command, and return what the callback of waiting.py measured.

    Args:
        run_dir: of the run; the datasets lie beside it.
        model: of conf/model.
        data: ``online`` or ``stored``, which is rendered first, outside the measured time.
        devices: how many, each with a process of its own.
        accelerator: of Lightning's.
        overrides: more settings.
        steps, skipped: how many are measured, and how many before them are not.
        timeout: in seconds.

    Raises:
        subprocess.TimeoutExpired: it took longer.
        subprocess.CalledProcessError: it failed.
    """
    measured = run_dir.with_suffix(".json")
    hanline_train(
        [
            *(["experiment=headline"] if model == "headline" else [f"model={model}"]),
            f"data={'online' if data == 'online' else 'synthetic'}",
            *common(run_dir, accelerator),
            f"trainer.devices={devices}",
            f"trainer.max_steps={skipped + steps + 1}",
            f"trainer.val_check_interval={skipped + steps + 1}",
            *([f"data.train.samples={STORED}"] if data == "stored" else []),
            "++callbacks.waiting._target_=waiting.Waiting",
            f"++callbacks.waiting.file={measured}",
            f"++callbacks.waiting.skip={skipped}",
            *overrides,
        ],
        timeout,
    )
    result: dict[str, Any] = json.loads(measured.read_text(encoding="utf-8"))
    return Training(
        model,
        data,
        result["devices"],
        result["precision"],
        result["images_per_second"],
        result["waiting"],
    )


def resume(
    run_dir: Path, accelerator: str, steps: int = 40, timeout: float | None = None
) -> Resumed:
    """Train, resume for as many steps again, and read with the checkpoint on both devices.

    Raises:
        subprocess.TimeoutExpired: it took longer.
        subprocess.CalledProcessError: it failed.
    """
    deadline = Deadline((timeout or 3600) / 60)
    half = [
        *("model=none_compact_bilstm_ctc", *common(run_dir, accelerator)),
        *(f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}"),
        *("data.batch_size=32", "data.train.samples=500"),
    ]
    hanline_train(half, deadline.left())
    last = run_dir / "last.ckpt"
    hanline_train(
        [
            *(f"resume={last}", f"trainer.max_steps={2 * steps}"),
            f"trainer.val_check_interval={2 * steps}",
        ],
        deadline.left(),
    )
    taken = torch.load(last, map_location="cpu", weights_only=True)["global_step"]
    images = [sample.image for sample in samples()[:100]]
    device = "cuda" if accelerator == "gpu" else accelerator
    one, other = (
        list(Reader(last, device=where, precision="32-true").read(images))
        for where in (device, "cpu")
    )
    pairs = list(zip(one, other, strict=True))
    return Resumed(
        steps=taken,
        same_texts=sum(a.text == b.text for a, b in pairs) / len(pairs),
        confidence_difference=max(abs(a.confidence - b.confidence) for a, b in pairs),
    )


def common(run_dir: Path, accelerator: str) -> list[str]:
    """Return the settings of all trainings."""
    return [
        *("synthesis.fonts=bundled", "logger=none", "data.validation.samples=200"),
        *(f"data.rendered_dir={run_dir.parent / 'rendered'}", f"hydra.run.dir={run_dir}"),
        f"trainer.accelerator={accelerator}",
    ]


def hanline_train(overrides: Sequence[str], timeout: float | None) -> None:
    """Run ``hanline train`` in a process of its own, which finds the callback beside this file."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, "-m", "hanline.commands.train", *overrides],
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def failure(error: Exception) -> str:
    """Return the last line that a failure printed."""
    text = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    printed = (text or "").strip().splitlines()
    return printed[-1] if printed else repr(error)


def print_all(found: Sequence[StepAlone | Training | Resumed], left_out: Sequence[str]) -> None:
    """Print a table for each kind of measurement, and what was left out."""
    steps = Table("step alone", "precision", "compiled", "images/s", "of the peak", box=None)
    trainings = Table("training", "data", "processes", "precision", "images/s", "waits", box=None)
    for one in found:
        if isinstance(one, StepAlone):
            compiled = "yes" if one.compiled else "no"
            rate = number(one.images_per_second)
            steps.add_row(one.model, one.precision, compiled, rate, f"{one.of_peak:.1%}")
        elif isinstance(one, Training):
            rate, waits = number(one.images_per_second), f"{one.waiting:.1%}"
            trainings.add_row(one.model, one.data, str(one.devices), one.precision, rate, waits)
        else:
            print(
                f"a resumed training ended after step {one.steps}; the card and the processor read "
                f"{one.same_texts:.1%} of the images the same, with confidences that differ by at "
                f"most {one.confidence_difference:.1e}"
            )
    console = Console(width=max(120, Console().width))
    console.print(steps)
    console.print(trainings)
    for name in left_out:
        print(f"left out: {name}")


if __name__ == "__main__":
    main()
