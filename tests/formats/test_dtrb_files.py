"""DTRB's files come in and go out: exact, and refused with the tensor that does not fit."""

import pytest
import torch
from omegaconf import OmegaConf
from support import dtrb
from support.dtrb import CASES, HANGUL

from hanline.commands import export, import_weights
from hanline.errors import HanlineError
from hanline.formats.dtrb import Dtrb
from hanline.formats.dtrb.grid import grid
from hanline.formats.dtrb.keys import dtrb_state
from hanline.formats.dtrb.load import image_size_of, recognizer_from_dtrb
from hanline.formats.registry import open_model
from hanline.models.recognizer import Recognizer
from hanline.models.transformation.tps import spline
from hanline.text.charset import Charset
from hanline.training.weight_transfer import finetune_from

NO_SIZE = {"height": None, "width": None, "keep_ratio": None}


def import_config(path, **keys):
    named = {"_target_": "hanline.text.charset.Charset", "characters": keys.pop("characters", "가")}
    return OmegaConf.create(
        {
            "format": {"_target_": "hanline.formats.dtrb.Dtrb"},
            "input": str(path),
            "output": str(path.with_suffix(".ckpt")),
            "image": NO_SIZE,
            "max_label_length": 10,
            "charset": named,
            "model": None,
        }
        | keys
    )


def export_config(path):
    format_ = {"_target_": "hanline.formats.dtrb.Dtrb"}
    output = str(path.with_suffix("")) + "_back"
    return OmegaConf.create(
        {"checkpoint": str(path), "output": output, "dataset": None, "format": format_}
    )


@pytest.fixture
def dtrb_file(recognizer_of, tmp_path):
    """Writes one of the 24 as DTRB saves it."""

    def write(case, prefix="module.", **options):
        state = dtrb_state(recognizer_of(case, **options))
        path = tmp_path / "model.pth"
        torch.save({prefix + k.removeprefix("module."): t for k, t in state.items()}, path)
        return path

    return write


@pytest.mark.processor
@pytest.mark.parametrize("case", dtrb.REFERENCE["cases"])
@torch.inference_mode()
def test_the_reference_comes_in_and_goes_out(case, tmp_path, capsys):
    """DTRB's own outputs, by way of an imported file; and the file again, bit by bit."""
    state = dtrb.formula_weights(case)
    if case.startswith("TPS"):
        place = "module.Transformation.GridGenerator."
        image = dtrb.CONFIG["imgH"], dtrb.CONFIG["imgW"]
        state[place + "inv_delta_C"], state[place + "P_hat"] = grid(
            *image, dtrb.CONFIG["num_fiducial"]
        )
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = state[name].reshape(()).long()
    path = tmp_path / "theirs.pth"
    torch.save(state, path)
    characters = dtrb.build(case).charset.characters
    import_weights.import_weights(import_config(path, characters=characters))
    recognizer, images, tolerance = dtrb.as_compared(case, open_model(tmp_path / "theirs.ckpt"))
    expected = dtrb.REFERENCE["cases"][case]
    features = recognizer.features(images)
    if "logits" in expected:
        dtrb.assert_matches(recognizer.prediction(features), expected["logits"], tolerance)
    else:
        scores = recognizer.prediction(features, stop_early=False)
        dtrb.assert_matches(scores, expected["greedy"], tolerance)

    export.export(export_config(tmp_path / "theirs.ckpt"))
    back = torch.load(tmp_path / "theirs_back.pth", weights_only=True)
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype, name
        assert torch.equal(back[name], tensor), name
    assert (tmp_path / "theirs_back.characters.txt").read_text("utf-8") == characters + "\n"


def test_the_grid_is_the_spline_with_the_columns_that_meet_zeros():
    inverse, basis = grid(32, 100, 20)
    coefficients, ours = spline(32, 100, 20)
    assert torch.allclose(inverse[:, :20], coefficients, atol=1e-6)
    assert torch.allclose(basis, ours, atol=1e-6)


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("channels", [1, 3])
def test_widths_and_colours_are_found(dtrb_file, prefix, channels):
    path = dtrb_file("TPS-RCNN-BiLSTM-Attn", prefix, image=(32, 48, channels))
    tensors = torch.load(path, weights_only=True)
    assert image_size_of(tensors) == (32, 48)
    image = {"height": 32, "width": 48, "keep_ratio": False}
    recognizer = recognizer_from_dtrb(tensors, Charset(HANGUL), image, 7, path)
    assert recognizer.spec["image"]["channels"] == channels
    assert recognizer.spec["feature_extraction"]["out_channels"] == 32
    assert recognizer.spec["feature_extraction"]["iterations"] == 5
    assert recognizer.spec["prediction"]["hidden_size"] == 16


@pytest.mark.parametrize("feature_extraction", ["VGG", "RCNN", "ResNet"])
def test_a_width_that_does_not_divide(feature_extraction, tmp_path):
    """In DTRB's own shapes: it rounds a half, a quarter, an eighth and a sixteenth down."""
    width = {512: 37, 256: 18, 128: 9, 64: 4, 32: 2}
    state = {"module.Prediction.weight": torch.rand(3, 37), "module.Prediction.bias": torch.rand(3)}
    for name, shape in dtrb.KEYS[f"FeatureExtraction={feature_extraction}"].items():
        state[f"module.{name}"] = torch.rand([width.get(size, size) for size in shape])
        if name.endswith("num_batches_tracked"):
            state[f"module.{name}"] = torch.tensor(7)
    path = tmp_path / "model.pth"
    torch.save(state, path)
    import_weights.import_weights(import_config(path, characters="가나"))
    recognizer = open_model(tmp_path / "model.ckpt")
    assert recognizer.spec["feature_extraction"]["out_channels"] == 37
    assert recognizer.read(torch.zeros(1, 1, 32, 100, dtype=torch.uint8))[0]
    back = dtrb_state(recognizer)
    assert set(back) == set(state)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(("name", "least"), [("VGG", 8), ("RCNN", 8), ("ResNet", 16)])
def test_a_width_that_leaves_a_layer_without_channels(recognizer_of, name, least):
    spec = dict(recognizer_of(f"None-{name}-None-CTC").spec)
    for width in (least, least - 1):
        spec["feature_extraction"] = spec["feature_extraction"] | {"out_channels": width}
        if width == least:
            Recognizer(**spec)
        else:
            with pytest.raises(HanlineError, match=f"out_channels={width}: expected at least"):
                Recognizer(**spec)


def test_the_command_imports_and_exports(dtrb_file, command):
    path = dtrb_file("TPS-ResNet-BiLSTM-CTC", charset="0123456789abcdefghijklmnopqrstuvwxyz")
    done = command("import_weights", "dtrb", str(path), "model=star_net", "charset=dtrb_36")
    assert done.status == 0, done.err
    assert (
        "TPS – ResNet – BiLSTM – CTCPrediction, 36 characters, images 32×48 pixels, grey"
        in done.out
    )
    again = command("import_weights", "dtrb", str(path), "charset=dtrb_36")
    assert again.status == 1
    assert "expected no such file" in again.err
    done = command("export", f"checkpoint={path.with_suffix('.ckpt')}", "format=dtrb", "output=b")
    assert done.status == 0, done.err
    saved = path.parent / "b"
    assert f"python demo.py --image_folder IMAGES --saved_model {saved}.pth " in done.out
    assert f'--character="$(cat {saved}.characters.txt)"' in done.out
    assert "--Transformation TPS --FeatureExtraction ResNet" in done.out


def test_a_name_that_looks_like_a_key(dtrb_file, command):
    path = dtrb_file("None-VGG-None-CTC", charset="0123456789abcdefghijklmnopqrstuvwxyz")
    path.rename("lr=1 [a].pth")
    done = command("import_weights", "dtrb", "lr=1 [a].pth", "charset=dtrb_36")
    assert done.status == 0, done.err
    assert "written: lr=1 [a].ckpt" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["charset=dtrb_94"], ["Prediction.weight", "37 rows", "94", "charset=dtrb_36"]),
        ([], ["Prediction.weight", "37 rows", "no charset", "charset=dtrb_36"]),
        (
            ["charset=dtrb_36", "model=rosetta"],
            ["feature_extraction is ResNet", "FeatureExtraction.ConvNet.18.weight", "none_vgg"],
        ),
        (
            ["charset=dtrb_36", "model=none_vgg_bilstm_attn"],
            ["prediction is Attn", "Prediction.weight", "none_vgg_bilstm_ctc"],
        ),
        (
            ["charset=dtrb_36", "model=crnn", "model.feature_extraction.out_channels=64"],
            ["out_channels is 64", "FeatureExtraction.ConvNet.18.weight", "32"],
        ),
        (["charset=dtrb_36", "image.height=0"], ["image.height is 0"]),
    ],
)
def test_what_does_not_fit_is_told(dtrb_file, command, arguments, told):
    path = dtrb_file("None-VGG-BiLSTM-CTC", charset="0123456789abcdefghijklmnopqrstuvwxyz")
    done = command("import_weights", "dtrb", str(path), *arguments)
    assert done.status == 1
    for words in told:
        assert words in done.err
    assert not path.with_suffix(".ckpt").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("module.SequenceModeling.1.rnn.weight_ih_l0"), "no tensor SequenceModel"),
        (lambda s: s.update({"module.Prediction.more": torch.zeros(1)}), "Prediction.more"),
        (
            lambda s: s.update({"module.SequenceModeling.1.linear.bias": torch.zeros(3)}),
            "SequenceModeling.1.linear.bias in .* is \\[3\\].* would be \\[16\\]",
        ),
        (
            lambda s: s.update({"module.Transformation.GridGenerator.P_hat": torch.zeros(10, 11)}),
            "P_hat in .* is \\[10, 11\\].*1536",
        ),
    ],
)
def test_a_tensor_too_many_too_few_or_too_large_is_named(recognizer_of, tmp_path, change, told):
    state = dtrb_state(recognizer_of("TPS-VGG-BiLSTM-Attn"))
    change(state)
    image = {"height": 32, "width": 48, "keep_ratio": False}
    with pytest.raises(HanlineError, match=told):
        recognizer_from_dtrb(state, Charset(HANGUL), image, 7, tmp_path / "model.pth")


def test_a_model_that_dtrb_has_not_is_not_exported(checkpoint):
    with pytest.raises(HanlineError, match="no feature_extraction Compact"):
        export.export(export_config(checkpoint))


def test_a_width_that_follows_the_image_is_not_exported(recognizer_of, tmp_path):
    recognizer = recognizer_of("None-VGG-None-CTC", image=(32, None, 1), keep_ratio=True)
    with pytest.raises(HanlineError, match=r"image\.width is null"):
        Dtrb().save(tmp_path / "model.pth", recognizer, {})


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 3])
def test_fine_tuning_takes_the_file_directly(dtrb_file, recognizer_of, case):
    path = dtrb_file(case)
    recognizer = recognizer_of(case)
    expected = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    for parameter in recognizer.parameters():
        parameter.data.zero_()
    assert finetune_from(recognizer, path) == []
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(tensor, expected[name])
