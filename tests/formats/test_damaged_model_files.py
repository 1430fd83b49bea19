"""Model files with flipped bits and edited descriptions are refused, or read as they were."""

import json
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hanline.errors import HanlineError
from hanline.formats.onnx import METADATA, Onnx
from hanline.formats.registry import load_model, open_model
from hanline.formats.safetensors import Safetensors

STORED = Path(__file__).parent / "stored"


@pytest.fixture(scope="module")
def model():
    return open_model(STORED / "ctc.ckpt")


@pytest.fixture
def safetensors(model, tmp_path):
    path, _ = Safetensors().save(tmp_path / "model.safetensors", model, {"steps": 7})
    return path


def regions(path):
    """The parts of a .safetensors, and its .json."""
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    start = 8 + length
    return {
        "length of the table": (path, 0, 8),
        "table": (path, 8, start),
        "weights": (path, start, path.stat().st_size),
        "config": (path.with_suffix(".json"), 0, path.with_suffix(".json").stat().st_size),
    }


@pytest.mark.parametrize("region", ["length of the table", "table", "weights", "config"])
def test_a_flipped_bit_of_safetensors_is_refused_or_changes_nothing(region, safetensors):
    before = load_model(safetensors)
    file, start, end = regions(safetensors)[region]
    whole = file.read_bytes()
    chosen = random.Random(region)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chosen.randrange(start, end)] ^= 1 << chosen.randrange(8)
        file.write_bytes(damaged)
        try:
            after = load_model(safetensors)
        except HanlineError as error:
            assert file.stem in str(error)
            refused += 1
            continue
        assert after.spec == before.spec
        for name, tensor in before.state.items():
            assert torch.equal(after.state[name], tensor), name
    assert refused > 100


@pytest.mark.parametrize("record", ["config", "metadata"])
@pytest.mark.parametrize("key", ["max_label_length", "height", "width", "hidden_size", "channels"])
@pytest.mark.parametrize("value", [True, 0, -1, 1.5, 10**9, 10**400, "x", [], None], ids=repr)
def test_a_number_of_any_kind_is_read_or_refused(record, key, value, safetensors, tmp_path):
    """In a JSON without a checksum, as one that was edited by hand, and in old ONNX metadata."""
    path = safetensors if record == "config" else tmp_path / "model.onnx"
    if record == "config":
        config = safetensors.with_suffix(".json")
        note = json.loads(config.read_text("utf-8"))
        del note["sha256"]
    else:
        proto = onnx.load(STORED / "ctc.onnx")
        (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA)
        note = json.loads(entry.value)
    spec = note["recognizer"]
    place = next(
        (part for part in (spec, spec["image"], spec["feature_extraction"]) if key in part),
        spec["prediction"],
    )
    place[key] = value
    if record == "config":
        config.write_text(json.dumps(note), encoding="utf-8")
    else:
        entry.value = json.dumps(note)
        onnx.save(proto, path)
    try:
        open_model(path)
    except HanlineError as error:
        assert "model." in str(error)
        assert len(str(error)) < 600


def test_nested_brackets_are_refused(safetensors, tmp_path):
    safetensors.with_suffix(".json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(HanlineError, match="damaged"):
        open_model(safetensors)
    proto = onnx.load(STORED / "ctc.onnx")
    (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA)
    entry.value = "[" * 100_000
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(HanlineError, match="damaged"):
        open_model(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note["decoding"].pop("blank"),
        lambda note: note["decoding"].update(end=0),
        lambda note: note["decoding"].update(blank=7),
        lambda note: note["decoding"].update(first_character=-3),
        lambda note: note["decoding"].update(blank="0"),
        lambda note: note.pop("decoding"),
        lambda note: note.pop("recognizer"),
        lambda note: note.update(format_version=3),
    ],
    ids=range(8),
)
def test_edited_onnx_metadata_is_refused(change, tmp_path):
    edited(change, tmp_path / "model.onnx")
    with pytest.raises(HanlineError, match=r"model\.onnx"):
        open_model(tmp_path / "model.onnx")


def test_a_charset_that_is_too_short_for_the_model_is_told(tmp_path, words, picture):
    path = tmp_path / "model.onnx"
    edited(lambda note: note["recognizer"].update(charset="가"), path)
    pictures = torch.from_numpy(np.array(picture(words[4]))).view(1, 1, 32, 96)
    with pytest.raises(HanlineError, match="cannot read these images"):
        open_model(path).read_all([pictures])


def test_a_flipped_bit_of_an_onnx_model_is_refused_or_changes_nothing(tmp_path, model):
    (path,) = Onnx().save(tmp_path / "model.onnx", model, {})
    whole = path.read_bytes()
    before = open_model(path).spec
    chosen = random.Random(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[chosen.randrange(len(whole))] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        try:
            assert open_model(path).spec == before
        except HanlineError:
            refused += 1
    assert refused > 80


def test_a_checkpoint_and_its_copy_are_the_same_model(model, tmp_path):
    shutil.copy(STORED / "ctc.ckpt", tmp_path)
    assert open_model(tmp_path / "ctc.ckpt").spec == model.spec


def edited(change, path):
    """Write the stored ONNX model with other metadata."""
    proto = onnx.load(STORED / "ctc.onnx")
    (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA)
    note = json.loads(entry.value)
    change(note)
    entry.value = json.dumps(note)
    onnx.save(proto, path)
