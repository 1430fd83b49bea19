"""What holds for every recogniser, whatever its stages, and what a stage may be."""

import itertools

import pytest
import torch

from hanline.errors import HanlineError
from hanline.models.recognizer import build_stage
from hanline.models.sequence_modeling.bilstm import BiLSTM
from hanline.models.stage import Prediction, Stage

STAGES = list(itertools.product(("none", "tps"), ("vgg", "rcnn", "resnet", "compact")))
PREDICTIONS = ["ctc", "attn", "ctc", "attn", "attn", "ctc", "attn", "ctc"]
SETTLED = [(*stages, last) for stages, last in zip(STAGES, PREDICTIONS, strict=True)]
IDS = ["-".join(stages) for stages in SETTLED]


@pytest.fixture
def settled(make_recognizer):
    """A recogniser whose normalisations have seen images, as after a training."""

    def settled(transformation, feature_extraction, prediction, **changes):
        recognizer = make_recognizer(
            transformation, feature_extraction, "bilstm", prediction, **changes
        )
        torch.manual_seed(1)
        channels = changes.get("image", (32, 96, 1))[2]
        images = torch.randint(0, 256, (8, channels, 32, 96), dtype=torch.uint8)
        with torch.no_grad():
            for _ in range(20):
                recognizer.features(images)
        return recognizer.eval(), images

    return settled


@pytest.mark.processor
@pytest.mark.parametrize("stages", SETTLED, ids=IDS)
@torch.inference_mode()
def test_the_answer_for_an_image_does_not_depend_on_its_batch(stages, settled):
    recognizer, images = settled(*stages)
    together = recognizer(images)
    # Otherwise any image would do for any other.
    assert (together - together[:1]).abs().amax() > 1e-3
    backwards = recognizer(images.flip(0)).flip(0)
    torch.testing.assert_close(backwards, together, rtol=1e-3, atol=1e-4)
    texts, confidences = recognizer.read(images)
    for i in range(3):
        alone = recognizer(images[i : i + 1])
        # An attention decoder stops where this one line ends.
        expected = together[i : i + 1, : alone.shape[1]]
        torch.testing.assert_close(alone, expected, rtol=1e-3, atol=1e-4)
        (text,), (confidence,) = recognizer.read(images[i : i + 1])
        assert text == texts[i]
        assert confidence == pytest.approx(confidences[i], rel=1e-3)


@pytest.mark.processor
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_lines_of_several_lengths_through_the_lstms_together(precision):
    torch.manual_seed(5)
    lstms = BiLSTM(in_channels=6, hidden_size=8, out_channels=5, layers=2)
    inputs = [torch.randn(lines, steps, 6) for lines, steps in [(2, 7), (1, 12), (3, 1)]]
    with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        together = lstms.forward_all(inputs)
        for given, alone in zip(together, map(lstms, inputs), strict=True):
            torch.testing.assert_close(given, alone)


@pytest.mark.parametrize("stages", SETTLED, ids=IDS)
@pytest.mark.parametrize("channels", [1, 3])
@torch.inference_mode()
def test_bytes_and_normalised_images_are_read_alike(stages, channels, settled):
    recognizer, images = settled(*stages, image=(32, 96, channels))
    assert images.shape[1] == channels
    in_bytes = recognizer(images)
    normalised = recognizer(images.float() / 127.5 - 1)
    torch.testing.assert_close(in_bytes, normalised, rtol=1e-3, atol=1e-4)
    inverted = recognizer(255 - images)
    steps = min(in_bytes.shape[1], inverted.shape[1])
    assert (in_bytes[:, :steps] - inverted[:, :steps]).abs().max() > 1e-3


@torch.inference_mode()
def test_images_are_left_as_they_were(settled):
    recognizer, images = settled("none", "compact", "ctc")
    before = images.clone()
    recognizer(images)
    assert torch.equal(images, before)
    floats = images.float() / 127.5 - 1
    before = floats.clone()
    recognizer(floats)
    assert torch.equal(floats, before)


def test_colours_count_in_an_rgb_recogniser(settled):
    recognizer, images = settled("none", "vgg", "ctc", image=(32, 96, 3))
    with torch.inference_mode():
        difference = recognizer(images) - recognizer(images.flip(1))
    assert difference.abs().max() > 1e-3


@torch.inference_mode()
def test_tps_refuses_images_of_another_size(make_recognizer):
    recognizer = make_recognizer("tps").eval()
    assert recognizer(torch.zeros(1, 1, 32, 96)).shape[0] == 1
    for size in ((32, 100), (48, 96)):
        with pytest.raises(HanlineError, match=rf"32×96 .*got {size[0]}×{size[1]}"):
            recognizer(torch.zeros(1, 1, *size))


@pytest.mark.parametrize("points", [0, 2, 7, -4])
def test_tps_refuses_points_that_make_no_two_edges(points):
    with pytest.raises(HanlineError, match="num_fiducial"):
        build_stage(
            {"_target_": "hanline.models.transformation.tps.TPS", "num_fiducial": points},
            in_channels=1,
            image_height=32,
            image_width=100,
        )


def test_compact_needs_as_many_blocks_as_stages():
    config = {
        "_target_": "hanline.models.feature_extraction.compact.Compact",
        "channels": [8, 16, 32],
        "blocks": [1],
    }
    with pytest.raises(HanlineError, match=r"blocks=\[1\]: expected 2 numbers"):
        build_stage(config, in_channels=1)


NO_STAGES = {
    "another package": "os.system",
    "a name that only begins alike": "hanline.modelling.Stage",
    "another room": "hanline.text.charset.Charset",
    "a function": "hanline.models.recognizer.build_stage",
    "no stage": "hanline.models.recognizer.Recognizer",
    "what a module has imported": "hanline.models.recognizer.torch.nn.Linear",
    "a function that a module has imported": "hanline.formats.checkpoint.torch.load",
    "a module": "hanline.models.feature_extraction.vgg",
    "nothing": "hanline.models.feature_extraction.vgg.VGG16",
    "no such module": "hanline.models.feature_extraction.mobilenet.MobileNet",
    "empty": "",
    "no text": 3,
    "none at all": None,
}


@pytest.mark.parametrize("target", NO_STAGES.values(), ids=NO_STAGES.keys())
def test_only_hanlines_own_stages_are_built(target):
    with pytest.raises(HanlineError, match="stage"):
        build_stage({"_target_": target}, in_channels=1)


def test_a_refused_target_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HanlineError):
        build_stage({"_target_": "trap.Stage"}, in_channels=1)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "numbers", [{}, {"out_channels": 32, "depth": 3}, {"out_channels": "wide"}]
)
def test_numbers_that_a_stage_does_not_take_are_refused(numbers):
    config = {"_target_": "hanline.models.feature_extraction.vgg.VGG", **numbers}
    with pytest.raises(HanlineError, match="expected numbers that the stage takes"):
        build_stage(config, in_channels=1)


def test_the_last_stage_must_be_a_prediction(make_recognizer):
    spec = make_recognizer().spec
    spec["prediction"] = {"_target_": "hanline.models.sequence_modeling.none.NoSequenceModeling"}
    with pytest.raises(HanlineError):
        type(make_recognizer())(**spec)


@pytest.mark.parametrize("prediction", ["ctc", "attn"])
@pytest.mark.parametrize("transformation, feature_extraction", STAGES)
def test_stages_say_their_widths(transformation, feature_extraction, prediction, make_recognizer):
    recognizer = make_recognizer(transformation, feature_extraction, "bilstm", prediction).eval()
    images = torch.zeros(2, 1, 32, 96)
    with torch.inference_mode():
        transformed = recognizer.transformation(images)
        features = recognizer.feature_extraction(transformed)
        modeled = recognizer.sequence_modeling(features)
        scores = recognizer.prediction(modeled)
    assert transformed.shape == images.shape
    for stage, output in (
        (recognizer.transformation, transformed.permute(0, 2, 3, 1)),
        (recognizer.feature_extraction, features),
        (recognizer.sequence_modeling, modeled),
        (recognizer.prediction, scores),
    ):
        assert isinstance(stage, Stage)
        assert output.shape[-1] == stage.out_channels
    assert isinstance(recognizer.prediction, Prediction)
    assert features.shape[1] == modeled.shape[1]
