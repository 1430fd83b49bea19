"""Every benchmark in its smallest setting, on this processor: that it works, not how fast."""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BENCHMARKS = ROOT / "benchmarks"
# Those that all.py runs, as small as they can be.
SMALL = {
    "training_speed": ["--models", "none_vgg_bilstm_ctc", "--rounds", "1", "--steps", "1"],
    "reading_speed": ["--models", "none_vgg_bilstm_ctc", "--rounds", "1", "--batches", "1"],
    "loading_speed": ["--samples", "300", "--batch-size", "32"],
    "opening": ["--labels", "1000"],
    "packing": ["--images", "100"],
    "drawing": ["--words", "20"],
    "metrics_speed": ["--readings", "400"],
}


def test_every_benchmark_can_be_imported_and_says_what_it_takes():
    from all import BENCHMARKS as IN_ONE_TABLE

    scripts = [path.stem for path in BENCHMARKS.glob("*.py")]
    assert {*IN_ONE_TABLE} == {*SMALL} <= {*scripts}
    for name in scripts:
        benchmark = importlib.import_module(name)
        if name in SMALL:
            parser = argparse.ArgumentParser()
            benchmark.arguments(parser)
            assert parser.format_help()


@pytest.mark.parametrize("name", [n for n in SMALL if n not in ("training_speed", "reading_speed")])
@pytest.mark.slow
def test_a_benchmark_gives_rows_with_rates(name):
    rows = measured(name)
    assert rows
    assert all(row.ours > 0 for row in rows)


# They start a process for each side, which imports the benchmark.
@pytest.mark.parametrize("name", ["training_speed", "reading_speed"])
@pytest.mark.slow
def test_a_benchmark_of_models_gives_rows_with_rates_below_the_limit(name):
    rows = measured(name)
    assert rows
    assert all(0 < row.ours < 3 * row.limit for row in rows)


def measured(name):
    benchmark = importlib.import_module(name)
    parser = argparse.ArgumentParser()
    benchmark.arguments(parser)
    return list(benchmark.rows(parser.parse_args(SMALL[name])))


def test_the_machine_is_described_with_its_numbers():
    from measuring import describe_machine

    from hanline.models.precision import best_precision

    with_products = best_precision("cpu")[0] == "bf16-mixed"
    assert ("with bf16 products" in describe_machine()) == with_products
    assert ("without bf16 products" in describe_machine()) != with_products


@pytest.mark.slow
def test_the_machine_of_a_lowered_processor_has_no_bf16_products():
    code = "from measuring import describe_machine; print(describe_machine())"
    environment = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"PYTHONPATH": python_path()},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    assert "without bf16 products" in done.stdout


def python_path():
    return os.pathsep.join(filter(None, [str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]))
