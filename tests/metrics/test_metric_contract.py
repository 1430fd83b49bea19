"""Every metric that the registry finds keeps the contract; a new one is tested by being there."""

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hanline.metrics.base import Metric, Readings
from hanline.metrics.registry import find_metric, metrics

LABELS = ["가나", "가나다", "마", "라 라 라", "국회 본회의", ""]
TEXTS = ["가나", "가나바", "", "라 라", "국회 본회의", "뭐"]
# A metric as an installed package brings it.
WORD_ACCURACY = '''
from hanline.metrics.base import Metric, ratio


class WordAccuracy(Metric):
    """Words of the labels that were read at their place, in percent."""

    name = "word_accuracy"
    title = "words"
    direction = "max"
    sums = ("right", "words")

    def add(self, readings):
        pairs = zip(readings.labels, readings.texts)
        right = sum(
            one == other
            for label, text in pairs
            for one, other in zip(label.split(), text.split())
        )
        return right, sum(len(label.split()) for label in readings.labels)

    def value(self, sums):
        return 100 * ratio(sums["right"], sums["words"])
'''
ENTRY_POINTS = "[hanline.metrics]\nword_accuracy = word_accuracy:WordAccuracy\n"


def readings(labels: list[str], texts: list[str]) -> Readings:
    count = len(labels)
    return Readings(labels, texts, np.full(count, 0.5, np.float32), np.ones(count, np.int64))


def value(metric: Metric, *parts: Readings) -> float:
    sums = np.array([metric.add(part) for part in parts]).sum(axis=0).tolist()
    return metric.value(dict(zip(metric.sums, sums, strict=True)))


@pytest.mark.parametrize("metric", metrics().values(), ids=metrics())
class TestEachMetric:
    def test_sums_of_parts_add_up_to_those_of_all(self, metric: Metric) -> None:
        whole = metric.add(readings(LABELS, TEXTS))
        assert len(whole) == len(metric.sums)
        assert all(isinstance(number, int) for number in whole)
        parts = [readings([label], [text]) for label, text in zip(LABELS, TEXTS, strict=True)]
        assert np.array([metric.add(part) for part in parts]).sum(axis=0).tolist() == list(whole)

    def test_right_readings_are_better_than_wrong_ones(self, metric: Metric) -> None:
        if metric.needs_losses:
            pytest.skip("judges losses, not readings")
        right = value(metric, readings(LABELS[:5], LABELS[:5]))
        wrong = value(metric, readings(LABELS[:5], TEXTS[:5]))
        assert metric.is_better(right, wrong)
        assert not metric.is_better(wrong, right)
        assert not metric.is_better(right, right)

    def test_any_number_is_better_than_nan(self, metric: Metric) -> None:
        assert metric.is_better(0.0, math.nan)
        assert not metric.is_better(math.nan, 0.0)
        assert not metric.is_better(math.nan, math.nan)

    def test_its_name_can_stand_in_a_file_name_and_its_text_has_its_unit(
        self, metric: Metric
    ) -> None:
        assert metric.name.isidentifier()
        assert metric.name == metric.name.lower()
        assert find_metric(metric.name, "monitor") is metric
        assert metric.text(12.3456789) == f"{12.3456789:.{metric.decimals}f}{metric.unit}"


def test_no_readings_have_no_accuracy() -> None:
    assert math.isnan(value(metrics()["accuracy"], readings([], [])))
    assert math.isnan(value(metrics()["edit_similarity"], readings([], [])))


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str], Path]:
    """Installs a package of one module, as pip lays it out; the folder for PYTHONPATH."""

    def install(module: str, entry_points: str) -> Path:
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / "word_accuracy.py").write_text(module, encoding="utf-8")
        info = folder / "word_accuracy-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: word-accuracy\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
        return folder

    return install


ALL_CONSUMERS = """
import json, sys
from collections import Counter
from pathlib import Path
import torch
from hanline.inference.evaluation import Evaluation, as_json, print_evaluation
from hanline.metrics.comparison import Comparison
from hanline.training.validation_metrics import ValidationMetrics
from hanline.training.callbacks.best_checkpoint import BestCheckpoint

compared = Comparison.of(["가나 다", "마"], ["가나 라", "마"])
evaluation = Evaluation(compared, {3: compared}, Counter(), {}, {}, Counter())
print_evaluation(evaluation, 0)
validated = ValidationMetrics()
validated.update(["가나 다", "마"], ["가나 라", "마"], torch.ones(2), torch.ones(2).long())
best = BestCheckpoint(Path("."), "word_accuracy")
print(json.dumps({
    "json": json.loads(as_json(evaluation))["total"]["word_accuracy"],
    "validated": validated.compute()["word_accuracy"],
    "best": [best.filename, best.mode, best.monitor],
}))
"""


def test_a_metric_of_an_installed_package_is_everywhere(install: Any, process: Any) -> None:
    ended = process("-c", ALL_CONSUMERS, PYTHONPATH=python_path(install, WORD_ACCURACY))
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    two_of_three = pytest.approx(200 / 3)
    assert "words 66.67 %" in lines[0]
    assert lines[1].split() == ["length", "samples", "accuracy", "CER", "1-NED", "words"]
    assert json.loads(lines[-1]) == {
        "json": two_of_three,
        "validated": two_of_three,
        "best": ["best_word_accuracy", "max", "validation/word_accuracy"],
    }


@pytest.mark.parametrize(
    "module, message",
    [
        ("class WordAccuracy: pass\n", "expected word_accuracy to be a subclass of"),
        (WORD_ACCURACY.replace('"word_accuracy"', '"cer"'), "'cer' is taken"),
        ("import nowhere_to_be_found\n", "of word-accuracy to be importable"),
    ],
    ids=["not a metric", "a name that is taken", "not importable"],
)
def test_a_package_whose_metric_cannot_be_used_is_named(
    module: str, message: str, install: Any, process: Any
) -> None:
    code = (
        "from hanline.errors import HanlineError\n"
        "from hanline.metrics.registry import metrics\n"
        "try:\n    metrics()\nexcept HanlineError as error:\n    print(error)\n"
    )
    ended = process("-c", code, PYTHONPATH=python_path(install, module))
    assert ended.status == 0, ended.err
    assert message in ended.out


def python_path(install: Any, module: str) -> str:
    folder = install(module, ENTRY_POINTS)
    return os.pathsep.join([str(folder), *filter(None, sys.path)])
