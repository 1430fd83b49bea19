"""Networks of EasyOCR come in and go out, with the real package in its own environment."""

import json
import subprocess

import numpy as np
import pytest
import torch
from architectures import HANGUL
from PIL import Image

from hanline.errors import HanlineError
from hanline.interop.easyocr import network_characters, write_easyocr
from hanline.model.checkpoint import load_recognizer, save_recognizer

# EasyOCR's own classes, with weights by a formula, since the real ones are a download.
MAKE = """
import sys, numpy, torch
from easyocr.model import model, vgg_model
module, width, classes = (vgg_model, 256, 1009) if sys.argv[1] == "gen2" else (model, 512, 1568)
network = module.Model(1, width, width, classes).eval()
for k, (name, tensor) in enumerate(sorted(network.state_dict().items())):
    if tensor.is_floating_point():
        s = torch.sin(0.37 * torch.arange(tensor.numel(), dtype=torch.float64) + 1.3 * k)
        if tensor.dim() > 1:
            s = s * (3 * tensor.shape[0] / tensor.numel()) ** 0.5
        elif name.endswith(("running_var", "weight")):
            s = 1 + 0.1 * s
        else:
            s = 0.1 * s
        tensor.copy_(s.reshape(tensor.shape))
torch.save({"module." + name: t for name, t in network.state_dict().items()}, sys.argv[2])
images = torch.sin(0.011 * torch.arange(64 * 200)).reshape(1, 1, 64, 200)
with torch.no_grad():
    numpy.save(sys.argv[3], network(images, None).numpy())
"""
READ = """
import json, sys, numpy, easyocr
from PIL import Image
folder, name, *images = sys.argv[1:]
reader = easyocr.Reader(
    ["ko"], gpu=False, detector=False, recog_network=name, user_network_directory=folder,
    model_storage_directory=folder, download_enabled=False, quantize=False, verbose=False,
)
grey = [numpy.asarray(Image.open(image).convert("L")) for image in images]
# Without contrast_ths=0 EasyOCR reads again, with more contrast, where it is not sure.
print(json.dumps([reader.recognize(image, detail=0, contrast_ths=0)[0] for image in grey]))
"""


def run(python, *arguments, cwd):
    done = subprocess.run(
        [python, *arguments], cwd=cwd, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("generation", "network", "architecture"),
    [("gen2", "korean_g2", "none_vgg_bilstm_ctc"), ("gen1", "korean_g1", "none_resnet_bilstm_ctc")],
)
def test_its_own_networks_come_in(easyocr_python, tmp_path, generation, network, architecture):
    """With the characters of the installed package, by the command in its environment."""
    run(easyocr_python, "-c", MAKE, generation, "korean.pth", "scores.npy", cwd=tmp_path)
    command = ("-m", "hanline.tasks.cli", "import", "easyocr", "korean.pth", f"network={network}")
    assert architecture in run(easyocr_python, *command, cwd=tmp_path)
    recognizer = load_recognizer(tmp_path / "korean.ckpt")
    assert recognizer.spec["image"] == {
        **{"height": 64, "width": 600, "channels": 1},
        "keep_ratio": True,
    }
    images = torch.sin(0.011 * torch.arange(64 * 200)).reshape(1, 1, 64, 200)
    with torch.inference_mode():
        scores = recognizer(images).numpy()
    assert np.allclose(scores, np.load(tmp_path / "scores.npy"), atol=1e-4)


@pytest.mark.parametrize(
    "case", ["None-VGG-BiLSTM-CTC", "TPS-ResNet-None-CTC", "None-RCNN-BiLSTM-CTC", "compact"]
)
def test_it_reads_ours_as_we_do(
    easyocr_python, recognizer_of, make_recognizer, images, command, tmp_path, case
):
    if case == "compact":
        recognizer = make_recognizer(sequence_modeling="bilstm", charset=HANGUL + " [\\'\"")
        recognizer.spec["image"]["keep_ratio"] = True
    else:
        recognizer = recognizer_of(case, image=(32, 96, 1), keep_ratio=True)
    save_recognizer(tmp_path / "model.ckpt", recognizer, {})
    done = command("export", "checkpoint=model.ckpt", "format=easyocr", "output=network/headlines")
    assert done.status == 0, done.err
    place = tmp_path / "images"
    place.mkdir()
    names = []
    # At the network's height, so that EasyOCR's own resizing has nothing to do.
    for i, width in enumerate((32, 40, 64, 72, 90, 96)):
        names.append(place / f"{i}.png")
        Image.fromarray(images(i + 1, 1, 32, width)[i, 0].numpy()).save(names[-1])
    theirs = run(easyocr_python, "-c", READ, "network", "headlines", *names, cwd=tmp_path)
    done = command("predict", "checkpoint=model.ckpt", f"image_dir={place}")
    assert done.status == 0, done.err
    lines = (tmp_path / "readings.jsonl").read_text("utf-8").splitlines()
    assert json.loads(theirs.splitlines()[-1]) == [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize(
    ("case", "image", "keep_ratio", "reason"),
    [
        ("None-VGG-None-Attn", (32, 96, 1), True, "by CTC alone"),
        ("None-VGG-None-CTC", (32, 96, 3), True, "grey images"),
        ("None-VGG-None-CTC", (32, 96, 1), False, "keep_ratio=true"),
    ],
)
def test_what_easyocr_cannot_carry(recognizer_of, tmp_path, case, image, keep_ratio, reason):
    recognizer = recognizer_of(case, image=image, keep_ratio=keep_ratio)
    with pytest.raises(HanlineError, match=reason):
        write_easyocr(tmp_path / "network.pth", recognizer)


def test_a_name_that_python_cannot_import(recognizer_of, tmp_path):
    recognizer = recognizer_of("None-VGG-None-CTC", keep_ratio=True)
    with pytest.raises(HanlineError, match="no name of a Python module"):
        write_easyocr(tmp_path / "best-1.pth", recognizer)


def test_without_the_package_it_is_told_how_to_go_on():
    with pytest.raises(HanlineError, match=r"hanline\[easyocr\].*charset=easyocr_korean_g2"):
        network_characters("korean_g2")
