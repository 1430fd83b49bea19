"""Measures a checkpoint on the validation set of its run with so many devices; prints JSON.

Called as ``measure_validation.py CONFIG CHECKPOINT DEVICES``; Lightning starts the other processes
with the same command line.
"""

import json
import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hanline.formats.registry import open_model
from hanline.training.module import RecognizerModule


def main() -> None:
    config = OmegaConf.load(sys.argv[1])
    recognizer = open_model(Path(sys.argv[2]))
    module = RecognizerModule(recognizer, optimizer=None, scheduler=None)
    data = instantiate(
        config.data,
        charset=recognizer.charset,
        corpus=partial(instantiate, config.corpus),
        synthesis=partial(instantiate, config.synthesis, characters=recognizer.charset.characters),
    )
    trainer = pl.Trainer(
        devices=int(sys.argv[3]),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer.validate(module, data, verbose=False)
    figures = {
        name.removeprefix("validation/"): float(v) for name, v in trainer.callback_metrics.items()
    }
    if trainer.is_global_zero:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
