"""Networks of EasyOCR come in and go out, with the real package."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.dtrb import HANGUL

from hanline.errors import HanlineError
from hanline.formats.checkpoint import Checkpoint
from hanline.formats.easyocr import EasyOCR, network_characters
from hanline.formats.registry import open_model

OURS = ("compact", "None_VGG_BiLSTM_CTC", "TPS_ResNet_None_CTC", "None_RCNN_BiLSTM_CTC")
# Run in a process of its own: EasyOCR takes seconds to start. EasyOCR's own classes, with
# weights by a formula, since the real ones are a download, and the command that imports them; then
# what it reads with the networks of a folder.
PROGRAM = """
import json, sys, numpy, torch, easyocr
from easyocr.model import model, vgg_model
from hanline.commands import import_weights
from PIL import Image
for network, module, width, classes in (
    ("korean_g2", vgg_model, 256, 1009), ("korean_g1", model, 512, 1568)
):
    made = module.Model(1, width, width, classes).eval()
    for k, (name, tensor) in enumerate(sorted(made.state_dict().items())):
        if tensor.is_floating_point():
            s = torch.sin(0.37 * torch.arange(tensor.numel(), dtype=torch.float64) + 1.3 * k)
            if tensor.dim() > 1:
                s = s * (3 * tensor.shape[0] / tensor.numel()) ** 0.5
            elif name.endswith(("running_var", "weight")):
                s = 1 + 0.1 * s
            else:
                s = 0.1 * s
            tensor.copy_(s.reshape(tensor.shape))
    torch.save({"module." + n: t for n, t in made.state_dict().items()}, network + ".pth")
    images = torch.sin(0.011 * torch.arange(64 * 200)).reshape(1, 1, 64, 200)
    with torch.no_grad():
        numpy.save(network + ".npy", made(images, None).numpy())
    sys.argv = ["hanline", "easyocr", network + ".pth", "format.network=" + network]
    import_weights.main()
given = json.load(sys.stdin)
grey = [numpy.asarray(Image.open(image).convert("L")) for image in given["images"]]
texts = {}
for name in given["networks"]:
    reader = easyocr.Reader(
        ["ko"], gpu=False, detector=False, recog_network=name, user_network_directory="network",
        model_storage_directory="network", download_enabled=False, quantize=False, verbose=False,
    )
    # Without contrast_ths=0 EasyOCR reads again, with more contrast, where it is not sure.
    texts[name] = [reader.recognize(image, detail=0, contrast_ths=0)[0] for image in grey]
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def place(recognizer_of, make_recognizer, images, tmp_path_factory):
    """A folder with networks of ours in EasyOCR's format and as checkpoints, with images, and with
    what the program above made of them: its output is in ``out``."""
    place = tmp_path_factory.mktemp("easyocr")
    (place / "images").mkdir()
    # At the networks' height, so that EasyOCR's own resizing has nothing to do.
    for i, width in enumerate((32, 40, 64, 72, 90, 96)):
        grey = Image.fromarray(images(i + 1, 1, 32, width)[i, 0].numpy())
        grey.save(place / "images" / f"{i}.png")
    compact = make_recognizer(sequence_modeling="bilstm", charset=HANGUL + " [\\'\"")
    compact.spec["image"]["keep_ratio"] = True
    (place / "network").mkdir()
    for name in OURS:
        recognizer = (
            compact
            if name == "compact"
            else recognizer_of(name.replace("_", "-"), image=(32, 96, 1), keep_ratio=True)
        )
        Checkpoint().save(place / f"{name}.ckpt", recognizer, {})
        EasyOCR().save(place / "network" / f"{name}.pth", recognizer, {})
    given = {"networks": OURS, "images": sorted(map(str, (place / "images").iterdir()))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=place,
        capture_output=True,
        text=True,
        encoding="utf-8",
        input=json.dumps(given),
    )
    assert done.returncode == 0, done.stderr
    (place / "out").write_text(done.stdout, encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("korean_g2", "VGG – BiLSTM – CTCPrediction, 1008 characters"),
        ("korean_g1", "ResNet – BiLSTM – CTCPrediction, 1567 characters"),
    ],
)
def test_its_own_networks_come_in(place, network, said):
    """With the characters of the installed package."""
    assert said in (place / "out").read_text("utf-8")
    recognizer = open_model(place / f"{network}.ckpt")
    assert recognizer.spec["image"] == {
        **{"height": 64, "width": 600, "channels": 1},
        "keep_ratio": True,
    }
    images = torch.sin(0.011 * torch.arange(64 * 200)).reshape(1, 1, 64, 200)
    with torch.inference_mode():
        scores = recognizer(images).numpy()
    assert np.allclose(scores, np.load(place / f"{network}.npy"), atol=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_it_reads_ours_as_we_do(place, command, tmp_path, name):
    keys = (f"checkpoint={place / name}.ckpt", f"input={place / 'images'}")
    done = command("predict", *keys, "precision=32-true")
    assert done.status == 0, done.err
    lines = (tmp_path / "readings.jsonl").read_text("utf-8").splitlines()
    theirs = json.loads((place / "out").read_text("utf-8").splitlines()[-1])
    assert theirs[name] == [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize(
    ("case", "image", "keep_ratio", "reason"),
    [
        ("None-VGG-None-Attn", (32, 96, 1), True, "by CTC alone"),
        ("None-VGG-None-CTC", (32, 96, 3), True, "grey images"),
        ("None-VGG-None-CTC", (32, 96, 1), False, "keep_ratio=true"),
        ("None-VGG-None-CTC", (32, None, 1), True, "pads each line"),
    ],
)
def test_what_easyocr_cannot_carry(recognizer_of, tmp_path, case, image, keep_ratio, reason):
    recognizer = recognizer_of(case, image=image, keep_ratio=keep_ratio)
    with pytest.raises(HanlineError, match=reason):
        EasyOCR().save(tmp_path / "network.pth", recognizer, {})


def test_a_name_that_python_cannot_import(recognizer_of, tmp_path):
    recognizer = recognizer_of("None-VGG-None-CTC", keep_ratio=True)
    with pytest.raises(HanlineError, match="not a name of a Python module"):
        EasyOCR().save(tmp_path / "best-1.pth", recognizer, {})


def test_without_the_package_it_is_told_how_to_go_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "easyocr", None)
    with pytest.raises(HanlineError, match=r"\.\[easyocr\].*charset=easyocr_korean_g2"):
        network_characters("korean_g2")
