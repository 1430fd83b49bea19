"""The prediction that writes characters in any order."""

import itertools

import pytest
import torch

from hanline.errors import HanlineError
from hanline.models.prediction.parseq import PARSeqPrediction, drawn_orders
from hanline.quantization.torch_int8 import unsupported_reason
from hanline.text.charset import Charset

PREDICTION = {
    "_target_": "hanline.models.prediction.parseq.PARSeqPrediction",
    "layers": 1,
    "head_width": 8,
    "mlp_ratio": 2,
    "dropout": 0.0,
    "orders": 6,
    "autoregressive": True,
    "refinements": 1,
}
FEATURES = {
    "_target_": "hanline.models.feature_extraction.vit.ViT",
    "image_height": 32,
    "image_width": 96,
    "patch": [8, 8],
    "out_channels": 32,
    "layers": 1,
    "heads": 2,
    "mlp_ratio": 2,
    "dropout": 0.0,
    "rows": "keep",
    "class_token": False,
}


def model(around, width=96, **changes):
    return around(
        width=width,
        feature_extraction=FEATURES | {"image_width": width},
        prediction=PREDICTION | changes,
    )


def prediction(**changes):
    numbers = {key: value for key, value in PREDICTION.items() if key != "_target_"}
    torch.manual_seed(1)
    built = PARSeqPrediction(32, Charset("abcdef"), 8, **(numbers | changes))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built.eval()


@pytest.mark.parametrize("length", range(9))
def test_orders_come_with_their_mirror_images_and_no_short_one_twice(length):
    orders = drawn_orders(length, 6)
    assert all(sorted(order) == [*range(length)] for order in orders)
    assert orders[0] == [*range(length)]
    if length > 1:
        assert orders[1::2] == [order[::-1] for order in orders[::2]]
    if length <= 4:
        assert len({tuple(order) for order in orders}) == len(orders)
    assert len(orders) == min(6, max(1, len([*itertools.permutations(range(length))])))
    assert drawn_orders(length, 1) == [[*range(length)]]


@torch.inference_mode()
def test_reading_gives_the_scores_of_the_loss_that_knows_what_was_read():
    """The loop that reads and the mask that trains are the same decoder."""
    reading = prediction(refinements=0, layers=2)
    reading.head.bias[0] += 1
    for seed in range(40):
        torch.manual_seed(seed)
        features = torch.randn(1, 12, 32)
        (text,), _ = reading.read(features)
        if 0 < len(text) < 8:
            break
    assert 0 < len(text) < 8
    losses, counts = reading.losses(features, [text])
    scores = reading(features)
    classes = scores.argmax(dim=2)
    expected = torch.nn.functional.cross_entropy(scores[0], classes[0], reduction="sum")
    assert counts.tolist() == [len(text) + 1]
    torch.testing.assert_close(losses[0], expected)


@torch.inference_mode()
def test_a_label_has_the_same_loss_in_every_batch():
    trained = prediction(orders=2).train()
    features = torch.randn(3, 12, 32)
    together, counts = trained.losses(features, ["ab", "", "fedcba"])
    for i, label in enumerate(["ab", "", "fedcba"]):
        alone, count = trained.losses(features[i : i + 1], [label])
        # One character has one order.
        if len(label) > 1:
            torch.testing.assert_close(together[i], alone[0])
            assert counts[i] == count[0]


@torch.inference_mode()
@pytest.mark.parametrize("autoregressive", [True, False])
def test_a_text_ends_where_its_end_is_read(autoregressive):
    texts, confidences = prediction(autoregressive=autoregressive).read(torch.randn(5, 12, 32))
    assert all(len(text) <= 8 for text in texts)
    assert all(0 <= confidence <= 1 for confidence in confidences)


@pytest.mark.parametrize("orders", [0, 3])
def test_an_odd_number_of_orders_is_refused(orders):
    with pytest.raises(HanlineError, match=f"orders={orders}: expected an even number"):
        prediction(orders=orders)


def test_heads_that_do_not_fit_the_width_are_refused():
    with pytest.raises(HanlineError, match=r"head_width=12: expected a divisor .* 32"):
        prediction(head_width=12)


def test_a_label_that_is_too_long_is_refused():
    with pytest.raises(HanlineError, match="max_label_length=8: expected labels"):
        prediction().losses(torch.zeros(1, 4, 32), ["abcabcabc"])


def test_ctc_does_not_read_features_that_keep_the_rows(around):
    with pytest.raises(HanlineError, match="follow one another along the line"):
        around(feature_extraction=FEATURES)


def test_places_of_letters_are_refused_where_the_features_keep_the_rows(around, drawn):
    attention = {
        "_target_": "hanline.models.prediction.attention.AttentionPrediction",
        "hidden_size": 8,
    }
    recognizer = around(feature_extraction=FEATURES, prediction=attention).eval()
    with pytest.raises(HanlineError, match="parts=true: expected features that follow"):
        recognizer.read_letters_all([drawn[0]])


def test_it_trains(around, assert_trains):
    assert_trains(model(around), lr=4e-3)


def test_a_stored_one_reads_the_same(around, assert_stored):
    assert_stored(model(around))


def test_onnxruntime_reads_the_same_at_any_width(around, assert_exported):
    recognizer = model(around, None)
    torch.manual_seed(2)
    for parameter in recognizer.prediction.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert_exported(recognizer, (61, 96, 200))


def test_8_bits_are_refused_since_no_layer_alone_gives_the_scores(around):
    assert "no single layer" in unsupported_reason(model(around))
