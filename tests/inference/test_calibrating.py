"""Confidences that were calibrated: measured, kept in every file, and used."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import hanline
from hanline.errors import HanlineError
from hanline.formats.registry import load_model, open_model
from hanline.inference.calibration import fit_scale
from hanline.models.confidence import Confidence, ConfidenceScale, least_of_runs, log_odds


def test_a_scale_is_found_again():
    random = np.random.default_rng(1)
    least = random.uniform(0.05, 0.999, 20_000)
    true = ConfidenceScale(0.8, -0.4)
    right = random.uniform(size=20_000) < [true.chance(sure) for sure in least]
    found = fit_scale(least.tolist(), right.tolist())
    assert found.slope == pytest.approx(0.8, abs=0.05)
    assert found.offset == pytest.approx(-0.4, abs=0.05)


def test_lines_that_a_threshold_tells_apart_have_a_finite_scale():
    found = fit_scale([0.2, 0.3, 0.8, 0.9], [False, False, True, True])
    assert 0 < found.slope < 100
    assert math.isfinite(found.offset)


@pytest.mark.parametrize("right", [[True] * 4, [False] * 4, [True, True, False, False]])
def test_lines_that_teach_nothing_are_refused(right):
    with pytest.raises(HanlineError, match="dataset="):
        fit_scale([0.2, 0.3, 0.8, 0.9], right)


def test_a_confidence_survives_a_copy_and_another_process():
    confidence = Confidence(0.25, 0.5)
    for same in (copy.deepcopy(confidence), pickle.loads(pickle.dumps(confidence))):
        assert (same, same.least) == (0.25, 0.5)
    assert json.dumps(confidence) == "0.25"


def test_certain_probabilities_have_finite_odds():
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
    assert 0 < ConfidenceScale(1, 0).chance(0.0) < 1e-6


def test_the_least_sure_character_is_that_of_the_weakest_run():
    classes = np.array([[0, 2, 2, 0, 3, 0], [0] * 6, [1, 0, 1, 1, 2, 2]])
    sure = np.array(
        [[0.1, 0.4, 0.9, 0.2, 0.7, 0.9], [0.5] * 6, [0.6, 0.9, 0.3, 0.8, 0.95, 0.1]], np.float32
    )
    assert least_of_runs(classes, sure, 0).tolist() == pytest.approx([0.7, 1.0, 0.6])


@pytest.mark.parametrize("kind", ["ctc", "attn"])
def test_the_least_sure_character_is_that_of_the_parts(kind, make_recognizer):
    recognizer = make_recognizer(prediction=kind).eval()
    random = np.random.default_rng(2)
    pictures = [random.integers(0, 256, (32, 96), np.uint8) for _ in range(6)]
    reader = hanline.Reader(recognizer, "cpu")
    for plain, full in zip(reader.read(pictures), reader.read(pictures, True), strict=True):
        assert plain.confidence.least == pytest.approx(full.confidence.least)
        if full.text:
            least = min(part.confidence for part in full.parts.characters)
            assert full.confidence.least == pytest.approx(least)


@pytest.fixture
def unsure(folder, words, tmp_path, picture):
    """A folder of pictures of which some are read wrongly, since they are too faint or noisy."""
    random = np.random.default_rng(4)
    target = tmp_path / "unsure"
    target.mkdir()
    rows = []
    for number in range(60):
        word = words[number % len(words)]
        pixels = np.asarray(picture(word), np.float32)
        noise = random.normal(0, 200 * (number / 60), pixels.shape)
        name = f"{number:02}.png"
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(target / name)
        rows.append(f"{name}\t{word}\n")
    (target / "gt.txt").write_text("".join(rows), encoding="utf-8")
    return target


@pytest.mark.parametrize("kind", ["checkpoint", "safetensors"])
def test_calibrate_keeps_everything_but_the_confidences(
    kind, unsure, checkpoint, command, tmp_path
):
    source = checkpoint
    if kind == "safetensors":
        done = command("export", f"checkpoint={checkpoint}", "format=safetensors", "output=model")
        assert done.status == 0, done.err
        source = tmp_path / "model.safetensors"
    output = tmp_path / f"calibrated{source.suffix}"
    done = command("calibrate", f"checkpoint={source}", "dataset=unsure", f"output={output}")
    assert done.status == 0, done.err
    assert "expected calibration error" in done.out
    before, after = load_model(source), load_model(output)
    assert after.spec == before.spec
    assert after.extras.keys() - before.extras.keys() == {"confidence_scale"}
    assert after.state.keys() == before.state.keys()
    assert all(torch.equal(after.state[name], before.state[name]) for name in after.state)
    if kind == "checkpoint":
        whole = torch.load(source, weights_only=True)
        again = torch.load(output, weights_only=True)
        assert again.keys() == whole.keys()
    pictures = sorted(unsure.glob("*.png"))
    raw = hanline.Reader(source, "cpu").read(pictures)
    same = hanline.Reader(output, "cpu", calibrated=False).read(pictures)
    chances = hanline.Reader(output, "cpu").read(pictures)
    assert [r.text for r in chances] == [r.text for r in raw] == [r.text for r in same]
    assert [r.confidence for r in same] == [r.confidence for r in raw]
    scale = after.extras["confidence_scale"]
    expected = [scale.chance(r.confidence.least) for r in raw]
    assert [r.confidence for r in chances] == pytest.approx(expected)


def test_exports_of_a_calibrated_checkpoint_are_calibrated(unsure, checkpoint, command, tmp_path):
    pytest.importorskip("onnxruntime", reason="the ONNX export needs it")
    pytest.importorskip("onnxscript", reason="the ONNX export needs it")
    done = command(
        "calibrate", f"checkpoint={checkpoint}", "dataset=unsure", "output=calibrated.ckpt"
    )
    assert done.status == 0, done.err
    calibrated = hanline.Reader(tmp_path / "calibrated.ckpt", "cpu", precision="32-true")
    pictures = sorted(unsure.glob("*.png"))[:20]
    expected = calibrated.read(pictures)
    for name in ("safetensors", "onnx"):
        done = command("export", "checkpoint=calibrated.ckpt", f"format={name}", f"output={name}")
        assert done.status == 0, done.err
        file = next(tmp_path.glob(f"{name}.{name}"))
        exported = hanline.Reader(file, "cpu", precision="32-true").read(pictures)
        assert [r.text for r in exported] == [r.text for r in expected]
        assert [r.confidence for r in exported] == pytest.approx(
            [r.confidence for r in expected], abs=1e-3
        )


@pytest.mark.parametrize(
    "entry",
    [
        {"confidence_scale": {"slope": 0, "offset": 0}},
        {"confidence_scale": {"slope": 1}},
        {"confidence_scale": {"slope": 1, "offset": 1000}},
        {"confidence_scale": [1, 2]},
        {"confidence_scale": {"slope": "1", "offset": 0}},
        {"delay": 3},
        {"delay": "0"},
    ],
)
def test_a_file_with_senseless_measurements_is_refused(entry, checkpoint, command, tmp_path):
    done = command("export", f"checkpoint={checkpoint}", "format=safetensors", "output=model")
    assert done.status == 0, done.err
    config = tmp_path / "model.json"
    note = json.loads(config.read_text(encoding="utf-8")) | entry
    del note["sha256"]
    config.write_text(json.dumps(note), encoding="utf-8")
    with pytest.raises(HanlineError, match="is damaged: its"):
        open_model(tmp_path / "model.safetensors")


def test_a_file_without_measurements_gives_products(checkpoint, words, picture):
    reader = hanline.Reader(checkpoint, "cpu")
    assert reader.recognizer.confidence_scale is None
    reading = reader.read(picture(words[0]), parts=True)
    assert reading.confidence <= reading.confidence.least <= 1


def test_the_shipped_reader_is_calibrated_and_knows_how_late_it_writes():
    recognizer = hanline.Reader(device="cpu").recognizer
    assert recognizer.confidence_scale.slope > 0
    assert 0.05 < recognizer.delay < 0.2
