"""Forged and damaged model files of every format."""

import gzip
import io
import json
import math
import pickle
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from support.attack import REFUSED, chance, mutated
from support.dtrb import HANGUL
from support.forged import edited

from hanline.errors import HanlineError
from hanline.formats.base import Description
from hanline.formats.dtrb import Dtrb
from hanline.formats.easyocr import EasyOCR
from hanline.formats.onnx import METADATA, Onnx
from hanline.formats.record import build
from hanline.formats.registry import load_model, open_model
from hanline.formats.safetensors import Safetensors
from hanline.text.charset import Charset
from hanline.training.resume import check_state

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child is forked, to die alone")
ATTACK = pytest.mark.attack
STORED = Path(__file__).parents[1] / "formats" / "stored"


def counts(few, many):
    return [few, pytest.param(many, marks=ATTACK)]


def text_of(note):
    return json.dumps(note)


def read_blank(opened):
    """Read an image of the size that a model takes, if that is one of a line of text."""
    image = opened.spec["image"]
    shape = (1, image["channels"], image["height"], image["width"] or 96)
    if math.prod(shape) < 100_000 and opened.spec["max_label_length"] < 100:
        opened.read_all([torch.zeros(shape, dtype=torch.uint8)])


@pytest.fixture(scope="module")
def model():
    return open_model(STORED / "ctc.ckpt")


def content_of(path):
    """What a file holds, as values that can be compared in another process."""
    file = load_model(path)
    return file.spec, {name: tensor.numpy() for name, tensor in file.state.items()}


def same(model):
    """Make a judge for files with a checksum: refused, or exactly what was saved."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    def judge(_, outcome):
        if outcome == REFUSED:
            return
        spec, tensors = outcome
        assert spec == model.spec
        assert tensors.keys() == state.keys()
        for name, tensor in tensors.items():
            assert (tensor == state[name]).all(), f"{name} differs, silently"

    return judge


@pytest.mark.parametrize("count", counts(12, 300))
@pytest.mark.parametrize("part", [".safetensors", ".json"])
def test_damaged_safetensors_are_refused_or_as_they_were(count, part, model, tmp_path, tally):
    path, _ = Safetensors().save(tmp_path / "model.safetensors", model, {"steps": 7})
    file = path.with_suffix(part)
    content = file.read_bytes()
    rng = chance(f"safetensors {part}")

    def load(changed):
        file.write_bytes(changed)
        return content_of(path)

    given = [(number, mutated(content, rng)) for number in range(count)]
    with tally(f"damaged {part} files") as attempts:
        attempts.in_child(load, given, same(model), writable=tmp_path)


@pytest.mark.parametrize("count", counts(20, 500))
def test_a_forged_json_opens_or_is_refused(count, model, tmp_path, tally):
    path, config = Safetensors().save(tmp_path / "model.safetensors", model, {"steps": 7})
    note = json.loads(config.read_text("utf-8"))
    del note["sha256"]
    rng = chance("json")

    def read(changed):
        config.write_text(changed, encoding="utf-8")
        opened = open_model(path)
        read_blank(opened)

    given = [(number, text_of(edited(note, rng))) for number in range(count)]
    with tally("forged .json of safetensors") as attempts:
        attempts.in_child(read, given, writable=tmp_path)


@pytest.mark.parametrize("count", counts(8, 200))
def test_a_damaged_onnx_model_is_refused_or_as_it_was(count, model, tmp_path, tally, picture):
    (path,) = Onnx().save(tmp_path / "model.onnx", model, {})
    content = path.read_bytes()
    images = torch.frombuffer(bytearray(picture("한글").tobytes()), dtype=torch.uint8)
    images = images.view(1, 1, 32, 96)
    rng = chance("onnx")

    def read(changed):
        path.write_bytes(changed)
        opened = open_model(path)
        return opened.spec, opened.read_all([images])[0][0]

    def judge(_, outcome):
        if outcome != REFUSED:
            assert outcome == (model.spec, ["한글"])

    given = [("whole", content)]
    given += [(number, mutated(content, rng)) for number in range(count)]
    with tally("damaged .onnx files") as attempts:
        attempts.in_child(read, given, judge, writable=tmp_path)


@pytest.mark.parametrize("count", counts(8, 200))
def test_forged_onnx_metadata_and_graphs_open_or_are_refused(count, tmp_path, tally):
    path = tmp_path / "model.onnx"
    proto = onnx.load(STORED / "ctc.onnx")
    (entry,) = (entry for entry in proto.metadata_props if entry.key == METADATA)
    note = json.loads(entry.value)
    rng = chance("onnx metadata")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(10**6))

    def forged(number):
        made = onnx.ModelProto()
        made.CopyFrom(proto)
        (place,) = (entry for entry in made.metadata_props if entry.key == METADATA)
        if number % 4:
            text = text_of(edited(note, rng))
            place.value = text
        else:
            # Weights of another file, and a graph of other numbers.
            tensor = rng.choice(made.graph.initializer)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            target = rng.choice(["secret", str(secret), "../secret", "/etc/passwd", "/dev/zero"])
            tensor.external_data.add(key="location", value=target)
        return made.SerializeToString()

    def read(changed):
        path.write_bytes(changed)
        opened = open_model(path)
        read_blank(opened)

    given = [(number, forged(number)) for number in range(count)]
    with tally("forged .onnx files") as attempts:
        attempts.in_child(read, given, writable=tmp_path)


@pytest.mark.parametrize("count", counts(15, 300))
@pytest.mark.parametrize("name", ["ctc.ckpt", "attention.ckpt"])
def test_a_damaged_checkpoint_is_refused_or_as_it_was(count, name, tmp_path, tally):
    content = (STORED / name).read_bytes()
    expected = open_model(STORED / name)
    path = tmp_path / name
    rng = chance(name)

    def load(changed):
        path.write_bytes(changed)
        return content_of(path)

    given = [(number, mutated(content, rng)) for number in range(count)]
    with tally("damaged .ckpt files") as attempts:
        attempts.in_child(load, given, same(expected), writable=tmp_path)


class Trap:
    """An object that calls something when it is unpickled."""

    def __init__(self, call, arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def traps(mark):
    """Objects that would leave a mark, or worse, where a file is unpickled."""
    import builtins
    import importlib
    import os
    import subprocess

    code = f"open({str(mark)!r}, 'w')"
    return [
        Trap(os.system, (f"touch {mark}",)),
        Trap(builtins.exec, (code,)),
        Trap(builtins.eval, (code,)),
        Trap(builtins.open, (str(mark), "w")),
        Trap(subprocess.Popen, (["touch", str(mark)],)),
        Trap(importlib.import_module, ("antigravity",)),
        Trap(getattr, (1, "real")),
        Trap(os.mkdir, (str(mark),)),
        Trap(torch.load, (str(mark),)),
        Trap(torch.hub.load, ("a/b", "c")),
        Trap(pickle.loads, (b"cos\nsystem\n(S'true'\ntR.",)),
        Trap(Path, (str(mark),)),
    ]


def odd_contents(model):
    """What a file may hold that torch reads as data, and that is no model."""
    state = model.state_dict()
    name = next(iter(state))
    weight = state[name]
    return [
        [],
        {},
        {"state_dict": []},
        {"state_dict": {name: 3}},
        {"state_dict": {3: weight}},
        {"state_dict": state | {name: weight.to("meta")}},
        {"state_dict": state | {name: weight.to_sparse()}},
        {"state_dict": state | {name: torch.zeros(1).expand(10**6, 10**6)}},
        {"state_dict": state | {name: weight.to(torch.complex64)}},
        {"state_dict": state | {name: weight * float("nan")}},
        {"state_dict": state | {name: weight[:0]}},
        {"state_dict": state | {name: torch.quantize_per_tensor(weight, 1.0, 0, torch.qint8)}},
        {"state_dict": state | {"x" * 100_000: weight}},
        {"module": {"state_dict": state}},
        {name: None},
        weight,
        "text",
    ]


@pytest.mark.parametrize("suffix", [".ckpt", ".pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_run_nothing(suffix, zipped, model, tmp_path, tally):
    mark = tmp_path / "mark"
    whole = torch.load(STORED / "ctc.ckpt", weights_only=True)
    given = []
    for number, trap in enumerate(traps(mark)):
        for place, content in enumerate(
            [trap, whole | {"epoch": trap}, whole | {"hanline": trap}, {"state_dict": [trap]}]
        ):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            given.append((f"trap {number}.{place}", file.getvalue()))
        given.append((f"bare {number}", pickle.dumps(trap)))
    for number, content in enumerate(odd_contents(model)):
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        given.append((f"odd {number}", file.getvalue()))
    path = tmp_path / f"model{suffix}"

    def read(content):
        path.write_bytes(content)
        for action in (load_model, lambda file: check_state(file, model.spec, 10), open_model):
            try:
                action(path)
            except HanlineError as error:
                assert str(path) in str(error)
                refused = error
        assert not mark.exists()
        raise refused

    def judge(_, outcome):
        assert outcome == REFUSED

    with tally("pickles in .ckpt and .pth") as attempts:
        attempts.in_child(read, given, judge, writable=tmp_path)
    assert not mark.exists()


def complete(format_, path, charset):
    """Import a file as `hanline import` does."""
    said = Description(charset=Charset(charset), max_label_length=7)
    file = format_.complete(format_.load(path), said, path)
    return build(file.spec, file.state, file.extras, path)


@pytest.mark.parametrize("count", counts(10, 150))
@pytest.mark.parametrize("case", ["None-VGG-BiLSTM-CTC", "TPS-ResNet-None-Attn"])
def test_damaged_files_of_dtrb_are_imported_or_refused(count, case, recognizer_of, tmp_path, tally):
    recognizer = recognizer_of(case, hidden=8)
    path = tmp_path / "model.pth"
    Dtrb().save(path, recognizer, {})
    state = torch.load(path, weights_only=True)
    zipped = path.read_bytes()
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    rng = chance(f"dtrb {case}")
    expected = {name: tensor.numpy() for name, tensor in recognizer.state_dict().items()}

    def shuffled():
        changed = dict(state)
        for _ in range(rng.choice([1, 1, 3])):
            name = rng.choice([*changed])
            kind = rng.choice(["remove", "rename", "reshape", "grow", "type"])
            tensor = changed.pop(name)
            if kind == "rename":
                changed[rng.choice([name.replace("module.", "", 1), name + ".x", *state])] = tensor
            elif kind == "reshape":
                changed[name] = tensor.reshape(-1)
            elif kind == "grow":
                changed[name] = torch.cat([tensor.reshape(-1)] * 2)
            elif kind == "type":
                changed[name] = rng.choice([tensor.double(), tensor.int(), tensor > 0])
        made = io.BytesIO()
        torch.save(changed, made)
        return made.getvalue()

    given = []
    for number in range(count):
        content = (
            lambda: mutated(zipped, rng),
            lambda: mutated(file.getvalue(), rng),
            shuffled,
        )[number % 3]()
        given.append((number, content))

    def read(content):
        path.write_bytes(content)
        made = complete(Dtrb(), path, HANGUL)
        return {name: tensor.numpy() for name, tensor in made.state_dict().items()}

    def judge(number, outcome):
        # The archive has checksums, the older format none; what was shuffled is another model.
        if outcome == REFUSED or number % 3:
            return
        for name, tensor in outcome.items():
            assert (tensor == expected[name]).all(), f"{name} differs, silently"

    with tally("DTRB's .pth files") as attempts:
        attempts.in_child(read, given, judge, writable=tmp_path)


@pytest.mark.parametrize("count", counts(10, 150))
def test_damaged_networks_of_easyocr_are_imported_or_refused(count, recognizer_of, tmp_path, tally):
    recognizer = recognizer_of("None-VGG-BiLSTM-CTC", keep_ratio=True)
    path = tmp_path / "network.pth"
    EasyOCR().save(path, recognizer, {})
    contents = {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".pth", ".yaml")}
    mark = tmp_path / "mark"
    # The module beside it is code: Hanline never imports it.
    path.with_suffix(".py").write_text(f"open({str(mark)!r}, 'w')", encoding="utf-8")
    rng = chance("easyocr")
    bombs = [
        b"a: &a [1,2]\nb: &b [*a,*a]\nhanline: *b",
        b"hanline: !!python/object/apply:os.system ['touch mark']",
        b"hanline: '" + b"[" * 100_000 + b"'",
        b"[" * 20_000,
        b"hanline: {a: 1}",
        b"- hanline",
        b"hanline",
        b"",
    ]
    given = [(f"yaml {number}", (".yaml", bomb)) for number, bomb in enumerate(bombs)]
    for number in range(count):
        suffix = (".pth", ".yaml")[number % 2]
        given.append((number, (suffix, mutated(contents[suffix], rng))))

    def read(changed):
        suffix, content = changed
        for other, whole in contents.items():
            path.with_suffix(other).write_bytes(content if other == suffix else whole)
        open_model(path)
        complete(EasyOCR(), path, HANGUL)

    with tally("EasyOCR's files") as attempts:
        attempts.in_child(read, given, writable=tmp_path)
    assert not mark.exists()


def test_archives_that_are_bombs_are_refused(tmp_path, tally):
    """Entries that unpack to gigabytes, repeat, climb out of the folder, or nest."""
    given = []
    for name, options in {
        "deflated": {"compression": zipfile.ZIP_DEFLATED},
        "stored": {},
    }.items():
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", **options) as archive:
            archive.writestr("model/data.pkl", pickle.dumps({}))
            archive.writestr("model/../../../climbed", b"x")
            for number in range(20):
                archive.writestr(f"model/data/{number}", bytes(10**7 if options else 1000))
        given.append((name, file.getvalue()))
    given.append(("gzip", gzip.compress(bytes(10**7))))
    path = tmp_path / "folder" / "model.ckpt"
    path.parent.mkdir()

    def read(content):
        path.write_bytes(content)
        open_model(path)

    def judge(_, outcome):
        assert outcome == REFUSED

    with tally("archives that are bombs") as attempts:
        attempts.in_child(read, given, judge, writable=path.parent)
    assert not (tmp_path / "climbed").exists()
