"""ONNX models, run by onnxruntime, read as torch does; and need nothing but their file."""

import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from support.dtrb import CASES, HANGUL
from torch import nn

from hanline.errors import HanlineError
from hanline.formats.checkpoint import Checkpoint
from hanline.formats.onnx import METADATA, Onnx
from hanline.formats.onnx.export import OUTPUTS, Graph, trace
from hanline.formats.onnx.runtime import OnnxRecognizer, decode
from hanline.formats.registry import open_model
from hanline.inference.trade_off import trade_off

IMAGES = 100
HEADS = ("None-CTC", "None-Attn", "BiLSTM-CTC", "BiLSTM-Attn")


@torch.inference_mode()
def decided(recognizer, pictures):
    """Which pictures' classes are no toss-up at any step: with random weights some are so near to
    one that noise of 1e-6 in the image would turn them in torch itself."""
    best, second = recognizer(pictures).softmax(dim=2).topk(2, dim=2).values.unbind(dim=2)
    return (best - second > 1e-4).all(dim=1)


class Four(nn.Module):
    """The four recognisers with the same features, as one graph: images → classes and probabilities
    by CTC and by attention, each of them without a BiLSTM and then with it, 2 · B rows.

    The exporter's time grows with the nodes, most of all with those of LSTMs and loops.
    """

    def __init__(self, recognizers):
        super().__init__()
        self.ctc, self.attention, self.bilstm = map(Graph, recognizers[:3])

    def forward(self, images):
        features = self.ctc.recognizer.features(images)
        both = torch.cat([features, self.bilstm.recognizer.sequence_modeling(features)])
        return (
            *self.ctc.recognizer.prediction.best_classes(both),
            *self.attention.recognizer.prediction.best_classes(both),
        )


@pytest.fixture(scope="module")
def reader_of(recognizer_of, tmp_path_factory):
    """One of the 24, and how onnxruntime reads with it: a function of images, as ``read`` is."""

    @functools.cache
    def export(features):
        # What only repeats in a stage is there once.
        fewer = {"layers": 1, "iterations": 1, "hidden": 32}
        recognizers = [recognizer_of(f"{features}-{heads}", **fewer) for heads in HEADS]
        for i, recognizer in enumerate(recognizers):
            recognizer.transformation = recognizers[0].transformation
            recognizer.feature_extraction = recognizers[0].feature_extraction
            recognizer.sequence_modeling = recognizers[i // 2 * 2].sequence_modeling
            recognizer.prediction = recognizers[i % 2].prediction
        free_width = features.startswith("None")
        names = [f"{prediction} {output}" for prediction in ("CTC", "Attn") for output in OUTPUTS]
        model = trace(Four(recognizers), recognizers[0].spec["image"], free_width, names)
        operators = Counter(node.op_type for node in model.graph.node)
        assert operators["Loop"] == 1
        assert operators["GridSample"] == (not free_width)
        path = tmp_path_factory.mktemp(features) / "model.onnx"
        onnx.save(model, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return recognizers, session

    def find(case):
        stages = case.split("-")
        recognizers, session = export("-".join(stages[:2]))
        recognizer = recognizers[HEADS.index("-".join(stages[2:]))]
        decoding = recognizer.prediction.decoding
        names = [f"{stages[3]} {output}" for output in OUTPUTS]

        def read(images):
            rows = slice(len(images)) if stages[2] == "None" else slice(len(images), None)
            outputs = [o[rows] for o in session.run(names, {"images": images.numpy()})]
            return decode(*outputs, decoding, HANGUL)

        return recognizer, read

    return find


@pytest.mark.parametrize("case", CASES)
def test_reads_as_torch_does(case, reader_of, images):
    recognizer, read = reader_of(case)

    def assert_same(pictures):
        pictures = pictures[decided(recognizer, pictures)]
        texts, confidences = recognizer.read(pictures)
        # Batches of other sizes than that which it was exported with, and one of one.
        first, others = read(pictures[:1]), read(pictures[1:])
        assert first[0] + others[0] == texts
        assert np.allclose(first[1] + others[1], confidences, atol=1e-3)
        return texts

    texts = assert_same(images(IMAGES, 1, 32, 48))
    assert len(texts) > 0.9 * IMAGES
    # What is compared must not be always the same, nor always nothing.
    assert len(set(texts)) > IMAGES // 10
    if not case.startswith("TPS"):
        assert_same(images(9, 1, 32, 72))


@pytest.fixture(scope="module")
def onnx_of(recognizer_of, tmp_path_factory):
    """Exports one of the 24 as the command does, once: the recogniser and its file. With TPS it
    sees colours; without, its width follows the image."""

    @functools.cache
    def export(case):
        image = (32, 48, 3) if case.startswith("TPS") else (32, None, 1)
        recognizer = recognizer_of(case, image=image, keep_ratio=True)
        path = tmp_path_factory.mktemp(case) / "model.onnx"
        Onnx().save(path, recognizer, {"steps": 7})
        return recognizer, path

    return export


def test_the_loop_stops_when_every_text_has_ended(onnx_of, images, tmp_path):
    recognizer, path = onnx_of("None-VGG-None-Attn")
    pictures = images(IMAGES, 1, 32, 48)
    lengths = torch.tensor([len(text) for text in recognizer.read(pictures)[0]])
    longest = int(lengths.unique()[1])
    assert longest < recognizer.spec["max_label_length"]
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    classes, probabilities = session.run(None, {"images": pictures[lengths <= longest].numpy()})
    assert (classes[:, longest + 1 :] == 1).all()
    assert (probabilities[:, longest + 1 :] == 1).all()
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    softmaxes = [e for e in events if e.get("args", {}).get("op_name") == "Softmax"]
    # A step has two: over the line, and over the classes. The last one writes the end.
    assert len(softmaxes) == 2 * (longest + 1)


def test_the_metadata_says_all_that_a_reader_needs(onnx_of):
    recognizer, path = onnx_of("TPS-VGG-None-CTC")
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    record = json.loads(entries[METADATA])
    assert record["charset"] == recognizer.charset.characters
    assert record["image"] == {"height": 32, "width": 48, "channels": 3, "keep_ratio": True}
    assert record["decoding"] == {"kind": "ctc", "blank": 0, "first_character": 1}
    assert record["history"] == {"steps": 7}


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """What reads ten words, as ONNX."""
    path = tmp_path_factory.mktemp("exported") / "words.onnx"
    Onnx().save(path, open_model(checkpoint), {})
    return path


def test_predict_and_evaluate_take_the_file(exported, checkpoint, folder, command, tmp_path):
    readings = []
    for file in (checkpoint, exported):
        done = command("predict", f"checkpoint={file}", f"input={folder}", "precision=32-true")
        assert done.status == 0, done.err
        assert "accuracy 100.00 %" in done.out
        lines = (tmp_path / "readings.jsonl").read_text("utf-8").splitlines()
        readings.append([json.loads(line) for line in lines])
    for theirs, ours in zip(*readings, strict=True):
        assert ours["text"] == theirs["text"]
        assert abs(ours["confidence"] - theirs["confidence"]) < 1e-3
    done = command("evaluate", f"checkpoint={exported}", f"input={folder}")
    assert "accuracy 100.00 %" in done.out


def test_export_with_8_bit_weights_tells_what_it_costs(checkpoint, folder, command, tmp_path):
    arguments = [f"checkpoint={checkpoint}", "format=onnx", "output=small", "format.int8=true"]
    without = command("export", *arguments)
    assert without.status == 1
    assert "dataset" in without.err
    done = command("export", *arguments, f"dataset={folder}")
    assert done.status == 0, done.err
    assert "small.onnx: 10 samples: accuracy 100.00 %" in done.out
    assert "small.int8.onnx: 10 samples: accuracy" in done.out
    assert "images per second" in done.out
    card = (tmp_path / "small.onnx.md").read_text("utf-8")
    assert "small.int8.onnx: 10 samples" in card
    done = command("predict", "checkpoint=small.int8.onnx", f"input={folder}")
    assert done.status == 0, done.err


def test_files_of_one_model_are_compared_on_lines_of_any_width(onnx_of, images, tmp_path):
    recognizer, path = onnx_of("None-VGG-None-Attn")
    (path.parent / "unreadable.onnx").write_bytes(b"")
    rows = []
    for i, width in enumerate((40, 200, 300)):
        Image.fromarray(images(1, 1, 32, width)[0, 0].numpy()).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png\t각\n")
    (tmp_path / "gt.txt").write_text("".join(rows), encoding="utf-8")
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, {})
    files = [tmp_path / "model.ckpt", path, path.parent / "unreadable.onnx"]
    first, second = trade_off(files, tmp_path)
    assert first.startswith("model.ckpt (")
    assert second.startswith("model.onnx: 3 samples: accuracy")
    assert "images per second" in second
    for i in range(3):
        (tmp_path / f"{i}.png").unlink()
    with pytest.raises(HanlineError, match="can be read"):
        trade_off(files, tmp_path)


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


@pytest.mark.parametrize("case", ["None-VGG-None-Attn", "TPS-VGG-None-CTC"])
@pytest.mark.parametrize("width", [60, 230])
def test_the_program_in_the_docs_reads_without_torch(
    case, width, onnx_of, images, tmp_path, process, command
):
    """docs/guides/onnx.md's program, as it stands there, gives what `hanline predict` gives, of an image
    that is padded and of one that is squeezed or stretched."""
    program = (
        (Path(__file__).parents[2] / "docs" / "guides" / "onnx.md")
        .read_text("utf-8")
        .split("```python\n")[1]
        .split("```")[0]
    )
    assert "torch" not in program
    assert len(program.splitlines()) <= 35
    recognizer, path = onnx_of(case)
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, {})
    pixels = images(1, recognizer.spec["image"]["channels"], 50, width)[0]
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).save(tmp_path / "image.png")
    (tmp_path / "read.py").write_text(program, encoding="utf-8")
    done = process("read.py", path, "image.png")
    assert done.status == 0, done.err
    keys = ("checkpoint=model.ckpt", "input=image.png", "precision=32-true", "deskew=false")
    assert command("predict", *keys).status == 0
    reading = json.loads((tmp_path / "readings.jsonl").read_text("utf-8"))
    text, _, confidence = done.out.rstrip("\n").rpartition(" ")
    assert text == reading["text"]
    assert abs(float(confidence) - reading["confidence"]) < 1e-3
