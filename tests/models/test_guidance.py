"""Where letters are is a part of the loss that teaches where to look."""

import numpy as np
import pytest
import torch

from hanline.models.guidance import letter_spans, letter_steps
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


def test_the_losses_are_those_of_validation(prediction):
    features = torch.randn(2, 16, 8)
    expected = prediction.losses(features, LABELS)
    for positions in (POSITIONS, [None, None]):
        losses, counts, aligned = prediction.guided_losses(features, LABELS, positions)
        torch.testing.assert_close((losses, counts), expected)
        assert bool(aligned > 0) == (positions is POSITIONS)


def test_positions_teach_where_a_letter_is(prediction):
    """Trained on the alignment alone, a prediction finds each letter in its place."""
    torch.manual_seed(1)
    features = torch.randn(2, 16, 8)
    optimizer = torch.optim.Adam(prediction.parameters(), lr=0.05)
    gains = []
    for _ in range(60):
        aligned = prediction.guided_losses(features, LABELS, POSITIONS)[2]
        gains.append(float(aligned.detach()))
        optimizer.zero_grad()
        aligned.backward()
        optimizer.step()
    assert gains[-1] < 0.1 * gains[0]
    if isinstance(prediction, CTCPrediction):
        classes = prediction(features).argmax(dim=2)
        expected = [1, 2, 3, 4]
        written = [classes[sample, step] for sample, _, step in letter_steps(POSITIONS, 16)]
        assert [int(c) for c in written] == expected
