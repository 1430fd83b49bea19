"""A run says how long it will take, measured on its own steps."""

import logging
import re
import time

import pytest
import pytorch_lightning as pl
import torch

from hanline.training.callbacks.estimate import Estimate, in_words


class Slow(pl.LightningModule):
    """A model of one weight, each of whose steps takes 20 ms, the first 300 ms."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        time.sleep(0.3 if batch_idx == 0 else 0.02)
        return (self.weight * batch.mean()).sum()

    def validation_step(self, batch, batch_idx):
        time.sleep(0.01)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def messages(caplog, tmp_path, steps, accumulated=1):
    batches = torch.utils.data.DataLoader(torch.ones(1000, 1))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=10 * accumulated,
        check_val_every_n_epoch=None,
        limit_val_batches=2,
        accumulate_grad_batches=accumulated,
        num_sanity_val_steps=0,
        callbacks=[Estimate(skipped=1, measured=3)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    with caplog.at_level(logging.INFO):
        trainer.fit(Slow(), batches, batches)
    return [text for text in caplog.messages if text.startswith("estimate: ")]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_first_steps_are_left_out_and_the_rest_is_said_twice(caplog, tmp_path, accumulated):
    first, second = messages(caplog, tmp_path, 30, accumulated)
    found = re.search(r"for the 26 steps left at ([\d.]+) s, plus validations", first)
    # At least the time slept. The first step would make it 0.1 s more on average.
    assert float(found[1]) >= 0.02 * accumulated - 0.005
    assert re.search(r"about \d+ seconds left, with 2 validations of \d+ s", second)


def test_a_run_that_is_over_before_says_nothing(caplog, tmp_path):
    assert messages(caplog, tmp_path, 3) == []


def test_durations_have_the_unit_that_suits_them():
    assert in_words(45) == "45 seconds"
    assert in_words(720) == "12 minutes"
    assert in_words(3.5 * 3600) == "3.5 hours"
    assert in_words(10 * 86400) == "10.0 days"
