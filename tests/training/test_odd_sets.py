"""Sets that hold what a run cannot use: it says so, and goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hanline.data.lmdb_writer import LMDBWriter
from hanline.training.callbacks.label_check import time_steps

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
    "trainer.max_steps=2",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "hydra.run.dir=run",
    "overwrite=true",
]


@pytest.fixture
def write_set(picture: Any, tmp_path: Path) -> Any:
    """Writes a set of pictures of words, some of them damaged, in the folder of the command."""

    def write(name: str, labels: list[str], damaged: range = range(0)) -> None:
        file = tmp_path / "picture.png"
        writer = LMDBWriter(tmp_path / name, resume=False)
        for number, label in enumerate(labels):
            picture(label).save(file)
            image = b"no image" if number in damaged else file.read_bytes()
            writer.add([(image, label)])
        writer.finish({"made_by": "a test"})

    return write


@pytest.mark.parametrize(
    "damaged", [range(4), range(4, 5)], ids=["the first batch", "the last batch"]
)
def test_validation_batches_without_a_sound_image_are_skipped(
    damaged: range, write_set: Any, command: Any, tmp_path: Path
) -> None:
    write_set("training", ["가나"] * 8)
    write_set("validation", ["가나"] * 5, damaged)
    ended = command("train", *TINY)
    assert ended.status == 0, ended.err
    assert "Current_accuracy : 0.000" in ended.out
    assert f"{len(damaged)} samples were skipped, since their images are damaged" in ended.out
    assert "skipped image 5 of" in ended.out or 4 not in damaged
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 2


def test_labels_that_ctc_cannot_write_are_counted(write_set: Any, command: Any) -> None:
    # An image 32 pixels wide has 8 steps here.
    fit, doubled, too_long = "가나다라마바사아", "가나다라마바사사", "가나다라마바사아자"
    write_set("training", [fit] * 6 + [doubled, too_long])
    write_set("validation", [fit, doubled])
    ended = command("train", *TINY)
    assert ended.status == 0, ended.err
    told = "3 labels of the training and validation datasets need more than the 8 time steps"
    assert ended.out.count(told) == 1
    ended = command("train", *TINY, "model/prediction=attn", "model.prediction.hidden_size=16")
    assert ended.status == 0, ended.err
    assert "labels of the training" not in ended.out


def test_counting_steps_leaves_the_model_alone(make_recognizer: Any) -> None:
    recognizer = make_recognizer("tps", "resnet").train()
    before = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    steps = time_steps(recognizer)
    assert recognizer.training
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    images = torch.zeros(2, 1, 32, 96, dtype=torch.uint8)
    assert recognizer.features(images).shape[1] == steps
    recognizer.loss(images, ["가", "나"]).backward()
