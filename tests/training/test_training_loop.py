"""The training loop as its users open it: settings of the trainer, callbacks, loggers, modules."""

import csv
import inspect
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hanline.data.lmdb_writer import LMDBWriter
from hanline.training.module import finite
from hanline.training.parameter_groups import parameter_groups
from hanline.training.resume import CHANGEABLE
from hanline.training.trainer import make_trainer

ROOT = Path(__file__).parents[2]
TINY = [
    "model=none_compact_bilstm_ctc",
    "model.feature_extraction.channels=[8,16,16,16,32]",
    "model.sequence_modeling.hidden_size=16",
    "model.sequence_modeling.out_channels=32",
    "image.width=32",
    "data=lmdb",
    "data.train.dir=training",
    "data.validation.dir=validation",
    "data.batch_size=4",
    "data.num_workers=0",
    "data.cache_pixels=false",
    "logger=none",
    "trainer.max_steps=6",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "hydra.run.dir=run",
]
DIVERGING = ["module._target_=diverging.DivergingModule", "+module.first=3"]


@pytest.fixture(autouse=True)
def datasets(picture: Any, tmp_path: Path) -> None:
    """A training and a validation dataset in the folder of the command."""
    file = tmp_path / "picture.png"
    for name, labels in (
        ("training", ["가나", "다라", "마바", "사아"] * 3),
        ("validation", ["가나", "다라"]),
    ):
        writer = LMDBWriter(tmp_path / name, resume=False)
        for label in labels:
            picture(label).save(file)
            writer.add([(file.read_bytes(), label)])
        writer.finish({"made_by": "a test"})


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def load(checkpoint: Path) -> Any:
    return torch.load(checkpoint, weights_only=True)


def test_a_run_that_diverges_ends_with_a_message_and_keeps_the_last_sound_state(
    command: Any, own_modules: None, run_dir: Path
) -> None:
    ended = command("train", *TINY, *DIVERGING, "+module.last=9", "callbacks.finite_loss.every=1")
    assert ended.status == 1
    message = ended.err.splitlines()[-1]
    assert message.startswith("error: the training diverged: the loss of step 4 is inf")
    assert "That of 1 of 4 is; these labels: '" in message
    assert f"The last sound state is {run_dir / 'last.ckpt'}" in message
    last = load(run_dir / "last.ckpt")
    assert last["global_step"] == 2
    assert finite(last["state_dict"].values())


def test_no_state_that_is_not_finite_is_saved_even_if_nothing_looks(
    command: Any, own_modules: None, run_dir: Path
) -> None:
    ended = command("train", *TINY, *DIVERGING, "+module.last=9", "~callbacks.finite_loss")
    assert ended.status == 1
    assert "a weight is not finite after step 4, and no checkpoint is written" in ended.err
    assert all(load(path)["global_step"] == 2 for path in run_dir.glob("*.ckpt"))
    assert len(list(run_dir.glob("*.ckpt"))) == 3


def test_a_learning_rate_that_is_far_too_high_ends_the_run(command: Any, run_dir: Path) -> None:
    ended = command("train", *TINY, "optimizer.lr=1e30", "scheduler=constant")
    assert ended.status == 1
    assert "error: the training diverged: " in ended.err
    assert all(finite(load(path)["state_dict"].values()) for path in run_dir.glob("*.ckpt"))


def test_steps_that_diverge_are_left_out_by_choice(
    command: Any, own_modules: None, run_dir: Path
) -> None:
    skip = "callbacks.finite_loss.action=skip"
    ended = command("train", *TINY, *DIVERGING, "+module.last=4", skip)
    assert ended.status == 0, ended.err
    assert ended.out.count("is left out, since its gradient is not finite") == 2
    assert "step 4 is left out" in ended.out
    last = load(run_dir / "last.ckpt")
    assert last["global_step"] == 6
    assert finite(last["state_dict"].values())
    steps = {float(state["step"]) for state in last["optimizer_states"][0]["state"].values()}
    assert steps == {4.0}


def test_too_many_steps_in_a_row_that_diverge_end_the_run(
    command: Any, own_modules: None, run_dir: Path
) -> None:
    skip = ["callbacks.finite_loss.action=skip", "callbacks.finite_loss.most_skipped=1"]
    ended = command("train", *TINY, *DIVERGING, "+module.last=9", *skip)
    assert ended.status == 1
    assert "2 steps in a row, until step 5, have a gradient that is not finite" in ended.err
    assert load(run_dir / "last.ckpt")["global_step"] == 4


def test_the_average_is_what_is_read_with_and_the_raw_weights_go_on(
    command: Any, run_dir: Path, tmp_path: Path
) -> None:
    averaged = [*TINY, "callbacks=[default,ema]", "callbacks.ema.decay=0.9"]
    ended = command("train", *averaged)
    assert ended.status == 0, ended.err
    whole = load(run_dir / "last.ckpt")
    raw = whole["current_model_state"]
    assert raw.keys() == whole["state_dict"].keys()
    name = "recognizer.prediction.linear.weight"
    assert not torch.equal(raw[name], whole["state_dict"][name])

    ended = command("train", *TINY, "hydra.run.dir=without")
    assert ended.status == 0, ended.err
    without = load(tmp_path / "without" / "last.ckpt")["state_dict"]
    for key, tensor in raw.items():
        assert torch.equal(tensor, without[key]), f"the average changes the training: {key}"

    # Stopped early and resumed, it ends in the same two states.
    averaged += ["scheduler=constant", "hydra.run.dir=stopped"]
    ended = command("train", *averaged, "trainer.max_steps=4")
    assert ended.status == 0, ended.err
    stopped = tmp_path / "stopped" / "last.ckpt"
    ended = command("train", f"resume={stopped}", "trainer.max_steps=6")
    assert ended.status == 0, ended.err
    resumed = load(stopped)
    ended = command("train", *averaged, "hydra.run.dir=unbroken")
    assert ended.status == 0, ended.err
    unbroken = load(tmp_path / "unbroken" / "last.ckpt")
    for part in ("state_dict", "current_model_state"):
        for key, tensor in unbroken[part].items():
            assert torch.equal(tensor, resumed[part][key]), (part, key)


def test_a_run_that_no_longer_improves_ends_early(command: Any, run_dir: Path) -> None:
    ended = command(
        "train",
        *TINY,
        "callbacks=[default,early_stopping]",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=1000",
        "trainer.max_steps=20",
    )
    assert ended.status == 0, ended.err
    assert "early stopping: validation/accuracy has not improved in 1 validations" in ended.out
    assert "ended after step 4 of 20" in ended.out
    assert load(run_dir / "last.ckpt")["global_step"] == 4


def test_a_checkpoint_has_the_metrics_of_its_validation(command: Any, run_dir: Path) -> None:
    ended = command("train", *TINY, "logger=csv", "trainer.limit_val_batches=1")
    assert ended.status == 0, ended.err
    metrics = load(run_dir / "last.ckpt")["hanline"]["metrics"]
    assert metrics["step"] == 6
    assert set(metrics) == {"accuracy", "cer", "edit_similarity", "loss", "step"}
    with (run_dir / "csv" / "version_0" / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["validation/loss"]]
    assert float(rows[-1]["validation/loss"]) == pytest.approx(metrics["loss"], rel=1e-4)
    assert float(rows[-1]["validation/cer"]) == pytest.approx(metrics["cer"], rel=1e-4)


def test_many_loggers_log_at_once(command: Any, run_dir: Path) -> None:
    ended = command("train", *TINY, "logger=many", "trainer.max_steps=2")
    assert ended.status == 0, ended.err
    assert (run_dir / "csv" / "version_0" / "metrics.csv").is_file()
    assert list(run_dir.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("logger", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_named(logger: str, command: Any) -> None:
    if find_spec(logger):
        pytest.skip(f"{logger} is installed here")
    ended = command("train", *TINY, f"logger={logger}")
    assert ended.status == 1
    assert f"logger={logger}: expected the package {logger} to be installed" in ended.err
    assert f"pip install {logger}" in ended.err


@pytest.mark.parametrize("logger", ["wandb", "mlflow"])
def test_a_logger_that_is_installed_writes_offline_beside_another(
    logger: str, command: Any, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not find_spec(logger):
        pytest.skip(f"{logger} is not installed here; it is not among Hanline's requirements")
    # No server can be reached by these.
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    offline = ["logger.wandb.offline=true"] if logger == "wandb" else []
    words = [word for word in TINY if not word.startswith("logger=")]
    ended = command("train", *words, f"logger=[csv,{logger}]", *offline)
    assert ended.status == 0, ended.err
    assert (run_dir / "csv" / "version_0" / "metrics.csv").is_file()
    written = {
        "wandb": "wandb/offline-run-*/run-*.wandb",
        "mlflow": "mlflow/**/metrics/**/accuracy",
    }
    assert list(run_dir.glob(written[logger]))


class TestDebug:
    def test_fast_dev_run_writes_no_checkpoint(self, command: Any, run_dir: Path) -> None:
        ended = command("train", *TINY, "debug=fast_dev_run")
        assert ended.status == 0, ended.err
        assert "Current_accuracy" in ended.out
        assert not list(run_dir.glob("*.ckpt"))

    def test_overfit_learns_one_batch(self, command: Any, run_dir: Path) -> None:
        steps = ["trainer.max_steps=60", "trainer.val_check_interval=60", "optimizer.lr=0.01"]
        ended = command("train", *TINY, "debug=overfit", *steps)
        assert ended.status == 0, ended.err
        losses = [float(line.split("loss ")[1].split(",")[0]) for line in _steps(ended.out)]
        assert losses[-1] < losses[0] / 3

    def test_profiler_writes_where_the_time_goes(self, command: Any, run_dir: Path) -> None:
        ended = command("train", *TINY, "debug=profiler", "trainer.max_steps=2")
        assert ended.status == 0, ended.err
        (profile,) = run_dir.glob("fit-profile*.txt")
        assert "run_training_batch" in profile.read_text(encoding="utf-8")

    def test_limit_ends_after_a_few_steps(self, command: Any, run_dir: Path) -> None:
        short = ["trainer.max_steps=4", "trainer.limit_val_batches=1"]
        ended = command("train", *TINY, "debug=limit", *short)
        assert ended.status == 0, ended.err
        assert load(run_dir / "last.ckpt")["global_step"] == 4


def _steps(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("step ")]


WRONG = {
    "trainer.max_steps=-1": "trainer.max_steps=-1: expected a whole number of at least 1",
    "trainer.val_check_interval=0": "trainer.val_check_interval=0: expected a whole number",
    "trainer.limit_val_batchs=1": "trainer.limit_val_batches",
    "trainer.profiler=simpel": "simple",
    "trainer.strategy=dpp": "trainer.strategy=dpp: expected",
    "module.decay=weight": "weights",
    "callbacks.best_accuracy.monitor=acuracy": "monitor=acuracy: expected a metric",
    "callbacks.finite_loss.every=0": "callbacks.finite_loss.every=0: expected at least 1",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_is_a_message(setting: str, command: Any) -> None:
    ended = command("train", *TINY, setting)
    assert ended.status == 1
    assert WRONG[setting] in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_missing_is_a_message(command: Any) -> None:
    ended = command("train", *TINY[:-3], "trainer=gpu", "hydra.run.dir=run")
    assert ended.status == 1
    assert "error: trainer.accelerator=gpu, trainer.devices=1" in ended.err


# What pl.Trainer takes that is no key of conf/trainer, and why.
NO_KEYS = {
    "logger": "the group logger",
    "callbacks": "the group callbacks",
    "default_root_dir": "run_dir",
    "max_epochs": "a run is max_steps long",
    "min_epochs": "a run is max_steps long",
    "min_steps": "a run is max_steps long",
    "check_val_every_n_epoch": "val_check_interval counts steps",
    "limit_test_batches": "hanline evaluate tests",
    "limit_predict_batches": "hanline predict predicts",
    "enable_checkpointing": "~callbacks.last and the like",
    "enable_progress_bar": "~callbacks.progress",
    "enable_autolog_hparams": "config.yaml has them",
    "inference_mode": "a validation needs no gradients",
    "use_distributed_sampler": "the data module's batches know of devices",
    "reload_dataloaders_every_n_epochs": "a run is one epoch",
    "barebones": "it switches off callbacks that runs need",
    "plugins": "objects, which a yaml cannot hold",
    "model_registry": "another product's server",
}


def test_every_argument_of_lightnings_trainer_is_a_key_or_left_out_for_a_reason() -> None:
    keys = set(OmegaConf.load(ROOT / "conf" / "trainer" / "default.yaml")) - {"_target_"}
    handed_in = {"run_dir", "callbacks", "loggers"}
    assert set(inspect.signature(make_trainer).parameters) - handed_in == keys
    lightnings = set(inspect.signature(pl.Trainer).parameters) - set(NO_KEYS)
    assert lightnings - keys == set()
    assert keys - lightnings == set()


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "callbacks").glob("*.yaml")), ids=str)
def test_every_yaml_of_a_callback_makes_a_callback(file: Path, tmp_path: Path) -> None:
    config = OmegaConf.load(file)
    config.run_dir = str(tmp_path)
    nodes = {key: node for key, node in config.items() if key not in ("run_dir", "defaults")}
    if file.stem == "default":
        assert not nodes
        names = {path.stem for path in file.parent.glob("*.yaml")}
        assert set(config.defaults) <= names - {"default"}
        return
    assert list(nodes) == [file.stem]
    OmegaConf.resolve(config)
    assert isinstance(instantiate(config[file.stem]), pl.Callback)


def test_biases_and_normalizations_can_go_without_decay(make_recognizer: Any) -> None:
    recognizer = make_recognizer(sequence_modeling="bilstm")
    (whole,) = parameter_groups(recognizer, "all")
    assert "weight_decay" not in whole
    weights, others = parameter_groups(recognizer, "weights")
    assert others["weight_decay"] == 0
    assert len(weights["params"]) + len(others["params"]) == len(whole["params"])
    decayed = {id(p) for p in weights["params"]}
    for name, parameter in recognizer.named_parameters():
        is_weight = "weight" in name and parameter.ndim > 1
        assert (id(parameter) in decayed) == is_weight, name


def test_the_keys_that_a_resumed_run_may_change_are_those_of_the_comment() -> None:
    text = (ROOT / "conf" / "train.yaml").read_text(encoding="utf-8")
    (comment,) = re.findall(r"((?:#.*\n)+)resume: null", text)
    named = set(re.findall(r"\b(?:trainer|data)\.[a-z_.]+[a-z]", comment))
    assert named == set(CHANGEABLE)


def run_in_a_process(process: Any, *settings: str) -> Any:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    return process(ROOT / "train.py", *TINY, *settings, PYTHONPATH=path)


def test_a_data_worker_that_is_killed_is_a_message_and_the_state_is_saved(
    process: Any, run_dir: Path
) -> None:
    kill = "+callbacks.kill={_target_: stopping.KillAt, batch: 3, which: worker}"
    ended = run_in_a_process(process, kill, "data.num_workers=1", "trainer.max_steps=400")
    assert ended.status == 1
    message = ended.err.splitlines()[-1]
    assert re.match(r"error: data worker \d+ (is killed|exited unexpectedly).*: expected", message)
    assert f"To go on: hanline train resume={run_dir / 'last.ckpt'}" in message
    assert "Traceback" not in ended.err
    assert load(run_dir / "last.ckpt")["global_step"] >= 3


def test_a_process_that_is_killed_ends_the_run_with_a_message(process: Any, run_dir: Path) -> None:
    kill = "+callbacks.kill={_target_: stopping.KillAt, batch: 3, which: rank}"
    ended = run_in_a_process(process, kill, "trainer.devices=2", "trainer.max_steps=400")
    assert ended.status == 1, ended.err
    # Whichever comes first: the look at the process, or the connection to it that breaks.
    gone = "error: (SIGKILL ended the process of device 1|another process of this run has ended)"
    assert re.search(gone, ended.err)
    assert f"To go on: hanline train resume={run_dir / 'last.ckpt'}" in ended.err
    assert "Traceback" not in ended.err


def test_two_devices_train_under_python_m(process: Any, run_dir: Path) -> None:
    two = ["trainer.devices=2", "trainer.max_steps=2"]
    ended = process("-m", "hanline.cli.main", "train", *TINY, *two)
    assert ended.status == 0, ended.err
    assert load(run_dir / "last.ckpt")["global_step"] == 2


def test_fewer_validation_samples_than_devices_is_a_message(process: Any) -> None:
    ended = run_in_a_process(process, "trainer.devices=3")
    assert ended.status == 1
    assert "there are 3 devices and 2 samples" in ended.err
    assert "Traceback" not in ended.err


def test_a_model_that_reads_nothing_is_warned_of_with_the_cause(command: Any) -> None:
    often = ["trainer.max_steps=40", "trainer.val_check_interval=10", "optimizer.lr=0.003"]
    ended = command("train", *TINY, *often, "callbacks.blank_warning.validations=2")
    assert ended.status == 0, ended.err
    assert "the last 2 validations read almost nothing but empty texts" in ended.out
    assert "The validation loss " in ended.out
