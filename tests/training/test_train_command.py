"""`hanline train` as its users run it: stopped, resumed, on two devices and nodes, swept."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
TINY = [
    "experiment=lines",
    "image.width=96",
    "model.feature_extraction.channels=[8,16,16,16,32]",
    "model.sequence_modeling.hidden_size=16",
    "model.sequence_modeling.out_channels=32",
    "corpus.min_words=1",
    "corpus.max_words=1",
    "max_label_length=10",
    "data.train.samples=64",
    "data.validation.samples=25",
    "data.batch_size=4",
    "data.num_workers=1",
    "trainer.max_steps=12",
    "trainer.val_check_interval=5",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
]


# The folder of stopping.py.
STOPPING = str(Path(__file__).parent)
TWO_DEVICES = ["trainer.devices=2", "trainer.accumulate_grad_batches=2"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"data.rendered_dir={tmp_path_factory.mktemp('drawn')}"


def command_line(*overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *overrides]


def train(*overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(*overrides),
        env=os.environ | {"PYTHONPATH": os.pathsep.join([STOPPING, *sys.path])},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def whole_run(drawn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = train(*TINY, drawn, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def run_on_two_devices(drawn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    done = train(*TINY, *TWO_DEVICES, drawn, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("GLOBAL_RANK") == 2
    return folder


def steps(checkpoint: Path) -> int:
    taken: int = torch.load(checkpoint, weights_only=True)["global_step"]
    return taken


def state(checkpoint: Path) -> dict[str, torch.Tensor]:
    content = torch.load(checkpoint, weights_only=True)
    return content["state_dict"] | {
        f"optimizer.{i}.{name}": value
        for i, moments in content["optimizer_states"][0]["state"].items()
        for name, value in moments.items()
    }


def assert_ended_alike(run: Path, whole_run: Path) -> None:
    expected, ended = state(whole_run / "last.ckpt"), state(run / "last.ckpt")
    assert expected.keys() == ended.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, ended[name]), name
    assert figures(run) == figures(whole_run)


def figures(run: Path) -> list[str]:
    lines = (run / "log_train.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition(", Elapsed_time")[0] for line in lines]


def test_a_run_writes_what_it_should(whole_run: Path) -> None:
    names = {path.name for path in whole_run.iterdir()}
    assert {"best_accuracy.ckpt", "best_edit_similarity.ckpt", "last.ckpt", "config.yaml"} <= names
    log = (whole_run / "log_train.txt").read_text(encoding="utf-8")
    # The last step falls between two validations, and is validated too.
    assert [line.split("/")[0] for line in log.splitlines() if line.startswith("[")] == [
        *("[5", "[10", "[12")
    ]
    assert steps(whole_run / "last.ckpt") == 12
    for line in ("Current_accuracy ", "Current_edit_similarity", "Best_cer", "Best_accuracy "):
        assert log.count(line) == 3
    assert log.count("\tTrue") + log.count("\tFalse") == 3 * 5


def test_tensorboard_shows_scalars_and_pictures(whole_run: Path) -> None:
    events = EventAccumulator(str(whole_run))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {
        "train/loss",
        "train/learning_rate",
        "train/images_per_second",
        "validation/accuracy",
        "validation/edit_similarity",
        "validation/cer",
        "validation/loss",
    } <= scalars
    assert [event.step for event in events.Scalars("validation/accuracy")] == [4, 9, 11]
    assert events.Tags()["images"] == ["validation/readings"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_resumes_and_ends_where_it_would_have(
    number: signal.Signals, whole_run: Path, drawn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command_line(*TINY, drawn, f"hydra.run.dir={folder}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 6 "):
            # To the data workers too, as a terminal, systemd and SLURM do it.
            os.killpg(process.pid, number)
            break
    _, errors = process.communicate()
    assert process.returncode == 128 + number, errors
    assert 6 <= steps(folder / "last.ckpt") < 12
    assert f"resume={folder / 'last.ckpt'}" in errors

    done = train(f"resume={folder / 'last.ckpt'}")
    assert done.returncode == 0, done.stderr
    assert_ended_alike(folder, whole_run)


def test_a_signal_waits_for_the_whole_step_and_its_validation(
    run_on_two_devices: Path, drawn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    # The first of the two batches of step 5, and in one of the two processes.
    stop = "{_target_: stopping.SignalAt, batch: 8, number: 15}"
    done = train(*TINY, *TWO_DEVICES, drawn, f"hydra.run.dir={folder}", f"+callbacks.stop={stop}")
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert steps(folder / "last.ckpt") == 5
    assert figures(folder) == figures(run_on_two_devices)[: len(figures(folder))] != []

    done = train(f"resume={folder / 'last.ckpt'}")
    assert done.returncode == 1
    assert "++callbacks.stop._target_=stopping.SignalAt" in done.stderr
    done = train(f"resume={folder / 'last.ckpt'}", "++callbacks.stop._target_=stopping.SignalAt")
    assert done.returncode == 0, done.stderr
    assert_ended_alike(folder, run_on_two_devices)


@pytest.fixture
def trained(whole_run: Path, tmp_path: Path) -> Path:
    """A run that has ended, in a folder to which it was moved."""
    return shutil.copytree(whole_run, tmp_path / "moved")


REFUSED = {
    "optimizer.lr=0.1": "optimizer.lr cannot change",
    "seed=5": "seed cannot change",
    "image.width=128": "image.width cannot change",
    "max_label_length=12": "max_label_length cannot change",
    "model=trba": "model cannot change",
    "trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches cannot change",
    "scheduler=constant": "scheduler cannot change",
    "callbacks.log_train.readings=1": "callbacks.log_train.readings cannot change",
    "finetune_from=x.ckpt": "finetune_from cannot change",
    "~trainer.max_steps": "trainer.max_steps cannot change",
    "trainer.max_steps=11": "expected at least 12",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_would_make_it_another_run_is_refused(
    override: str, trained: Path, command: Any
) -> None:
    before = (trained / "config.yaml").read_text(encoding="utf-8")
    ended = command("train", f"resume={trained / 'last.ckpt'}", override)
    assert ended.status == 1
    assert REFUSED[override] in ended.err.splitlines()[-1]
    assert (trained / "config.yaml").read_text(encoding="utf-8") == before


def test_what_is_no_state_of_this_run_is_refused(
    trained: Path, checkpoint: Path, command: Any
) -> None:
    last = trained / "last.ckpt"
    ended = command("train", f"resume={trained / 'first.ckpt'}")
    assert ended.status == 1
    assert "there is no" in ended.err
    content = torch.load(last, weights_only=True)
    del content["optimizer_states"]
    torch.save(content, last)
    ended = command("train", f"resume={last}")
    assert ended.status == 1
    assert "expected the state of a run, but it holds a model alone" in ended.err
    shutil.copy(checkpoint, last)
    ended = command("train", f"resume={last}")
    assert ended.status == 1
    assert "they differ in feature_extraction, sequence_modeling, charset" in ended.err
    last.write_bytes(b"no checkpoint")
    ended = command("train", f"resume={last}")
    assert ended.status == 1
    assert "last.ckpt is" in ended.err


def test_a_longer_run_goes_on_as_if_it_had_been_so_long(
    drawn: str, tmp_path: Path, checkpoint: Path, command: Any
) -> None:
    constant = ["scheduler.warmup_steps=0", "scheduler.final_factor=1"]
    tiny = [*TINY, *constant, drawn, "data.num_workers=0"]
    run, whole_run = tmp_path / "run", tmp_path / "whole_run"
    weights = shutil.copy(checkpoint, tmp_path / "other.ckpt")
    for folder, length in ((run, 10), (whole_run, 15)):
        ended = command(
            *("train", *tiny, f"hydra.run.dir={folder}", f"trainer.max_steps={length}"),
            f"finetune_from={weights}",
        )
        assert ended.status == 0, ended.err
    # They are in the state already.
    Path(weights).unlink()
    moved = run.rename(tmp_path / "moved")
    ended = command(
        *("train", f"resume={moved / 'last.ckpt'}", "trainer.max_steps=15"),
        *("trainer.log_every_n_steps=15", "~callbacks.reading_grid"),
        "data.cache_pixels=false",
    )
    assert ended.status == 0, ended.err
    assert steps(moved / "last.ckpt") == 15
    assert not run.exists()
    assert len(re.findall(r"^step ", ended.out, re.MULTILINE)) == 1
    expected, extended = state(whole_run / "last.ckpt"), state(moved / "last.ckpt")
    for name, tensor in expected.items():
        assert torch.equal(tensor, extended[name]), name
    for name in ("best_accuracy.ckpt", "best_edit_similarity.ckpt"):
        assert steps(moved / name) == steps(whole_run / name)


def test_two_devices_train_as_two_processes(run_on_two_devices: Path) -> None:
    log = (run_on_two_devices / "log_train.txt").read_text(encoding="utf-8")
    assert log.count("Current_accuracy") == 3
    assert steps(run_on_two_devices / "last.ckpt") == 12


def test_an_error_on_two_devices_is_a_message(drawn: str, tmp_path: Path) -> None:
    missing = [f"data.{part}.dir={tmp_path / 'missing'}" for part in ("train", "validation")]
    done = train(*TINY, *TWO_DEVICES, drawn, *missing, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert f"error: {tmp_path / 'missing'}: expected a folder with LMDB" in done.stderr
    assert "Traceback" not in done.stderr
    assert "HydraConfig" not in done.stderr


def test_two_devices_measure_what_one_does(
    whole_run: Path, make_recognizer: Any, save_checkpoint: Any, tmp_path: Path
) -> None:
    # The attention decoder's loss is a mean over characters, of which labels have more or fewer.
    spec = torch.load(whole_run / "last.ckpt", weights_only=True)["hanline"]["recognizer"]
    recognizer = make_recognizer(prediction="attn", charset=spec["charset"], max_label_length=10)
    saved = save_checkpoint(recognizer, tmp_path / "attention.ckpt")
    measures = []
    for devices in (1, 2):
        measured = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("measure_validation.py")),
                str(whole_run / "config.yaml"),
                str(saved),
                str(devices),
            ],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert measured.returncode == 0, measured.stderr
        measures.append(json.loads(measured.stdout.splitlines()[-1]))
    one, two = measures
    assert one["samples"] == two["samples"] == 25
    assert one["accuracy"] == two["accuracy"]
    assert one["edit_similarity"] == two["edit_similarity"]
    assert one["cer"] == two["cer"]
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)


def test_torchrun_trains_over_two_nodes(drawn: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "run"
    nodes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
                *("--node-rank", str(rank), "--nproc-per-node", "1"),
                *("--master-addr", "127.0.0.1", "--master-port", str(port)),
                str(ROOT / "train.py"),
                *TINY,
                drawn,
                f"hydra.run.dir={folder}",
                "trainer.num_nodes=2",
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        for rank in range(2)
    ]
    outputs = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(outputs)
    assert "[12/12] Train loss" in outputs[0]
    assert "[12/12] Train loss" not in outputs[1]
    # The second node writes nothing of its own.
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_multirun_trains_each_combination_on_two_devices(drawn: str, tmp_path: Path) -> None:
    done = train(
        "-m",
        *TINY,
        drawn,
        "trainer.max_steps=2",
        "trainer.devices=2",
        "optimizer.lr=0.001,0.002",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    assert done.returncode == 0, done.stderr
    runs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [run.name for run in runs] == [
        "0_none_compact_bilstm_ctc",
        "1_none_compact_bilstm_ctc",
    ]
    assert done.stderr.count("GLOBAL_RANK") == 4
    assert all((run / "best_accuracy.ckpt").exists() for run in runs)


def test_optuna_is_given_the_validation_accuracy(drawn: str, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    # The widths that it searches are those of DTRB's networks.
    done = train(
        "-m",
        "sweep=optuna",
        *(override for override in TINY if not override.startswith(("model.", "experiment"))),
        "model=none_vgg_none_ctc",
        "hydra.sweeper.n_trials=2",
        drawn,
        "trainer.max_steps=2",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    assert done.returncode == 0, done.stderr
    results = (tmp_path / "sweep" / "optimization_results.yaml").read_text(encoding="utf-8")
    assert "best_value" in results
