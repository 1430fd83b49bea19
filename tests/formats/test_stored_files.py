"""Files of format 1, of Hanline 0.1, which had no format version, open and read the same.

They hold two models that have learnt ten words: one of CTC, one of attention. Both name their
stages by the package of that time. The ONNX model of attention is packed.
"""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hanline.formats.registry import load_model, open_model
from hanline.inference.reader import Reader
from hanline.pretrained import SHIPPED, model_path
from hanline.quantization.torch_int8 import unsupported_reason

STORED = Path(__file__).parent / "stored"


@pytest.fixture
def stored(tmp_path):
    for path in STORED.iterdir():
        if path.suffix == ".gz":
            (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["ctc.ckpt", "attention.ckpt", "ctc.safetensors", "ctc.onnx", "attention.onnx"]
)
def test_it_opens_and_reads_the_same_texts(name, stored, words, picture):
    opened = open_model(stored / name)
    pictures = np.stack([np.asarray(picture(word)) for word in words])
    ((texts, confidences),) = opened.read_all([torch.from_numpy(pictures).unsqueeze(1)])
    assert texts == words
    assert min(confidences) > 0.5
    stages = ("transformation", "feature_extraction", "sequence_modeling", "prediction")
    for stage in stages:
        assert opened.spec[stage]["_target_"].startswith("hanline.models.")


def test_bounds_and_history_are_kept(stored):
    file = load_model(stored / "ctc.safetensors")
    assert file.history == {"steps": 7}
    recognizer = open_model(stored / "ctc.safetensors")
    assert recognizer.ranges == file.extras["ranges"]
    assert unsupported_reason(recognizer) is None


def test_fine_tuning_takes_them(stored):
    for name in ("ctc.ckpt", "ctc.safetensors"):
        assert (
            load_model(stored / name).state.keys() == open_model(stored / name).state_dict().keys()
        )


def test_the_shipped_model_is_of_format_1_too():
    assert "format_version" not in model_path(SHIPPED).with_suffix(".json").read_text("utf-8")
    assert len(Reader(SHIPPED, "cpu").recognizer.spec["charset"]) > 2000
