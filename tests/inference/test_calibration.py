"""Confidences against what was right."""

import json

import numpy as np
import pytest

from hanline.inference.calibration import calibration, print_calibration


def test_the_table_counts_each_line_once():
    made = calibration([0.0, 0.05, 0.1, 0.95, 1.0], [False, True, False, True, True])
    assert [row.samples for row in made.bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    first, second, *_, last = made.bins
    assert (first.confidence, first.accuracy) == (pytest.approx(2.5), 50)
    assert (second.confidence, second.accuracy) == (pytest.approx(10), 0)
    assert (last.confidence, last.accuracy) == (pytest.approx(97.5), 100)
    assert made.error == pytest.approx((2 * 47.5 + 10 + 2 * 2.5) / 5)


def test_the_risk_is_that_of_the_surest_lines():
    sure = np.linspace(0.01, 0.99, 100)
    made = calibration(sure.tolist(), [number >= 8 for number in range(100)])
    assert made.risk == {50: 0, 80: 0, 90: 0, 95: pytest.approx(300 / 95), 100: 8}
    assert made.found == 100


def test_a_temperature_is_found_again():
    random = np.random.default_rng(1)
    honest = random.uniform(0.2, 1, 20_000)
    made = calibration(honest**3, random.uniform(size=20_000) < honest)
    assert made.temperature == pytest.approx(3, rel=0.05)
    assert made.scaled_error < 1.5
    assert made.error > 10
    assert calibration(honest, random.uniform(size=20_000) < honest).error < 1.5


def test_lines_that_are_all_right_or_all_wrong_have_a_calibration(capsys):
    for right in (True, False):
        made = calibration([0.5, 1.0, 0.0], [right] * 3)
        assert np.isfinite([made.error, made.temperature, made.scaled_error, made.found]).all()
        print_calibration(made)
    assert "expected calibration error" in capsys.readouterr().out


def test_evaluate_prints_and_writes_it(folder, words, checkpoint, command, tmp_path):
    done = command("evaluate", "input=pictures", f"checkpoint={checkpoint}", "calibration=true")
    assert done.status == 0, done.err
    assert "of the 80 % surest lines 0.00 % are wrong" in done.out
    record = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert sum(row["samples"] for row in record["calibration"]["bins"]) == len(words)
    assert record["calibration"]["risk"]["100"] == 0
    command("evaluate", "input=pictures", f"checkpoint={checkpoint}")
    assert "calibration" not in (tmp_path / "evaluation.json").read_text(encoding="utf-8")
