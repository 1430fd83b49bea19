"""Starting from other weights: what fits is loaded, rows go by character, the rest is told."""

import itertools
import logging

import pytest
import torch

from hanline.errors import HanlineError
from hanline.training.weight_transfer import finetune_from

OLD, NEW = "가나다라", "라마가"
BY_CLASS = {
    "ctc": ("prediction.linear.weight", "prediction.linear.bias"),
    "attn": (
        "prediction.generator.weight",
        "prediction.generator.bias",
        "prediction.cell.character.weight",
    ),
}
FIRST = {"ctc": 1, "attn": 2}


@pytest.fixture
def trained(make_recognizer):
    """A recogniser none of whose numbers is that of a new one."""

    def trained(*stages, **changes):
        recognizer = make_recognizer(*stages, **changes)
        generator = torch.Generator().manual_seed(7)
        for name, tensor in recognizer.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(1000)
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
        return recognizer

    return trained


@pytest.fixture
def saved(save_checkpoint, tmp_path):
    return lambda recognizer: save_checkpoint(recognizer, tmp_path / "former.ckpt")


@pytest.mark.parametrize(
    "stages",
    [("none", "vgg", "bilstm", "ctc"), ("tps", "resnet", "none", "attn")],
    ids="-".join,
)
def test_with_the_same_charset_all_is_loaded(stages, make_recognizer, trained, saved, caplog):
    former = trained(*stages, charset=OLD)
    recognizer = make_recognizer(*stages, charset=OLD)
    with caplog.at_level(logging.INFO, "hanline"):
        assert finetune_from(recognizer, saved(former)) == []
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(tensor, former.state_dict()[name]), name
    assert "not loaded" not in caplog.text
    weights = [name for name in recognizer.state_dict() if "num_batches" not in name]
    assert f"{len(weights)} of {len(weights)} tensors loaded" in caplog.text


@pytest.mark.parametrize("prediction", ["ctc", "attn"])
def test_with_another_charset_rows_go_by_character(
    prediction, make_recognizer, trained, saved, caplog
):
    former = trained("none", "compact", "bilstm", prediction, charset=OLD)
    recognizer = make_recognizer("none", "compact", "bilstm", prediction, charset=NEW)
    fresh = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    with caplog.at_level(logging.INFO, "hanline"):
        left_out = finetune_from(recognizer, saved(former))
    first = FIRST[prediction]
    for name, tensor in recognizer.state_dict().items():
        theirs = former.state_dict()[name]
        if name not in BY_CLASS[prediction]:
            assert torch.equal(tensor, theirs), name
            continue
        # The blank, or start and end; then 라 마 가 from 가 나 다 라.
        assert torch.equal(tensor[:first], theirs[:first]), name
        assert torch.equal(tensor[first], theirs[first + 3]), name
        assert torch.equal(tensor[first + 1], fresh[name][first + 1]), name
        assert torch.equal(tensor[first + 2], theirs[first]), name
    assert left_out == [
        "1 characters that the checkpoint does not know: 마",
        "2 characters that this model does not know: 나다",
    ]
    for line in left_out:
        assert f"not loaded: {line}" in caplog.text


def test_another_order_of_characters_loses_nothing(make_recognizer, trained, saved):
    former = trained(charset=OLD)
    recognizer = make_recognizer(charset=OLD[::-1])
    assert finetune_from(recognizer, saved(former)) == []
    rows = recognizer.prediction.linear.weight[1:]
    assert torch.equal(rows, former.prediction.linear.weight[1:].flip(0))


def test_what_has_other_widths_is_listed(make_recognizer, trained, saved):
    former = trained("none", "vgg", "bilstm", "ctc", charset=OLD, width=32)
    recognizer = make_recognizer("none", "vgg", "bilstm", "ctc", charset=OLD, width=64)
    fresh = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    told = dict(line.split(": ", 1) for line in finetune_from(recognizer, saved(former)))
    for name, tensor in recognizer.state_dict().items():
        theirs = former.state_dict()[name]
        if theirs.shape == tensor.shape:
            assert torch.equal(tensor, theirs), name
            assert name not in told
        else:
            assert torch.equal(tensor, fresh[name]), name
            assert told[name] == f"{list(theirs.shape)} there, {list(tensor.shape)} here"
    assert "feature_extraction.layers.0.weight" in told
    assert "prediction.linear.bias" not in told


def test_a_stage_that_is_left_out_is_listed(make_recognizer, trained, saved):
    former = trained("none", "vgg", "bilstm", "ctc", charset=OLD)
    recognizer = make_recognizer("none", "vgg", "none", "ctc", charset=OLD)
    left_out = finetune_from(recognizer, saved(former))
    assert set(left_out) == {
        f"{name}: not in this model"
        for name in former.state_dict()
        if name.startswith("sequence_modeling.")
    }
    assert torch.equal(recognizer.prediction.linear.weight, former.prediction.linear.weight)


def test_another_stage_is_listed_and_the_rest_loaded(make_recognizer, trained, saved):
    former = trained("none", "vgg", "none", "attn", charset=OLD, width=32)
    recognizer = make_recognizer("none", "compact", "none", "attn", charset=OLD, width=32)
    fresh = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    left_out = finetune_from(recognizer, saved(former))
    told = dict(line.split(": ", 1) for line in left_out)
    for name, tensor in recognizer.state_dict().items():
        if name.startswith("prediction."):
            assert torch.equal(tensor, former.state_dict()[name]), name
            assert name not in told
        else:
            assert told[name] == "not in the checkpoint"
            assert torch.equal(tensor, fresh[name])
    assert told["feature_extraction.layers.0.weight"] == "not in this model"


def test_shapes_that_differ_are_told_with_both(make_recognizer, trained, saved):
    former = trained("none", "vgg", "none", "ctc", charset=OLD, image=(32, 96, 3))
    recognizer = make_recognizer("none", "vgg", "none", "ctc", charset=OLD, image=(32, 96, 1))
    assert finetune_from(recognizer, saved(former)) == [
        "feature_extraction.layers.0.weight: [4, 3, 3, 3] there, [4, 1, 3, 3] here"
    ]


def test_another_prediction_leaves_the_stages_before_it(make_recognizer, trained, saved):
    former = trained("none", "vgg", "bilstm", "ctc", charset=OLD)
    recognizer = make_recognizer("none", "vgg", "bilstm", "attn", charset=OLD)
    left_out = finetune_from(recognizer, saved(former))
    named = {line.partition(":")[0] for line in left_out}
    assert named == {
        name
        for name in {**recognizer.state_dict(), **former.state_dict()}
        if name.startswith("prediction.")
    }
    assert torch.equal(
        recognizer.feature_extraction.layers[0].weight, former.feature_extraction.layers[0].weight
    )


def dtrb_state(recognizer):
    """The state dict that DTRB would save of a VGG-BiLSTM-CTC recogniser."""
    state = {}
    for name, tensor in recognizer.state_dict().items():
        stage, _, rest = name.partition(".")
        if stage == "feature_extraction":
            key = "FeatureExtraction.ConvNet." + rest.removeprefix("layers.")
        elif stage == "sequence_modeling":
            kind, number, last = rest.split(".", 2)
            key = f"SequenceModeling.{number}.{'rnn' if kind == 'lstms' else 'linear'}.{last}"
        else:
            key = "Prediction." + rest.removeprefix("linear.")
        state[f"module.{key}"] = tensor.clone()
    return state


VGG_CTC = ("none", "vgg", "bilstm", "ctc")


def test_dtrbs_weights_are_loaded_by_position(make_recognizer, trained, tmp_path):
    former = trained(*VGG_CTC, charset="abcd")
    path = tmp_path / "best_accuracy.pth"
    torch.save(dtrb_state(former), path)
    recognizer = make_recognizer(*VGG_CTC, charset=OLD)
    assert finetune_from(recognizer, path) == []
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(tensor, former.state_dict()[name]), name


def test_dtrbs_classes_count_only_if_they_are_as_many(make_recognizer, trained, tmp_path):
    former = trained(*VGG_CTC, charset="abcdefg")
    path = tmp_path / "best_accuracy.pth"
    torch.save(dtrb_state(former), path)
    recognizer = make_recognizer(*VGG_CTC, charset=OLD)
    fresh = recognizer.prediction.linear.weight.clone()
    assert finetune_from(recognizer, path) == [
        "prediction.linear.weight: 8 classes, not 5",
        "prediction.linear.bias: 8 classes, not 5",
    ]
    assert torch.equal(recognizer.prediction.linear.weight, fresh)
    loaded = recognizer.sequence_modeling.lstms[0].weight_ih_l0
    assert torch.equal(loaded, former.sequence_modeling.lstms[0].weight_ih_l0)


def test_nothing_that_fits_is_an_error(make_recognizer, trained, saved):
    for former, new in itertools.permutations(("vgg", "compact"), 2):
        path = saved(trained("none", former, "none", "ctc", charset=OLD, width=32))
        recognizer = make_recognizer("none", new, "none", "attn", charset=OLD, width=64)
        with pytest.raises(HanlineError, match="but none do"):
            finetune_from(recognizer, path)


def test_counts_of_batches_are_nothing_that_fits(make_recognizer, trained, saved):
    path = saved(trained("none", "resnet", "none", "ctc", charset=OLD, width=32))
    recognizer = make_recognizer("none", "resnet", "none", "attn", charset=OLD, width=64)
    with pytest.raises(HanlineError, match="but none do"):
        finetune_from(recognizer, path)


@pytest.mark.parametrize(
    "content",
    [
        {"weight": torch.ones(3)},
        {"state_dict": {"backbone.weight": torch.ones(3)}},
        {},
    ],
)
def test_another_projects_weights_are_told(content, make_recognizer, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(HanlineError, match=r"expected a checkpoint of deep-text"):
        finetune_from(make_recognizer(charset=OLD), path)


def test_a_damaged_record_is_told(make_recognizer, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"hanline": {"version": "9.9"}, "state_dict": {}}, path)
    with pytest.raises(HanlineError, match="describes no model"):
        finetune_from(make_recognizer(charset=OLD), path)


def test_a_missing_file_is_told(make_recognizer, tmp_path):
    with pytest.raises(HanlineError, match="there is none"):
        finetune_from(make_recognizer(charset=OLD), tmp_path / "none.ckpt")


def test_gradients_still_reach_what_was_loaded(make_recognizer, trained, saved):
    recognizer = make_recognizer(charset=NEW)
    finetune_from(recognizer, saved(trained(charset=OLD)))
    recognizer.loss(torch.zeros(2, 1, 32, 96, dtype=torch.uint8), ["라", "마가"]).backward()
    assert all(p.requires_grad and p.grad is not None for p in recognizer.parameters())
