"""The metrics of a validation do not depend on its batches, and a loss that is NaN shows."""

import math

import pytest
import torch

from hanline.training.validation_metrics import ValidationMetrics

LABELS = ["가", "나다라마", "가나", "다", "라마가나다", "나나", "마라"]


def measured(recognizer, images, sizes):
    """The metrics of the labels in batches of these sizes."""
    metrics = ValidationMetrics()
    with torch.inference_mode():
        batches = zip(images.split(sizes), torch.arange(len(LABELS)).split(sizes), strict=True)
        for batch, numbers in batches:
            labels = [LABELS[number] for number in numbers]
            features = recognizer.features(batch)
            texts, _ = recognizer.read(batch)
            metrics.update(labels, texts, *recognizer.prediction.losses(features, labels))
    return metrics.compute()


@pytest.fixture(params=["ctc", "attn"])
def recognizer(request, make_recognizer):
    return make_recognizer(prediction=request.param, charset="가나다라마").eval()


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.randint(0, 256, (len(LABELS), 1, 32, 96), dtype=torch.uint8)


def test_the_metrics_are_those_of_one_batch(recognizer, images):
    whole = measured(recognizer, images, [7])
    for sizes in ([1] * 7, [3, 4], [5, 2]):
        assert measured(recognizer, images, sizes) == pytest.approx(whole, rel=1e-5)
    with torch.inference_mode():
        assert whole["loss"] == pytest.approx(recognizer.loss(images, LABELS).item(), rel=1e-5)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_one_loss_that_is_no_number_makes_the_mean_none(number):
    metrics = ValidationMetrics()
    for losses in ([1.0, number], [2.0, 3.0]):
        metrics.update(["가", "나"], ["가", "다"], torch.tensor(losses), torch.tensor([1, 1]))
    values = metrics.compute()
    assert math.isnan(values["loss"])
    assert values["accuracy"] == 50


def test_a_huge_loss_stays_huge():
    metrics = ValidationMetrics()
    for _ in range(100):
        metrics.update(["가"], ["나"], torch.tensor([1e30]), torch.tensor([1]))
    assert metrics.compute()["loss"] == pytest.approx(1e6)


@pytest.mark.parametrize("batch", [1, 192, 5000, 20_000])
def test_nothing_is_left_out_however_much_comes_at_a_time(batch):
    """Nor counted twice by asking in between, nor by asking for the metrics of a batch."""
    metrics = ValidationMetrics()
    for start in range(0, 20_000, batch):
        numbers = range(start, min(start + batch, 20_000))
        labels = ["가" * (1 + number % 3) for number in numbers]
        texts = ["나" if n % 4 == 0 else label for n, label in zip(numbers, labels, strict=True)]
        losses = torch.full((len(numbers),), 0.25)
        metrics.update(labels, texts, losses, torch.ones(len(numbers), dtype=torch.int64))
        if start <= 5000:
            assert metrics.compute()["samples"] == numbers.stop
    values = metrics.compute()
    assert values["samples"] == 20_000
    assert values["accuracy"] == 75
    assert values["loss"] == 0.25
    one = metrics(["가"], ["나"], torch.tensor([4.0]), torch.tensor([1]))
    assert one["accuracy"] == 0
    assert metrics.compute()["samples"] == 20_001
    metrics.reset()
    metrics.update(["가"], ["가"], torch.tensor([4.0]), torch.tensor([1]))
    assert metrics.compute()["accuracy"] == 100
    assert metrics.compute()["samples"] == 1
