"""`hanline train` as its users run it: stopped, resumed, on two devices and nodes, swept."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[2]
TINY = [
    "experiment=demo",
    "image.width=96",
    "model.feature_extraction.channels=[8,16,16,16,32]",
    "model.sequence_modeling.hidden_size=16",
    "model.sequence_modeling.out_channels=32",
    "corpus.min_words=1",
    "corpus.max_words=1",
    "max_label_length=10",
    "data.train_samples=64",
    "data.validation_samples=25",
    "data.batch_size=4",
    "data.num_workers=1",
    "trainer.max_steps=12",
    "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"data.drawn_dir={tmp_path_factory.mktemp('drawn')}"


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *overrides]


def train(*overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*overrides), capture_output=True, text=True, encoding="utf-8")


@pytest.fixture(scope="module")
def whole_run(drawn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = train(*TINY, drawn, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def state(checkpoint: Path) -> dict[str, torch.Tensor]:
    content = torch.load(checkpoint, weights_only=True)
    return content["state_dict"] | {
        f"optimizer.{i}.{name}": value
        for i, moments in content["optimizer_states"][0]["state"].items()
        for name, value in moments.items()
    }


def test_a_run_writes_what_it_should(whole_run: Path) -> None:
    names = {path.name for path in whole_run.iterdir()}
    assert {"best_accuracy.ckpt", "best_norm_ed.ckpt", "last.ckpt", "config.yaml"} <= names
    log = (whole_run / "log_train.txt").read_text(encoding="utf-8")
    assert [f"[{step}/12] Train loss: " in log for step in (4, 8, 12)] == [True] * 3
    for line in ("Current_accuracy ", "Current_norm_ED ", "Best_accuracy ", "Best_norm_ED "):
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
        "validation/norm_ed",
        "validation/cer",
        "validation/loss",
    } <= scalars
    assert [event.step for event in events.Scalars("validation/accuracy")] == [3, 7, 11]
    assert events.Tags()["images"] == ["validation/readings"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_resumes_and_ends_where_it_would_have(
    number: signal.Signals, whole_run: Path, drawn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(*TINY, drawn, f"hydra.run.dir={folder}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 6 "):
            process.send_signal(number)
            break
    _, errors = process.communicate()
    assert process.returncode == 128 + number, errors
    stopped_at = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert 6 <= stopped_at < 12
    assert f"resume={folder / 'last.ckpt'}" in errors

    done = train(f"resume={folder / 'last.ckpt'}")
    assert done.returncode == 0, done.stderr
    expected, resumed = state(whole_run / "last.ckpt"), state(folder / "last.ckpt")
    assert expected.keys() == resumed.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, resumed[name]), name

    def figures(run: Path) -> list[str]:
        lines = (run / "log_train.txt").read_text(encoding="utf-8").splitlines()
        return [line.partition(", Elapsed_time")[0] for line in lines]

    assert figures(folder) == figures(whole_run)


def test_what_cannot_be_resumed_is_refused(whole_run: Path, tmp_path: Path) -> None:
    missing = train(f"resume={tmp_path / 'last.ckpt'}")
    assert missing.returncode == 1
    assert "there is no" in missing.stderr.splitlines()[-1]
    other_model = train(f"resume={whole_run / 'last.ckpt'}", "model=trba")
    assert other_model.returncode == 1
    assert "finetune_from=" in other_model.stderr.splitlines()[-1]


def test_two_devices_train_as_two_processes(drawn: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = train(*TINY, drawn, f"hydra.run.dir={folder}", "trainer.devices=2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("GLOBAL_RANK") == 2
    log = (folder / "log_train.txt").read_text(encoding="utf-8")
    assert log.count("Current_accuracy") == 3
    assert (folder / "last.ckpt").exists()


def test_two_devices_measure_what_one_does(whole_run: Path) -> None:
    figures = []
    for devices in (1, 2):
        measured = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("measure_validation.py")),
                str(whole_run / "config.yaml"),
                str(whole_run / "last.ckpt"),
                str(devices),
            ],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert measured.returncode == 0, measured.stderr
        figures.append(json.loads(measured.stdout.splitlines()[-1]))
    one, two = figures
    assert one["samples"] == two["samples"] == 25
    assert one["accuracy"] == two["accuracy"]
    assert one["norm_ed"] == two["norm_ed"]
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


def test_a_multirun_trains_each_combination(drawn: str, tmp_path: Path) -> None:
    done = train(
        "-m",
        *TINY,
        drawn,
        "trainer.max_steps=2",
        "optimizer.lr=0.001,0.002",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )
    assert done.returncode == 0, done.stderr
    runs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [run.name for run in runs] == [
        "0_none_compact_bilstm_ctc",
        "1_none_compact_bilstm_ctc",
    ]
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
