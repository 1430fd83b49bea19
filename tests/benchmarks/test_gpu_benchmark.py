"""benchmarks/gpu.py, as far as a processor can show that it works."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from gpu import (
    Deadline,
    OutOfTimeError,
    Resumed,
    StepAlone,
    Training,
    cases,
    failure,
    make_parser,
    print_all,
    product_rate_on,
    resume,
    step_alone,
    training,
)
from waiting import moment, seconds

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SMALL = "none_compact_bilstm_ctc"


@pytest.mark.slow
def test_without_a_card_it_says_so_and_ends_with_status_2():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py")],
        # On a machine with a card, it is hidden.
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: expected an NVIDIA card")
    assert "Traceback" not in done.stderr


def test_by_default_it_takes_the_three_models_and_ten_minutes():
    given = make_parser().parse_args([])
    assert given.minutes == 10
    assert given.models == ["none_vgg_bilstm_ctc", "tps_resnet_bilstm_attn", "headline"]


def test_after_the_minutes_nothing_more_begins():
    assert 0 < Deadline(1).left() <= 60
    with pytest.raises(OutOfTimeError):
        Deadline(0).left()
    with pytest.raises(OutOfTimeError):
        Deadline(1).left(at_least=90)


def test_every_model_is_measured_in_both_precisions_compiled_or_not_and_with_both_kinds_of_data(
    tmp_path,
):
    given = make_parser().parse_args([])
    names = [name for name, _ in cases(given, CPU, tmp_path, Deadline(10))]
    for model in given.models:
        for precision in ("bf16-mixed", "16-mixed"):
            assert f"a step of {model} in {precision}" in names
            assert f"a step of {model} in {precision}, compiled" in names
        for data in ("online", "stored"):
            assert f"train {model}, data={data}, 1 processes" in names
    assert "resume" in names


def test_a_case_that_fails_is_left_out_with_its_message():
    ran = subprocess.run(
        [sys.executable, "-c", "import sys; sys.exit('error: no room')"],
        capture_output=True,
        encoding="utf-8",
    )
    error = subprocess.CalledProcessError(1, "train", ran.stdout, ran.stderr)
    assert failure(error) == "error: no room"
    assert failure(RuntimeError("first\nCUDA out of memory")) == "CUDA out of memory"


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
@pytest.mark.slow
def test_a_step_alone_has_a_rate_and_a_share_of_the_peak(precision):
    found = step_alone(SMALL, precision, False, CPU, batch=4, seconds=0.0, product_size=256)
    assert found.images_per_second > 0
    assert found.of_peak > 0


def test_the_product_rate_counts_two_operations_a_multiply_add():
    size = 256
    start = time.perf_counter()
    rate = product_rate_on(CPU, torch.float32, size)
    # Fewer than what the whole call did cannot be the rate: it is the best of three rounds.
    assert rate > 0
    assert 2 * size**3 / rate < time.perf_counter() - start


def test_seconds_between_two_moments_of_a_processor():
    start = moment(CPU)
    time.sleep(0.01)
    assert seconds(start, moment(CPU)) >= 0.01


# Two trainings of the command, in processes of their own.
@pytest.mark.slow
def test_a_training_says_how_much_of_it_waits_for_data(tmp_path):
    small = ["data.batch_size=8", "data.num_workers=0", "data.validation.samples=20"]
    for data, more in (("stored", ["data.train.samples=100"]), ("online", [])):
        found = training(
            tmp_path / data, SMALL, data, 1, "cpu", overrides=[*small, *more], steps=3, skipped=2
        )
        assert (found.data, found.devices) == (data, 1)
        assert found.images_per_second > 0
        assert 0 < found.waiting < 1


@pytest.mark.slow
def test_a_training_resumes_and_its_checkpoint_reads_the_same(tmp_path):
    found = resume(tmp_path / "run", "cpu", steps=3)
    assert found == Resumed(steps=6, same_texts=1.0, confidence_difference=0.0)


def test_the_tables_name_what_was_left_out(capsys):
    found = [
        StepAlone("headline", "bf16-mixed", True, 1234.5, 0.432),
        Training("headline", "online", 2, "bf16-mixed", 987.6, 0.0321),
        Resumed(80, 0.99, 1e-4),
    ]
    print_all(found, ["train headline, data=stored, 2 processes: no time was left"])
    printed = capsys.readouterr().out
    for expected in ("1,234", "43.2%", "988", "3.2%", "after step 80", "99.0%", "left out: train"):
        assert expected in printed
