"""What a run keeps, and the figure that it returns."""

import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from hanline.training.callbacks.checkpoints import BestCheckpoint, best_accuracy


@pytest.mark.parametrize("order", [("accuracy", "norm_ed"), ("norm_ed", "accuracy")])
def test_the_figure_of_a_run_is_its_accuracy(order: tuple[str, str], tmp_path: Path) -> None:
    scores = {"accuracy": 40.0, "norm_ed": 70.0}
    callbacks = [BestCheckpoint(tmp_path, figure) for figure in order]
    trainer = pl.Trainer(accelerator="cpu", callbacks=list(callbacks), logger=False)
    assert best_accuracy(trainer) is None
    for figure, callback in zip(order, callbacks, strict=True):
        callback.best_model_score = torch.tensor(scores[figure])
    assert best_accuracy(trainer) == 40


def test_without_its_checkpoint_there_is_no_figure(tmp_path: Path) -> None:
    callback = BestCheckpoint(tmp_path, "norm_ed")
    callback.best_model_score = torch.tensor(70.0)
    assert best_accuracy(pl.Trainer(accelerator="cpu", callbacks=[callback], logger=False)) is None


def test_a_run_that_was_moved_remembers_its_best(tmp_path: Path) -> None:
    former = BestCheckpoint(tmp_path / "former", "accuracy")
    former.best_model_score = torch.tensor(50.0)
    moved = BestCheckpoint(tmp_path / "moved", "accuracy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved.load_state_dict(former.state_dict())
    trainer = pl.Trainer(accelerator="cpu", callbacks=[moved], logger=False)
    assert not moved.check_monitor_top_k(trainer, torch.tensor(40.0))
    assert moved.check_monitor_top_k(trainer, torch.tensor(50.0))
