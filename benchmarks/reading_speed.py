"""Reads batches with Hanline and with DTRB, on all cores.

    python benchmarks/reading_speed.py [--dtrb PATH] [--models NAME ...]

Batches of 64 images of 32×100 pixels, 1,400 classes, decoded already: from pixels to texts. Hanline
reads as `hanline predict` does, in bfloat16 where `auto` takes it, and CTC in 8 bits too; DTRB as
its demo.py does, in float32. The weights are random, for which texts are as long to decode as they
can be. What 8 bits cost a trained model in accuracy, `hanline export format.int8=true` measures.
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from measuring import Row, command, dtrb_argument, in_turns, product_rate
from torch import Tensor
from training_speed import (
    BATCH,
    HEIGHT,
    LONGEST,
    WIDTH,
    dtrb_recognizer,
    operations,
    own_module,
    process_of,
)

from hanline.models.precision import best_precision
from hanline.quantization.int8_products import has_fast_int8
from hanline.quantization.torch_int8 import calibrate, quantize
from hanline.system.malloc import keep_freed_memory
from hanline.system.parallel import available_cpus

# For each model, how many times as fast as DTRB it should be, and in 8 bits.
GOALS = {
    "none_vgg_bilstm_ctc": (2.5, 4.0),
    "none_resnet_bilstm_ctc": (2.0, 4.0),
    "tps_resnet_bilstm_attn": (2.2, None),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    dtrb_argument(parser)
    parser.add_argument("--models", nargs="+", default=list(GOALS), help="of conf/model")
    parser.add_argument("--rounds", type=int, default=3, help="that are counted")
    parser.add_argument("--batches", type=int, default=4, help="of a round")


def rows(given: argparse.Namespace) -> Iterator[Row]:
    low = torch.bfloat16 if best_precision("cpu")[0] == "bf16-mixed" else torch.float32
    threads = available_cpus()
    for model in given.models:
        dtypes = [low]
        if has_fast_int8() and model.endswith("ctc"):
            dtypes.append(torch.int8)
        sides = [partial(own_reading, dtype) for dtype in dtypes]
        if given.dtrb:
            sides.append(partial(dtrb_reading, given.dtrb))
        with contextlib.ExitStack() as open_until_done:
            rates = in_turns(
                *(
                    open_until_done.enter_context(process_of(side, model, given.batches))
                    for side in sides
                ),
                rounds=given.rounds,
            )
        for dtype, rate, goal in zip(dtypes, rates, GOALS.get(model, (None, None)), strict=False):
            yield Row(
                work=f"read {model} in {str(dtype).removeprefix('torch.')}",
                unit="images/s",
                ours=rate,
                theirs=rates[-1] if given.dtrb else None,
                other="DTRB",
                goal=goal,
                limit=product_rate(dtype, threads) / operations(model, trained=False),
                limited_by=f"{str(dtype).removeprefix('torch.')} products",
            )


def own_reading(dtype: torch.dtype, model: str) -> Callable[[], object]:
    """Return what reads a batch as `hanline predict` does."""
    keep_freed_memory()
    recognizer = own_module(model)[0].recognizer.eval()
    images = batch()
    if dtype == torch.int8:
        recognizer.ranges = calibrate(recognizer, [images])
        recognizer = quantize(recognizer)
    low = best_precision("cpu")[0] == "bf16-mixed"

    def read() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            return recognizer.read(images)

    return read


def batch() -> Tensor:
    """Images (B, C, H, W), uint8."""
    pixels = torch.randint(0, 256, (BATCH, HEIGHT, WIDTH, 1), dtype=torch.uint8)
    return pixels.permute(0, 3, 1, 2)


def dtrb_reading(checkout: Path, model: str) -> Callable[[], object]:
    """Return what reads a batch as DTRB's demo.py does."""
    recognizer, converter = dtrb_recognizer(checkout, model)
    recognizer.eval()
    images = batch().float() / 127.5 - 1
    start = torch.zeros(BATCH, LONGEST + 1, dtype=torch.long)

    @torch.no_grad()
    def read() -> object:
        scores = recognizer(images, start, is_train=False)
        steps = scores.shape[1] if model.endswith("ctc") else LONGEST
        texts = converter.decode(scores.max(2)[1], torch.IntTensor([steps] * BATCH))
        best = scores.softmax(dim=2).max(dim=2)[0]
        return texts, [line.cumprod(dim=0)[-1].item() for line in best]

    return read


if __name__ == "__main__":
    command(__doc__, arguments, rows)
