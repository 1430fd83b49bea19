"""safetensors and back, and the model card that every export writes."""

import json

import pytest
import torch
from support.dtrb import HANGUL

from hanline.formats.checkpoint import Checkpoint, model_of
from hanline.formats.model_card import model_card
from hanline.formats.registry import load_model, open_model
from hanline.formats.torch_file import load_weights_file
from hanline.training.weight_transfer import finetune_from


def test_there_and_back(recognizer_of, command, tmp_path):
    recognizer = recognizer_of("TPS-ResNet-BiLSTM-Attn")
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, {"steps": 7})
    done = command("export", "checkpoint=model.ckpt", "format=safetensors", "output=out/model")
    assert done.status == 0, done.err
    record = json.loads((tmp_path / "out" / "model.json").read_text("utf-8"))
    assert record["recognizer"] == recognizer.spec
    done = command("import_weights", "safetensors", "out/model.safetensors")
    assert done.status == 0, done.err
    back = open_model(tmp_path / "out" / "model.ckpt")
    assert back.spec == recognizer.spec
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor)
    assert load_model(tmp_path / "out" / "model.ckpt").history == {"steps": 7}
    assert finetune_from(recognizer, tmp_path / "out" / "model.safetensors") == []


def test_in_half_the_bytes(recognizer_of, command, tmp_path, images):
    recognizer = recognizer_of("None-VGG-BiLSTM-CTC")
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, {})
    sizes = []
    for half in ("false", "true"):
        done = command(
            "export", "checkpoint=model.ckpt", "format=safetensors", f"format.half={half}"
        )
        assert done.status == 0, done.err
        sizes.append((tmp_path / "model.safetensors").stat().st_size)
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.05)
    back = open_model(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in back.parameters()} == {torch.float32}
    pictures = images(20, 1, 32, 48)
    assert back.read(pictures)[0] == recognizer.eval().read(pictures)[0]
    done = command("export", "checkpoint=model.ckpt", "format=onnx", "format.half=true")
    assert done.status == 1
    assert "'format.half': expected" in done.err


def test_predict_takes_the_file(checkpoint, picture, words, command, tmp_path):
    picture(words[4]).save(tmp_path / "image.png")
    command("export", f"checkpoint={checkpoint}", "format=safetensors", "output=model")
    done = command("predict", "checkpoint=model.safetensors", "input=image.png")
    assert words[4] in done.out


@pytest.mark.parametrize(
    ("what", "reading"),
    [
        ("dtrb", "python demo.py --image_folder IMAGES --saved_model model.pth"),
        ("onnx", "hanline predict checkpoint=model.onnx"),
        ("safetensors", "hanline predict checkpoint=model.safetensors"),
        ("easyocr", 'recog_network="model"'),
    ],
)
def test_every_export_writes_a_card(recognizer_of, command, tmp_path, what, reading):
    recognizer = recognizer_of("None-VGG-None-CTC", keep_ratio=True)
    history = {"version": "0.0.9", "steps": 1234, "figures": {"accuracy": 98.7}}
    history["training"] = {"corpus": {"files": ["news.txt"]}}
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, history)
    done = command("export", "checkpoint=model.ckpt", f"format={what}")
    assert done.status == 0, done.err
    (card,) = tmp_path.glob("model.*.md")
    text = card.read_text("utf-8")
    for said in ("NoTransformation – VGG", "36 characters", "1234", "98.70 %", "news.txt", "0.0.9"):
        assert said in text
    assert HANGUL in text
    assert "32×48" in text
    assert reading in text


def test_a_card_has_each_metric_in_its_own_unit(checkpoint):
    history = {"metrics": {"accuracy": 91.5, "loss": 0.25, "words_per_page": 7.5}}
    card = model_card("best", "a test", open_model(checkpoint).spec, history)
    assert "| validation accuracy | 91.50 % |" in card
    assert "| validation loss | 0.25000 |" in card
    assert "| validation words_per_page | 7.5 |" in card
    old = {"figures": {"norm_ed, the run's best until then": 94.3}}
    card = model_card("best", "a test", open_model(checkpoint).spec, old)
    assert "| validation norm_ed, the run's best until then | 94.30 % |" in card


def test_a_run_records_its_steps_metrics_and_data(checkpoint, tmp_path):
    content = load_weights_file(checkpoint)
    best = {"monitor": "validation/accuracy", "current_score": torch.tensor(91.5)}
    content["callbacks"] = {"Best": best | {"best_model_path": "run/best.ckpt"}}
    config = "data: {train_dir: sets}\nfinetune_from: old.ckpt\ncorpus: null\nseed: 3\n"
    (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
    history = model_of(content, tmp_path / "best.ckpt").history
    assert history["metrics"] == {"accuracy": 91.5}
    assert history["training"] == {"finetune_from": "old.ckpt", "data": {"train_dir": "sets"}}
    spec = open_model(checkpoint).spec
    assert "sets" in model_card("best", "a test", spec, history)
    spec["image"] |= {"width": None, "keep_ratio": True}
    assert "32 pixels high, as wide as their text" in model_card("best", "a test", spec, history)


def test_an_export_does_not_overwrite_what_it_reads(checkpoint, command, tmp_path):
    command("export", f"checkpoint={checkpoint}", "format=safetensors", "output=full")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "same.safetensors").symlink_to("full.safetensors")
    (tmp_path / "same.json").symlink_to("full.json")
    for arguments in (
        ["checkpoint=full.safetensors", "half=true"],
        ["checkpoint=full.safetensors", "output=full"],
        ["checkpoint=same.safetensors", "output=full"],
        ["checkpoint=./full.safetensors", "output=../" + tmp_path.name + "/full"],
    ):
        done = command("export", "format=safetensors", *arguments)
        assert done.status == 1
        assert "output=" in done.err and "would be lost" in done.err
        assert {name: (tmp_path / name).read_bytes() for name in before} == before
    done = command("export", "format=safetensors", "checkpoint=full.safetensors", "output=small")
    assert done.status == 0
    # What a checkpoint was exported as before is written again.
    done = command("export", "format=safetensors", f"checkpoint={checkpoint}", "output=full")
    assert done.status == 0
