"""Files of baudm/parseq, OpenOCR and PaddleOCR: of their layout, with random weights.

Their own weights are not in the repository. The names of the tensors are those of their code, which
`peers_reference.json` has.
"""

import json

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support.peers import FILE, weights

from hanline.errors import HanlineError
from hanline.formats.base import Description
from hanline.formats.onnx import Onnx
from hanline.formats.paddle import Paddle
from hanline.formats.registry import format_of, load_model, open_model
from hanline.models.prediction.parseq import PARSeqPrediction
from hanline.models.recognizer import Recognizer
from hanline.text.charset import Charset
from hanline.training.weight_transfer import finetune_from

CASES = json.loads(FILE.read_text("utf-8"))["cases"]
SHAPES = {name: case["shapes"] for name, case in CASES.items()}
DICTIONARY = ["가", "나", "1", "金", "!"]


def small_parseq():
    """Return PARSeq-tiny with one encoder layer: the names of the others are the same."""
    shapes = SHAPES["parseq-tiny"]
    left_out = tuple(f"encoder.blocks.{number}." for number in range(1, 12))
    return weights({name: s for name, s in shapes.items() if not name.startswith(left_out)})


def said(characters):
    return Description(Charset(characters) if characters else None)


@pytest.fixture
def parseq_file(tmp_path):
    path = tmp_path / "parseq_tiny.pt"
    torch.save(small_parseq(), path)
    return path


def test_a_release_of_parseq_is_read_with_and_imported(parseq_file, folder, command):
    assert format_of(parseq_file).name == "parseq"
    done = command("predict", f"checkpoint={parseq_file}", f"input={folder}", "output=readings")
    assert done.status == 0, done.err
    done = command("import", "parseq", str(parseq_file))
    assert done.status == 0, done.err
    assert "94 characters, images 32×128 pixels, RGB" in done.out
    model = open_model(parseq_file.with_suffix(".ckpt"))
    assert isinstance(model.prediction, PARSeqPrediction)
    assert model.spec["max_label_length"] == 25


def test_a_training_checkpoint_of_parseq_says_its_charset(tmp_path):
    path = tmp_path / "last.ckpt"
    state = {f"model.{name}": tensor for name, tensor in small_parseq().items()}
    charset = "".join(chr(0xAC00 + i) for i in range(94))
    settings = {"charset_train": charset, "img_size": [32, 128], "enc_num_heads": 6}
    settings["decode_ar"] = False
    torch.save({"state_dict": state, "hyper_parameters": settings}, path)
    spec = load_model(path).spec
    assert spec["charset"] == charset
    assert spec["feature_extraction"]["heads"] == 6
    assert spec["prediction"]["autoregressive"] is False
    with pytest.raises(HanlineError, match=r"expected none, since .* has its own, of 94"):
        format_of(path).complete(load_model(path), said("abc"), path)


def test_another_number_of_characters_asks_for_them(tmp_path):
    path = tmp_path / "model.pt"
    state = small_parseq()
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][:11].clone()
    state["text_embed.embedding.weight"] = state["text_embed.embedding.weight"][:13].clone()
    torch.save(state, path)
    file = load_model(path)
    assert file.spec is None
    with pytest.raises(HanlineError, match=r"expected 10 characters.*none is given"):
        format_of(path).complete(file, said(None), path)
    assert format_of(path).complete(file, said("0123456789"), path).spec["charset"] == "0123456789"


def test_fine_tuning_takes_a_release_by_its_characters(parseq_file):
    file = load_model(parseq_file)
    recognizer = Recognizer(**file.spec | {"charset": "가20"})
    left_out = finetune_from(recognizer, parseq_file)
    theirs = file.state["prediction.head.weight"]
    assert torch.equal(recognizer.prediction.head.weight[2], theirs[3])
    assert not [line for line in left_out if line.startswith(("feature_extraction", "prediction"))]


def test_a_part_of_a_model_of_parseq_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    state = small_parseq()
    del state["head.bias"]
    torch.save(state, path)
    with pytest.raises(HanlineError, match=r"not a whole model of .*: KeyError 'head\.bias'"):
        open_model(path)


def test_a_model_of_openocr_is_imported_and_its_blue_comes_first(tmp_path, command):
    path = tmp_path / "best.pth"
    state = weights(SHAPES["svtrv2_tiny"])
    transforms = [{"DecodeImage": {"img_mode": "BGR"}}]
    config = {"Train": {"dataset": {"transforms": transforms}}}
    torch.save({"state_dict": state, "config": config, "epoch": 1}, path)
    assert format_of(path).name == "openocr"
    done = command("import", "openocr", str(path))
    assert done.status == 0, done.err
    assert "SVTRv2 – NoSequenceModeling – CTCPrediction, 94 characters" in done.out
    model = open_model(path)
    theirs = state["encoder.pope.patch_embed.0.conv.weight"]
    assert torch.equal(model.feature_extraction.patches[0].weight, theirs.flip(1))
    assert model.spec["image"] == {"height": 32, "width": None, "channels": 3, "keep_ratio": True}


def test_another_decoder_of_openocr_is_refused(tmp_path):
    path = tmp_path / "best.pth"
    state = weights(SHAPES["svtrv2_tiny"]) | {"decoder.layers.0.weight": torch.zeros(3)}
    torch.save({"state_dict": state}, path)
    with pytest.raises(HanlineError, match=r"or SVTRv2 with the decoder RCTCDecoder.*layers\.0"):
        open_model(path)


@pytest.fixture
def paddle_file(tmp_path):
    """A graph with the inputs and outputs of PP-OCR's recognition: a convolution and classes."""
    random = np.random.default_rng(3)
    classes = len(DICTIONARY) + 2
    kernel = random.normal(size=(8, 3, 48, 8)).astype(np.float32) / 20
    matrix = random.normal(size=(8, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["map"], strides=[48, 8]),
        helper.make_node("Squeeze", ["map", "axis"], ["line"]),
        helper.make_node("Transpose", ["line"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["steps", "matrix"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=2),
    ]
    tensors = {"kernel": kernel, "matrix": matrix, "axis": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "recognition",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 48, "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "t", classes])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "rec.onnx"
    onnx.save(model, path)
    return path, kernel, matrix


def read_as_paddleocr(kernel, matrix, images):
    """Read uint8 RGB images: blue first, in [−1, 1]."""
    pixels = (images.float() / 255 - 0.5) / 0.5
    maps = torch.conv2d(pixels[:, [2, 1, 0]], torch.from_numpy(kernel), stride=(48, 8))
    best = (maps.squeeze(2).transpose(1, 2) @ torch.from_numpy(matrix)).argmax(dim=2)
    texts = []
    for line in best.tolist():
        kept = [c for i, c in enumerate(line) if c and (i == 0 or c != line[i - 1])]
        texts.append("".join([*DICTIONARY, " "][c - 1] for c in kept))
    return texts


def put_beside(path, kind):
    if kind == "yml":
        content = {"PostProcess": {"character_dict": DICTIONARY}}
        file = path.with_name("inference.yml")
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    else:
        path.with_suffix(".txt").write_text("\n".join(DICTIONARY) + "\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["yml", "txt"])
def test_a_model_of_paddleocr_is_read_with_its_dictionary(kind, paddle_file, images):
    path, kernel, matrix = paddle_file
    put_beside(path, kind)
    assert isinstance(format_of(path), Paddle)
    model = open_model(path)
    assert model.spec["charset"] == "".join(DICTIONARY) + " "
    assert model.spec["image"] == {"height": 48, "width": None, "channels": 3, "keep_ratio": True}
    pictures = images(6, 3, 48, 200)
    ((texts, confidences),) = model.eval().read_all([pictures])
    assert texts == read_as_paddleocr(kernel, matrix, pictures)
    assert len(set(texts)) > 1
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_an_imported_model_of_paddleocr_has_its_dictionary_in_it(paddle_file, command, tmp_path):
    path = paddle_file[0]
    (tmp_path / "characters.txt").write_text("".join(DICTIONARY), encoding="utf-8")
    done = command("import", "paddle", str(path), "charset=file", "charset.path=characters.txt")
    assert done.status == 0, done.err
    pixels = np.random.default_rng(1).integers(0, 255, (48, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "line.png")
    written = tmp_path / "rec.hanline.onnx"
    done = command("predict", f"checkpoint={written}", "input=line.png", "output=readings")
    assert done.status == 0, done.err
    assert open_model(written).spec["charset"] == "".join(DICTIONARY) + " "


def test_a_model_of_paddleocr_without_its_dictionary_is_refused(paddle_file):
    path = paddle_file[0]
    assert isinstance(format_of(path), Onnx)
    with pytest.raises(HanlineError, match=r"its dictionary in inference\.yml or rec\.txt"):
        Paddle().open(path)
    path.with_suffix(".txt").write_text("가\n", encoding="utf-8")
    with pytest.raises(HanlineError, match=r"a dictionary of 6 characters.*but it has 1"):
        open_model(path)


def test_weights_of_paddleocr_are_not_taken(paddle_file):
    put_beside(paddle_file[0], "txt")
    with pytest.raises(HanlineError, match="has none of the backbones"):
        load_model(paddle_file[0])
