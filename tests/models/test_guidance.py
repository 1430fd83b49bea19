"""What a training knows of its samples makes the loss another one, and a better teacher."""

import numpy as np
import pytest
import torch

from hanline.models.guidance import Guidance, letter_spans, letter_steps
from hanline.models.prediction.attention import AttentionPrediction
from hanline.models.prediction.ctc import CTCPrediction
from hanline.text.charset import Charset

CHARSET = Charset("가나다라마바사아자차")
LABELS = ["가나다", "라마"]
POSITIONS = [
    np.array([[0.0, 0.25], [0.25, 0.5], [0.75, 1.0]], dtype=np.float16),
    np.array([[0.1, 0.3], [np.nan, np.nan]], dtype=np.float16),
]


def test_a_letter_is_at_the_step_under_its_middle():
    steps = letter_steps(POSITIONS, 16)
    assert steps.tolist() == [[0, 0, 2], [0, 1, 6], [0, 2, 14], [1, 0, 3]]


def test_letters_that_share_a_step_are_left_out():
    together = [np.array([[0.0, 0.1], [0.02, 0.1], [0.5, 0.6]])]
    assert letter_steps(together, 10).tolist() == [[0, 2, 5]]


def test_samples_without_positions_have_no_steps():
    assert letter_steps([None, None], 10).shape == (0, 3)


def test_a_letter_spans_the_steps_under_it():
    spans = letter_spans([*POSITIONS, None], 3, 8)
    assert spans.int().tolist()[0] == [
        [1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1],
    ]
    assert spans[1].int().tolist()[0] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert not spans[1, 1:].any()
    assert not spans[2].any()


@pytest.fixture(params=["ctc", "attention"])
def prediction(request):
    torch.manual_seed(0)
    if request.param == "ctc":
        return CTCPrediction(8, CHARSET, 5)
    return AttentionPrediction(8, CHARSET, 5, 16)


def test_without_guidance_the_loss_is_that_of_validation(prediction):
    features = torch.randn(2, 16, 8)
    losses, counts = prediction.losses(features, LABELS)
    expected = losses.sum() / counts.sum()
    for guidance in (None, Guidance(), Guidance(POSITIONS, 0.0), Guidance([None, None], 1.0)):
        torch.testing.assert_close(prediction.loss(features, LABELS, guidance), expected)


def test_positions_teach_where_a_letter_is(prediction):
    """Trained on the alignment alone, a prediction finds each letter in its place."""
    torch.manual_seed(1)
    features = torch.randn(2, 16, 8)
    optimizer = torch.optim.Adam(prediction.parameters(), lr=0.05)
    gains = []
    for _ in range(60):
        plain = prediction.loss(features, LABELS)
        guided = prediction.loss(features, LABELS, Guidance(POSITIONS, 1.0))
        gains.append(float((guided - plain).detach()))
        optimizer.zero_grad()
        (guided - plain).backward()
        optimizer.step()
    assert gains[-1] < 0.1 * gains[0]
    if isinstance(prediction, CTCPrediction):
        classes = prediction(features).argmax(dim=2)
        expected = [1, 2, 3, 4]
        written = [classes[sample, step] for sample, _, step in letter_steps(POSITIONS, 16)]
        assert [int(c) for c in written] == expected


def test_a_softmax_over_all_classes_is_not_changed_by_sampling_all():
    torch.manual_seed(0)
    prediction = CTCPrediction(8, CHARSET, 5)
    features = torch.randn(2, 16, 8)
    whole = prediction.loss(features, LABELS, Guidance(POSITIONS, 1.0))
    sampled = prediction.loss(features, LABELS, Guidance(POSITIONS, 1.0, sampled_classes=999))
    torch.testing.assert_close(sampled, whole)


def test_a_sampled_softmax_is_right_on_average():
    torch.manual_seed(0)
    charset = Charset("".join(chr(0xAC00 + i) for i in range(2000)))
    prediction = CTCPrediction(8, charset, 5)
    features = torch.randn(2, 16, 8)
    labels = [charset.characters[:4], charset.characters[7:9]]
    whole = float(prediction.loss(features, labels))
    some = [float(prediction.loss(features, labels, Guidance((), 0.0, 200))) for _ in range(40)]
    assert np.mean(some) == pytest.approx(whole, rel=0.01)
    assert np.std(some) > 0


def test_a_sampled_softmax_teaches_the_rows_that_it_takes():
    torch.manual_seed(0)
    charset = Charset("".join(chr(0xAC00 + i) for i in range(500)))
    prediction = CTCPrediction(8, charset, 5)
    prediction.loss(torch.randn(1, 16, 8), [charset.characters[:3]], Guidance((), 0, 20)).backward()
    taught = prediction.linear.weight.grad.abs().sum(dim=1) > 0
    assert int(taught.sum()) == 1 + 3 + 20
    assert taught[:4].all()
