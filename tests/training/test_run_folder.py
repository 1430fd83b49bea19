"""The folder of a run: never two runs in one, never one over another's checkpoints."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from hanline.cli import hydra_app  # noqa: F401, which registers the resolvers
from hanline.errors import HanlineError
from hanline.training.run_folder import LOCK, clear_folder, sole_run

ROOT = Path(__file__).parents[2]
TINY = [
    *("experiment=lines", "image.width=64", "model.feature_extraction.channels=[8,8,8,8,16]"),
    *("model.sequence_modeling.hidden_size=8", "model.sequence_modeling.out_channels=16"),
    *("corpus.min_words=1", "corpus.max_words=1", "max_label_length=10"),
    *("data.train.samples=8", "data.validation.samples=4", "data.batch_size=4"),
    *("data.num_workers=0", "trainer.max_steps=2", "trainer.val_check_interval=2"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "synthesis.processes=1"),
    *("~callbacks.reading_grid", "logger=none"),
]


def started(folder, *overrides):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *TINY, *overrides],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_runs_that_start_together_have_folders_of_their_own(tmp_path):
    runs = [started(tmp_path, f"seed={seed}", f"data.rendered_dir=d{seed}") for seed in (1, 2)]
    for run in runs:
        _, errors = run.communicate()
        assert run.returncode == 0, errors
    configs = sorted((tmp_path / "saved_models").rglob("config.yaml"))
    seeds = {yaml.safe_load(file.read_text(encoding="utf-8"))["seed"] for file in configs}
    assert seeds == {1, 2}
    for file in configs:
        assert (file.parent / "last.ckpt").is_file()
        # Whatever the second in which it started.
        name = r"[\d-]{10}_[\d-]{8}_[0-9a-f]{6}"
        assert re.fullmatch(name, file.parent.name)


def test_a_command_has_one_token_and_another_command_another():
    made = [OmegaConf.create({"run": "${token:}", "sweep": "${token:}"}) for _ in range(2)]
    assert all(names.run == names.run == names.sweep for names in made)
    assert made[0].run != made[1].run


@pytest.fixture
def locked(tmp_path):
    """A folder in which another process is at work."""
    folder = tmp_path / "run"
    script = (
        "import sys; from pathlib import Path; from hanline.training.run_folder import sole_run\n"
        "with sole_run(Path(sys.argv[1])): print('at work', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "at work\n"
        yield folder, process
        process.kill()


def test_a_folder_in_use_is_refused(locked, command):
    folder, process = locked
    ended = command("train", *TINY, f"hydra.run.dir={folder}")
    assert ended.status == 1
    assert f"hydra.run.dir={folder}: expected a folder that no other run is writing" in ended.err
    assert not (folder / "config.yaml").exists()
    process.kill()
    process.wait()
    with sole_run(folder):
        assert (folder / LOCK).exists()


def test_a_run_waits_a_moment_for_one_that_ends(locked):
    folder, process = locked
    process.stdin.close()
    began = time.monotonic()
    with sole_run(folder):
        assert time.monotonic() - began < 60


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "run"
    with (
        pytest.raises(HanlineError, match="expected a folder that can be written"),
        sole_run(folder),
    ):
        pass


def test_a_finished_run_is_not_overwritten_unless_it_may_be(command, tmp_path):
    run = tmp_path / "run"
    arguments = ("train", *TINY, f"hydra.run.dir={run}")
    ended = command(*arguments, "seed=1")
    assert ended.status == 0, ended.err
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    ended = command(*arguments, "seed=2")
    assert ended.status == 1
    assert f"hydra.run.dir={run}: expected a folder without checkpoints" in ended.err
    assert f"resume={run / 'last.ckpt'}" in ended.err and "overwrite=true" in ended.err
    assert {name: (run / name).read_bytes() for name in before if name != "train.log"} == {
        name: content for name, content in before.items() if name != "train.log"
    }

    ended = command(*arguments, "seed=2", "overwrite=true", f"finetune_from={run / 'last.ckpt'}")
    assert ended.status == 1
    assert "finetune_from=" in ended.err and (run / "last.ckpt").is_file()

    ended = command(*arguments, "seed=2", "overwrite=true")
    assert ended.status == 0, ended.err
    log = (run / "log_train.txt").read_text(encoding="utf-8")
    assert log.count("[2/2]") == 1
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert settings["seed"] == 2

    # A run of before the key was there.
    del settings["overwrite"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    ended = command("train", f"resume={run / 'last.ckpt'}", "trainer.max_steps=3")
    assert ended.status == 0, ended.err
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 3


def test_a_folder_with_other_files_is_taken(tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "config.yaml").touch()
    clear_folder(tmp_path, overwrite=False, finetune_from=None)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "config.yaml"}
