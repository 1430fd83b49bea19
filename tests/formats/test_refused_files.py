"""Files that are malicious, damaged or of others are refused, and nothing in them runs."""

import re
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from hanline.errors import HanlineError
from hanline.formats.checkpoint import Checkpoint
from hanline.formats.dtrb.keys import dtrb_state
from hanline.formats.registry import load_model, open_model
from hanline.formats.safetensors import Safetensors

DTRB = ("import_weights", "dtrb")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.write_text, (self.place, "run")


@pytest.fixture
def state(recognizer_of):
    return dtrb_state(recognizer_of("None-VGG-None-CTC"))


@pytest.fixture
def refused(command, tmp_path):
    """Imports a file, which must be refused; gives the message."""

    def run(path):
        done = command("import_weights", "dtrb", str(path), "charset=dtrb_36")
        assert done.status == 1
        assert str(path) in done.err
        assert not path.with_suffix(".ckpt").exists()
        with pytest.raises(HanlineError):
            load_model(path)
        return done.err

    return run


def test_a_payload_does_not_run(state, refused, tmp_path):
    path, place = tmp_path / "model.pth", tmp_path / "proof"
    torch.save(state | {"module.more": Payload(place)}, path)
    assert "would have to be executed" in refused(path)
    assert not place.exists()


def test_a_truncated_file(state, refused, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-500])
    assert "damaged" in refused(path)


def test_an_entry_that_ends_too_early(state, refused, tmp_path):
    path = tmp_path / "model.pth"
    torch.save({name: torch.zeros(3) for name in state}, path)
    with zipfile.ZipFile(path) as archive:
        last = archive.infolist()[-1]
        size = path.stat().st_size - last.header_offset  # more than is left behind its header
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2")
    struct.pack_into("<II", content, entry + 20, size, size)
    path.write_bytes(content)
    assert "ends too early" in refused(path)


def test_a_single_number_for_a_matrix(state, refused, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(state | {"module.Prediction.weight": torch.tensor(1)}, path)
    assert "a single number" in refused(path)


def test_a_zip_bomb_is_not_unpacked(state, refused, tmp_path):
    plain, path = tmp_path / "plain.pth", tmp_path / "model.pth"
    torch.save({name: torch.zeros(1_000_000) for name in state}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in source.namelist():
            bomb.writestr(name, source.read(name))
    assert path.stat().st_size < 1_000_000
    assert "would unpack to" in refused(path)


def test_a_few_bytes_that_claim_to_be_terabytes(state, refused, tmp_path):
    path = tmp_path / "model.pth"
    name = "module.Prediction.bias"
    torch.save(state | {name: torch.zeros(1).expand(10**12)}, path)
    message = refused(path)
    assert name in message
    assert "more than the file holds" in message


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(state, refused, tmp_path, number):
    path = tmp_path / "model.pth"
    state["module.Prediction.weight"][3, 2] = number
    torch.save(state, path)
    message = refused(path)
    assert "module.Prediction.weight" in message
    assert "not finite" in message


def test_files_of_others(refused, tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    assert "fc.weight" in refused(path)
    torch.save({"module.FeatureExtraction.ConvNet.18.weight": [1, 2]}, path)
    assert "a list" in refused(path)
    path.write_text("not weights", encoding="utf-8")
    refused(path)


def test_a_checkpoint_of_hanline_is_told_apart(recognizer_of, tmp_path, command):
    path = tmp_path / "model.pth"
    Checkpoint().save(path, recognizer_of("None-VGG-None-CTC"), {})
    done = command(*DTRB, str(path), "charset=dtrb_36")
    assert done.status == 1
    assert "it has hanline, state_dict" in done.err


@pytest.mark.parametrize(
    "arguments",
    [("predict", "input=a.png"), ("evaluate", "input=."), ("export", "format=onnx")],
)
def test_a_model_of_others_must_be_imported(state, command, tmp_path, arguments):
    torch.save(state, tmp_path / "model.pth")
    Image.new("L", (40, 32)).save(tmp_path / "a.png")
    (tmp_path / "gt.txt").write_text("a.png\ta\n", encoding="utf-8")
    done = command(*arguments, "checkpoint=model.pth")
    assert done.status == 1
    assert "hanline import dtrb model.pth charset=" in done.err


def test_a_checkpoint_with_nan_is_not_read_with(recognizer_of, tmp_path):
    recognizer = recognizer_of("None-VGG-None-CTC")
    recognizer.prediction.linear.bias.data[0] = float("nan")
    path = tmp_path / "model.ckpt"
    Checkpoint().save(path, recognizer, {})
    with pytest.raises(HanlineError, match=r"prediction\.linear\.bias .* not finite"):
        open_model(path)


def test_damaged_safetensors(recognizer_of, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(HanlineError, match="there is none"):
        open_model(path)
    Safetensors().save(path, recognizer_of("None-VGG-None-CTC"), {})
    whole = path.read_bytes()
    # A header of 10^18 bytes, then half a file, then another model's config.
    for damaged in (struct.pack("<Q", 10**18) + whole[8:], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(HanlineError, match="damaged"):
            open_model(path)
    path.write_bytes(whole)
    open_model(path)
    config = path.with_suffix(".json")
    edited = config.read_text("utf-8").replace("각", "", 1)
    config.write_text(edited, encoding="utf-8")
    with pytest.raises(HanlineError, match="if you have edited it, delete the line sha256"):
        open_model(path)
    config.write_text(re.sub(r',\s*"sha256": "\w+"', "", edited), encoding="utf-8")
    with pytest.raises(HanlineError, match="do not fit"):
        open_model(path)
    config.write_text("{", encoding="utf-8")
    with pytest.raises(HanlineError, match="damaged"):
        open_model(path)


def test_damaged_onnx(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(HanlineError, match="there is none"):
        open_model(path)
    path.write_bytes(b"\x08\x0anothing of the kind")
    with pytest.raises(HanlineError, match="no ONNX model"):
        open_model(path)
