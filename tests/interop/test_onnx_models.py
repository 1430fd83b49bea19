"""ONNX models, run by onnxruntime, read as torch does; and need nothing but their file."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from architectures import CASES, ROOT
from PIL import Image

from hanline.errors import HanlineError
from hanline.interop.onnx import METADATA, OnnxRecognizer, write_onnx
from hanline.model.checkpoint import load_recognizer, save_recognizer

IMAGES = 100


@torch.inference_mode()
def decided(recognizer, pictures):
    """Which pictures' classes are no toss-up at any step: with random weights some are so near to
    one that noise of 1e-6 in the image would turn them in torch itself."""
    best, second = recognizer(pictures).softmax(dim=2).topk(2, dim=2).values.unbind(dim=2)
    return (best - second > 1e-4).all(dim=1)


@pytest.mark.parametrize("case", CASES)
def test_reads_as_torch_does(case, recognizer_of, images, tmp_path):
    recognizer = recognizer_of(case)
    path = tmp_path / "model.onnx"
    write_onnx(path, recognizer, {})
    model = OnnxRecognizer(path)
    pictures = images(IMAGES, 1, 32, 48)
    pictures = pictures[decided(recognizer, pictures)]
    assert len(pictures) > 0.9 * IMAGES
    texts, confidences = recognizer.read(pictures)
    # What is compared must not be always the same, nor always nothing.
    assert len(set(texts)) > IMAGES // 4
    # A batch of another size than that which it was exported with, and one of one.
    read = [model.read(part) for part in (pictures[:1], pictures[1:])]
    assert read[0][0] + read[1][0] == texts
    assert np.allclose(read[0][1] + read[1][1], confidences, atol=1e-3)

    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert ("Loop" in operators) == case.endswith("Attn")
    assert ("GridSample" in operators) == case.startswith("TPS")
    if not case.startswith("TPS"):
        wider = images(3, 1, 32, 72)
        wider = wider[decided(recognizer, wider)]
        texts, confidences = recognizer.read(wider)
        read = model.read(wider)
        assert read[0] == texts
        assert np.allclose(read[1], confidences, atol=1e-3)


def test_the_loop_stops_when_every_text_has_ended(recognizer_of, images, tmp_path):
    recognizer = recognizer_of("None-VGG-None-Attn")
    # It writes an end at once, so that only the first step is taken.
    recognizer.prediction.generator.bias.data[1] = 100
    path = tmp_path / "model.onnx"
    write_onnx(path, recognizer, {})
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    classes, _ = session.run(None, {"images": images(4, 1, 32, 48).numpy()})
    assert (classes == 1).all()
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    softmaxes = [e for e in events if e.get("args", {}).get("op_name") == "Softmax"]
    # A step has two: over the line, and over the classes.
    assert 0 < len(softmaxes) <= 2


def test_rgb_and_metadata(recognizer_of, images, tmp_path):
    recognizer = recognizer_of("None-ResNet-None-CTC", image=(32, 64, 3), keep_ratio=True)
    path = tmp_path / "model.onnx"
    write_onnx(path, recognizer, {"steps": 7})
    pictures = images(5, 3, 32, 64)
    assert OnnxRecognizer(path).read(pictures)[0] == recognizer.read(pictures)[0]
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    record = json.loads(entries[METADATA])
    assert record["charset"] == recognizer.charset.characters
    assert record["image"] == {"height": 32, "width": 64, "channels": 3, "keep_ratio": True}
    assert record["decoding"] == {"kind": "ctc", "blank": 0, "first_character": 1}
    assert record["history"] == {"steps": 7}


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """What reads ten words, as ONNX."""
    path = tmp_path_factory.mktemp("exported") / "words.onnx"
    write_onnx(path, load_recognizer(checkpoint), {})
    return path


@pytest.fixture
def folder(words, picture, tmp_path):
    """Pictures of ten words, with their gt.txt."""
    place = tmp_path / "pictures"
    place.mkdir()
    for i, word in enumerate(words):
        picture(word).save(place / f"{i}.png")
    lines = [f"{i}.png\t{word}\n" for i, word in enumerate(words)]
    (place / "gt.txt").write_text("".join(lines), encoding="utf-8")
    return place


def test_predict_and_evaluate_take_the_file(exported, checkpoint, folder, command, tmp_path):
    readings = []
    for file in (checkpoint, exported):
        done = command("predict", f"checkpoint={file}", f"image_dir={folder}")
        assert done.status == 0, done.err
        assert "accuracy 100.00 %" in done.out
        lines = (tmp_path / "readings.jsonl").read_text("utf-8").splitlines()
        readings.append([json.loads(line) for line in lines])
    for theirs, ours in zip(*readings, strict=True):
        assert ours["text"] == theirs["text"]
        assert abs(ours["confidence"] - theirs["confidence"]) < 1e-3
    done = command("evaluate", f"checkpoint={exported}", f"dataset={folder}")
    assert "accuracy 100.00 %" in done.out


def test_export_with_8_bit_weights_tells_what_it_costs(checkpoint, folder, command, tmp_path):
    arguments = [f"checkpoint={checkpoint}", "format=onnx", "output=small", "int8=true"]
    without = command("export", *arguments)
    assert without.status == 1
    assert "dataset" in without.err
    done = command("export", *arguments, f"dataset={folder}")
    assert done.status == 0, done.err
    assert "32-bit weights: 10 samples: accuracy 100.00 %" in done.out
    assert "8-bit weights: 10 samples: accuracy" in done.out
    assert "images a second" in done.out
    card = (tmp_path / "small.onnx.md").read_text("utf-8")
    assert "8-bit weights: 10 samples" in card
    done = command("predict", "checkpoint=small.int8.onnx", f"image_dir={folder}")
    assert done.status == 0, done.err


def test_what_onnxruntime_cannot_do_is_told(exported, images):
    model = OnnxRecognizer(exported)
    with pytest.raises(HanlineError, match="cannot read on meta"):
        model.to(torch.device("meta"))
    with pytest.raises(HanlineError, match="cannot read these images"):
        model.read(images(1, 3, 32, 96))


def test_a_model_of_others_is_told_apart(exported, tmp_path):
    model = onnx.load(exported)
    path = tmp_path / "other.onnx"
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(HanlineError, match="does not say what it reads"):
        OnnxRecognizer(path)


@pytest.mark.parametrize("case", ["None-VGG-None-CTC", "TPS-VGG-None-Attn"])
def test_the_program_in_the_docs_reads_without_torch(
    case, recognizer_of, images, tmp_path, process, command
):
    """docs/onnx.md's program, as it stands there, gives what `hanline predict` gives."""
    program = (ROOT / "docs" / "onnx.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert "torch" not in program
    assert len(program.splitlines()) <= 35
    recognizer = recognizer_of(case, image=(32, 64, 1), keep_ratio=True)
    save_recognizer(tmp_path / "model.ckpt", recognizer, {})
    write_onnx(tmp_path / "model.onnx", recognizer, {})
    Image.fromarray(images(1, 1, 50, 70)[0, 0].numpy()).save(tmp_path / "image.png")
    (tmp_path / "read.py").write_text(program, encoding="utf-8")
    done = process("read.py", "model.onnx", "image.png")
    assert done.status == 0, done.err
    assert command("predict", "checkpoint=model.ckpt", "image_dir=image.png").status == 0
    reading = json.loads((tmp_path / "readings.jsonl").read_text("utf-8"))
    text, _, confidence = done.out.rstrip("\n").rpartition(" ")
    assert text == reading["text"]
    assert abs(float(confidence) - reading["confidence"]) < 1e-3
