"""Fine-tuning that is safe to leave alone: the guard, frozen stages, several validation sets."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hanline.data.packing import pack
from hanline.errors import HanlineError
from hanline.formats.registry import load_model
from hanline.training.callbacks.freeze import Freeze


@pytest.fixture
def datasets(folder, words, picture, tmp_path):
    """LMDB datasets: ten words that ``checkpoint`` reads, and the same with shifted labels."""
    pack(folder / "gt.txt", tmp_path / "sound", processes=1)
    lines = [f"{i}.png\t{words[(i + 1) % len(words)]}\n" for i in range(len(words))]
    (folder / "gt.txt").write_text("".join(lines), encoding="utf-8")
    pack(folder / "gt.txt", tmp_path / "shifted", processes=1)
    return tmp_path


@pytest.fixture
def finetune(command, checkpoint, datasets, words):
    """Fine-tunes ``checkpoint`` for a few steps."""
    (datasets / "charset.txt").write_text("".join(sorted(set("".join(words)))), encoding="utf-8")

    def run(train, *more):
        return command(
            "train",
            "data=lmdb",
            "charset=file",
            f"charset.path={datasets / 'charset.txt'}",
            "model=none_compact_none_ctc",
            "model.feature_extraction.channels=[8,16,32,32]",
            "model.feature_extraction.blocks=[0,0,1]",
            "image.width=96",
            "max_label_length=8",
            f"data.train.dir={datasets / train}",
            f"data.validation.dir={datasets / 'sound'}",
            "data.batch_size=10",
            "data.num_workers=0",
            "trainer=cpu",
            "trainer.precision=32-true",
            "trainer.val_check_interval=5",
            "scheduler=constant",
            f"finetune_from={checkpoint}",
            f"hydra.run.dir={datasets / 'run'}",
            *more,
        )

    return run


def weights(path):
    return load_model(path).state


def test_a_state_that_reads_the_older_dataset_worse_is_not_kept(finetune, datasets):
    done = finetune(
        "shifted",
        "optimizer.lr=0.01",
        "trainer.max_steps=20",
        f"guard.dataset={datasets / 'sound'}",
    )
    assert done.status == 0, done.err
    printed = done.out + done.err
    assert "guard: accuracy of guard.dataset is 100.00 % before the first step" in printed
    assert "guard: no state is within the bound, so there is no best_guarded.ckpt" in printed
    assert not (datasets / "run/best_guarded.ckpt").exists()
    assert (datasets / "run/best_accuracy.ckpt").exists()


def test_the_best_state_within_the_bound_is_kept_and_named(finetune, datasets):
    done = finetune("sound", "trainer.max_steps=10", f"guard.dataset={datasets / 'sound'}")
    assert (datasets / "run/best_guarded.ckpt").exists()
    assert (
        "guard: best_guarded.ckpt is the state of step 10, with accuracy of" in done.out + done.err
    )


def test_a_run_that_goes_out_of_bounds_can_be_stopped(finetune, datasets):
    done = finetune(
        "shifted",
        "optimizer.lr=0.01",
        "trainer.max_steps=1000",
        f"guard.dataset={datasets / 'sound'}",
        "guard.stop=true",
    )
    steps = torch.load(datasets / "run/last.ckpt", weights_only=True)["global_step"]
    assert steps < 100
    assert f"ended after step {steps} of 1000" in done.out + done.err


def test_each_validation_dataset_has_its_own_metrics(finetune, datasets):
    finetune(
        "sound",
        "trainer.max_steps=5",
        "data.more_validation="
        f"[{{name: odd, dir: {datasets / 'shifted'}}}, {{name: even, dir: {datasets / 'sound'}}}]",
    )
    events = EventAccumulator(str(datasets / "run"))
    events.Reload()

    def last(key):
        return events.Scalars(f"validation/{key}")[-1].value

    assert last("accuracy") == last("even/accuracy") == 100
    assert last("odd/accuracy") == 0
    log = (datasets / "run/log_train.txt").read_text(encoding="utf-8")
    assert "odd: Current_accuracy : 0.000" in log


@pytest.mark.parametrize(("steps", "changes"), [("null", False), ("3", True), ("0", True)])
def test_a_frozen_stage_keeps_its_weights_for_its_steps(
    finetune, datasets, checkpoint, steps, changes
):
    finetune(
        "shifted",
        "trainer.max_steps=5",
        "freeze=[feature_extraction]",
        f"freeze_steps={steps}",
    )
    before, after = weights(checkpoint), weights(datasets / "run/last.ckpt")
    frozen = [name for name in before if name.startswith("feature_extraction.")]
    assert frozen
    same = all(torch.equal(before[name], after[name]) for name in frozen)
    assert same is not changes
    assert not torch.equal(before["prediction.linear.weight"], after["prediction.linear.weight"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("freeze=[feature_extractor]", "freeze=[feature_extractor]: expected stages"),
        ("freeze_steps=-1", None),
        ("guard.most_lost=-1", None),
        ("guard.mostlost=1", "guard.mostlost"),
        (
            "data.more_validation=[{name: accuracy, dir: x}]",
            "has the name 'accuracy': expected letters",
        ),
    ],
)
def test_what_cannot_be_is_refused(finetune, datasets, given, message):
    done = finetune(
        "sound",
        "trainer.max_steps=1",
        given,
        *(["freeze=[prediction]"] if given.startswith("freeze_steps") else []),
        *([f"guard.dataset={datasets / 'sound'}"] if "most_lost" in given else []),
    )
    assert done.status == 1
    assert (message or f"{given}: expected") in done.err


def test_shifted_labels_are_noticed_before_the_first_step(finetune):
    done = finetune("shifted", "trainer.max_steps=1")
    assert "the labels are shifted by a line: the reading of a picture fits the label a line" in (
        done.out + done.err
    )
    assert "the labels are shifted" not in "".join(finetune_again(finetune))


def finetune_again(finetune):
    done = finetune("sound", "trainer.max_steps=1", "overwrite=true")
    return done.out, done.err


def test_nothing_that_learns_is_refused():
    stages = ["transformation", "feature_extraction", "sequence_modeling", "prediction"]
    with pytest.raises(HanlineError, match="expected a stage that learns"):
        Freeze(stages, None)
