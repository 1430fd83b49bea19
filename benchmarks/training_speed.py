"""Trains one step after another with Hanline and with DTRB, on all cores.

    python benchmarks/training_speed.py [--dtrb PATH] [--models NAME ...]

Batches of 64 images of 32×100 pixels, 1,400 classes. Hanline's step is that of `hanline train`:
its own module, the precision that `auto` takes, AdamW, gradients clipped, memory kept. DTRB's is
that of its train.py: its own model, float32, its loss, gradients clipped, Adadelta. Each side runs
in a process of its own, and they take turns.
"""

import argparse
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from measuring import Row, command, dtrb_argument, dtrb_module, in_turns, product_rate
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hanline.cli.hydra_app import CONF
from hanline.commands.train import make_recognizer
from hanline.data.base import Batch
from hanline.models.precision import best_precision
from hanline.models.recognizer import Recognizer
from hanline.system.malloc import keep_freed_memory
from hanline.system.parallel import available_cpus
from hanline.text.charset import Charset
from hanline.training.module import RecognizerModule

GOALS = {
    "none_vgg_bilstm_ctc": 2.2,
    "none_resnet_bilstm_ctc": 2.0,
    "tps_resnet_bilstm_attn": 2.2,
}
BATCH, HEIGHT, WIDTH, CLASSES, LONGEST = 64, 32, 100, 1400, 25
Step = Callable[[], object]


def arguments(parser: argparse.ArgumentParser) -> None:
    dtrb_argument(parser)
    parser.add_argument("--models", nargs="+", default=list(GOALS), help="of conf/model")
    parser.add_argument("--rounds", type=int, default=3, help="that are counted")
    parser.add_argument("--steps", type=int, default=4, help="steps of a round; fewer of slow ones")


def rows(given: argparse.Namespace) -> Iterator[Row]:
    precision, _ = best_precision("cpu")
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    threads = available_cpus()
    for model in given.models:
        steps = given.steps if "vgg" in model else max(1, given.steps // 4)
        with contextlib.ExitStack() as open_until_done:
            sides: list[Callable[[str], Step]] = [own_step]
            if given.dtrb:
                sides.append(partial(dtrb_step, given.dtrb))
            rates = in_turns(
                *(open_until_done.enter_context(process_of(side, model, steps)) for side in sides),
                rounds=given.rounds,
            )
        yield Row(
            work=f"train {model}",
            unit="images/s",
            ours=rates[0],
            theirs=rates[1] if given.dtrb else None,
            other="DTRB",
            goal=GOALS.get(model),
            limit=product_rate(dtype, threads) / operations(model, trained=True),
            limited_by=f"{str(dtype).removeprefix('torch.')} products, LSTMs' included",
        )


@contextlib.contextmanager
def process_of(
    make_step: Callable[[str], Step], model: str, steps: int
) -> Iterator[Callable[[], float]]:
    """Start a process that takes steps when it is asked to, and yield what asks it for its rate."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, make_step, model), daemon=True)
    process.start()
    # Else the death of the process would leave this one waiting.
    there.close()

    def rate() -> float:
        here.send(steps)
        images_per_second: float = here.recv()
        return images_per_second

    yield rate
    here.send(0)
    process.join()


def serve(connection: Connection, make_step: Callable[[str], Step], model: str) -> None:
    """Take as many steps as are asked for, until that is none."""
    step = make_step(model)
    # The first steps choose algorithms and fetch memory.
    for _ in range(2):
        step()
    while count := connection.recv():
        start = time.perf_counter()
        for _ in range(count):
            step()
        connection.send(count * BATCH / (time.perf_counter() - start))


def own_step(model: str, plain: bool = False) -> Step:
    """Make a step as `hanline train` takes it.

    Args:
        model: of conf/model.
        plain: without freed memory being kept, and with an optimizer that is not fused.
    """
    if not plain:
        keep_freed_memory()
    module, clip = own_module(model, ["~optimizer.fused"] if plain else [])
    optimizer = module.make_optimizer(module.recognizer.parameters())
    images = torch.randint(0, 256, (BATCH, HEIGHT, WIDTH, 1), dtype=torch.uint8)
    batch = Batch(images.permute(0, 3, 1, 2), random_labels(module.recognizer.charset.characters))
    low = best_precision("cpu")[0] == "bf16-mixed"

    def step() -> None:
        # What Lightning does with bf16-mixed, in the same order.
        with torch.autocast("cpu", torch.bfloat16, enabled=low, cache_enabled=False):
            loss = module(batch.images, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.recognizer.parameters(), clip)
        optimizer.step()

    return step


def own_module(model: str, overrides: Sequence[str] = ()) -> tuple[RecognizerModule, float]:
    """Build the module of `hanline train model=…`; return it with the longest gradient."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[f"model={model}", *overrides])
    recognizer = make_recognizer(config, Charset(characters(model)))
    module = RecognizerModule(
        recognizer, instantiate(config.optimizer), instantiate(config.scheduler)
    )
    return module.train(), config.trainer.gradient_clip_val


def dtrb_step(checkout: Path, model: str) -> Step:
    """Make a step as DTRB's train.py takes it."""
    recognizer, converter = dtrb_recognizer(checkout, model)
    recognizer.train()
    ctc = model.endswith("ctc")
    optimizer = torch.optim.Adadelta(recognizer.parameters(), lr=1, rho=0.95, eps=1e-8)
    images = torch.rand(BATCH, 1, HEIGHT, WIDTH) * 2 - 1
    labels = random_labels(characters(model))
    criterion = (
        torch.nn.CTCLoss(zero_infinity=True) if ctc else torch.nn.CrossEntropyLoss(ignore_index=0)
    )

    def cost() -> Tensor:
        text, lengths = converter.encode(labels, batch_max_length=LONGEST)
        if ctc:
            scores = recognizer(images, text).log_softmax(2).permute(1, 0, 2)
            return criterion(scores, text, torch.full((BATCH,), len(scores)), lengths)
        scores = recognizer(images, text[:, :-1])
        return criterion(scores.flatten(0, 1), text[:, 1:].flatten())

    def step() -> None:
        loss = cost()
        recognizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(recognizer.parameters(), 5)
        optimizer.step()

    return step


def dtrb_recognizer(checkout: Path, model: str) -> tuple[torch.nn.Module, Any]:
    """DTRB's model, and what makes classes of texts and back."""
    stages = [STAGES[stage] for stage in model.split("_")]
    utils = dtrb_module(checkout, "utils")
    converter = (utils.CTCLabelConverter if stages[-1] == "CTC" else utils.AttnLabelConverter)(
        characters(model)
    )
    names = ("Transformation", "FeatureExtraction", "SequenceModeling", "Prediction")
    settings: dict[str, Any] = dict(zip(names, stages, strict=True)) | {
        **{"imgH": HEIGHT, "imgW": WIDTH, "num_fiducial": 20, "input_channel": 1},
        **{"output_channel": 512, "hidden_size": 256, "batch_max_length": LONGEST},
        "num_class": len(converter.character),
    }
    return dtrb_module(checkout, "model").Model(argparse.Namespace(**settings)), converter


STAGES = {
    **{"none": "None", "tps": "TPS", "vgg": "VGG", "rcnn": "RCNN", "resnet": "ResNet"},
    **{"bilstm": "BiLSTM", "ctc": "CTC", "attn": "Attn"},
}


def characters(model: str) -> str:
    """As many as make 1,400 classes with those that the model has beside them."""
    special = 1 if model.endswith("ctc") else 2
    return "".join(chr(0xAC00 + i) for i in range(CLASSES - special))


def random_labels(alphabet: Sequence[str]) -> list[str]:
    """Labels of 1 to 10 characters, the same in every process."""
    generator = random.Random(0)
    return ["".join(generator.choices(alphabet, k=generator.randint(1, 10))) for _ in range(BATCH)]


def operations(model: str, trained: bool) -> float:
    """Count the operations of all products for one image, two a multiply-add.

    Args:
        model: of conf/model.
        trained: whether a training step is counted, which takes three times the forward pass of a
            label of ten characters, or a reading.
    """
    recognizer: Recognizer = own_module(model)[0].recognizer.train(trained)
    images = torch.zeros(1, 1, HEIGHT, WIDTH)
    recurrent = 0.0

    def count(lstm: torch.nn.Module, given: tuple[Tensor, ...], result: object) -> None:
        # The counter does not know them: every weight takes part once in each time step.
        nonlocal recurrent
        recurrent += 2.0 * given[0].shape[1] * sum(w.numel() for w in lstm.parameters())

    for part in recognizer.modules():
        if isinstance(part, torch.nn.LSTM):
            part.register_forward_hook(count)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if trained:
            recognizer.loss(images, [chr(0xAC00) * 10])
        else:
            recognizer(images)
    return (3.0 if trained else 1.0) * (recurrent + counter.get_total_flops())


if __name__ == "__main__":
    command(__doc__, arguments, rows)
