"""The comparison of two readers on the same samples, and the decision that follows from it."""

import numpy as np
import pytest

from hanline.daily.day import divided, judged
from hanline.daily.paired import Gain, paired_gain
from hanline.metrics.registry import metrics
from hanline.text.label_fit import misfit

CER, ACCURACY = metrics()["cer"], metrics()["accuracy"]


def test_fewer_errors_are_a_gain_whichever_direction_the_metric_has():
    labels = ["가나다라"] * 100
    before = ["가나다"] * 50 + labels[50:]
    for metric, gain in ((CER, 12.5), (ACCURACY, 50.0)):
        found = paired_gain(metric, labels, before, labels)
        assert found.gain == pytest.approx(gain)
        assert 0 < found.low < gain < found.high
        assert found.is_better
        back = paired_gain(metric, labels, labels, before)
        assert back.gain == pytest.approx(-gain)
        assert not back.is_better


def test_the_interval_is_that_of_the_paired_differences():
    random = np.random.default_rng(3)
    labels = ["가"] * 400
    before, after = (
        ["가" if right else "나" for right in random.random(400) < share] for share in (0.7, 0.8)
    )
    found = paired_gain(ACCURACY, labels, before, after)
    differences = [100 * ((b == "가") - (a == "가")) for a, b in zip(before, after, strict=True)]
    error = np.std(differences) / 20
    assert found.low == pytest.approx(found.gain - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(found.gain + 1.96 * error, abs=0.25 * error)


def test_equal_readers_gain_nothing():
    found = paired_gain(CER, ["가나"] * 10, ["가"] * 10, ["가"] * 10)
    assert (found.gain, found.low, found.high) == (0, 0, 0)
    assert not found.is_better


@pytest.mark.parametrize(
    ("today", "fixed", "promoted", "why"),
    [
        ((2, 1, 3), (0, -0.1, 0.1), True, "today is better"),
        ((2, -1, 5), (0, -0.1, 0.1), False, "today is not surely better"),
        ((2, 1, 3), (-0.3, -0.5, 0.1), False, "fixed is worse"),
        ((2, 1, 3), (-0.1, -0.5, 0.1), True, "nothing else lost more than 0.2"),
        ((0, 0, 0), (0, 0, 0), False, "today is not surely better"),
    ],
)
def test_a_candidate_is_promoted_only_if_better_and_nothing_is_worse(today, fixed, promoted, why):
    def gain(value, low, high):
        return Gain(100, 5.0, 5.0 - value, value, low, high)

    found = judged({"today": gain(*today), "fixed": gain(*fixed)}, CER, 0.2)
    assert found[0] is promoted
    assert why in found[1]


def test_parts_are_apart_and_depend_on_the_items_alone():
    items = [f"headline {number}" for number in range(100)]
    choose, today, train = divided(items, 0.2, str)
    assert (len(choose), len(today), len(train)) == (10, 10, 80)
    assert sorted([*choose, *today, *train]) == sorted(items)
    other = divided(items[::-1], 0.2, str)
    assert [sorted(part) for part in other] == [sorted(part) for part in (choose, today, train)]


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_labels_that_are_shifted_are_noticed(shift):
    texts = [
        "정부 예산",
        "새 도로",
        "학교 급식",
        "공항 확장",
        "은행 합병",
        "시장 점검",
        "해저 터널",
    ]
    labels = texts[-shift:] + texts[:-shift]
    assert f"shifted by {'a line' if abs(shift) == 1 else '2 lines'}" in misfit(labels, texts)


@pytest.mark.parametrize("read", [lambda text: text, lambda text: "", lambda text: "전혀 다른"])
def test_labels_of_a_good_dataset_or_of_unreadable_pictures_are_left_alone(read):
    labels = ["정부 예산", "새 도로", "학교 급식", "공항 확장", "은행 합병", "시장 점검"]
    assert misfit(labels, [read(label) for label in labels]) == ""
