"""The best states that a run keeps, and the value that it returns."""

import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from hanline.errors import HanlineError
from hanline.training.callbacks.best_checkpoint import BestCheckpoint, best_value


@pytest.mark.parametrize("order", [("accuracy", "cer"), ("cer", "accuracy")])
def test_the_value_of_a_run_is_its_accuracy(order: tuple[str, str], tmp_path: Path) -> None:
    scores = {"accuracy": 40.0, "cer": 70.0}
    callbacks = [BestCheckpoint(tmp_path, metric) for metric in order]
    trainer = pl.Trainer(accelerator="cpu", callbacks=list(callbacks), logger=False)
    assert best_value(trainer, "accuracy") is None
    for metric, callback in zip(order, callbacks, strict=True):
        callback.best_model_score = torch.tensor(scores[metric])
    assert best_value(trainer, "accuracy") == 40


def test_without_its_checkpoint_there_is_no_value(tmp_path: Path) -> None:
    callback = BestCheckpoint(tmp_path, "edit_similarity")
    callback.best_model_score = torch.tensor(70.0)
    trainer = pl.Trainer(accelerator="cpu", callbacks=[callback], logger=False)
    assert best_value(trainer, "accuracy") is None


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


def test_the_direction_of_the_best_follows_from_the_metric(tmp_path: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=False)
    for metric, better, worse in (("accuracy", 60.0, 40.0), ("cer", 40.0, 60.0)):
        callback = BestCheckpoint(tmp_path, metric)
        callback.best_model_score = torch.tensor(50.0)
        assert callback.check_monitor_top_k(trainer, torch.tensor(better))
        assert callback.check_monitor_top_k(trainer, torch.tensor(50.0))
        assert not callback.check_monitor_top_k(trainer, torch.tensor(worse))
        assert not callback.check_monitor_top_k(trainer, torch.tensor(float("nan")))
        assert callback.filename == f"best_{metric}"


def test_a_misspelt_metric_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(HanlineError, match=r"monitor=acuracy: expected a metric, .*accuracy, cer"):
        BestCheckpoint(tmp_path, "acuracy")
