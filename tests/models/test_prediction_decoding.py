"""Scores made by hand, and what they are read as; the attention decoder's early stop."""

import math

import pytest
import torch

from hanline.models.prediction.attention import END, GO, AttentionPrediction
from hanline.models.prediction.ctc import CTCPrediction
from hanline.text.charset import Charset

CHARSET = Charset("가나다")
# CTC's classes: the blank, then the characters. Attention's: start, end, then the characters.
BLANK, GA, NA = 0, 1, 2


def scores(lines, classes, probability=0.9):
    """Scores whose softmax gives each line's classes a probability, the others sharing the rest."""
    rest = (1 - probability) / (classes - 1)
    made = torch.full((len(lines), len(lines[0]), classes), math.log(rest))
    for row, line in enumerate(lines):
        for step, chosen in enumerate(line):
            made[row, step, chosen] = math.log(probability)
    # Any constant added to a step's scores changes nothing.
    return made + torch.linspace(-3, 5, len(lines[0])).view(1, -1, 1)


@pytest.fixture
def ctc():
    return CTCPrediction(4, CHARSET, max_label_length=25)


@pytest.fixture
def attention():
    return AttentionPrediction(4, CHARSET, max_label_length=4, hidden_size=8)


@pytest.mark.parametrize(
    "line, text",
    [
        ([BLANK, GA, GA, BLANK, NA, BLANK], "가나"),
        ([GA, GA, BLANK, GA, BLANK, BLANK], "가가"),
        ([GA, GA, GA, GA, GA, GA], "가"),
        ([GA, NA, GA, NA, NA, NA], "가나가나"),
        ([BLANK] * 6, ""),
        ([GA, BLANK, BLANK, BLANK, BLANK, 3], "가다"),
    ],
)
def test_ctc_drops_repeats_and_blanks(line, text, ctc):
    texts, confidences = ctc.decode(scores([line, [BLANK] * 6], classes=4))
    assert texts == [text, ""]
    # Every step counts, blanks too.
    assert confidences == pytest.approx([0.9**6, 0.9**6])


@pytest.mark.parametrize(
    "line, text, confidence",
    [
        ([2, 3, END, 4, 4], "가나", 0.9**2),
        ([2, 2, 2, 2, END], "가가가가", 0.9**4),
        ([END, 2, 3, 4, 2], "", 0.0),
        ([2, END, END, END, END], "가", 0.9),
        # Without an end a text is as long as a text may be, and no longer.
        ([2, 3, 4, 2, 3], "가나다가", 0.9**4),
        # The start of a text is no character.
        ([2, GO, 3, END, 2], "가나", 0.9**3),
    ],
)
def test_attention_reads_up_to_the_end(line, text, confidence, attention):
    texts, confidences = attention.decode(scores([line, [3, END, 2, 2, 2]], classes=5))
    assert texts == [text, "나"]
    assert confidences == pytest.approx([confidence, 0.9])


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_confidences_are_computed_in_full_precision(half, ctc, attention):
    # In half precision 1 − 2⁻¹⁰ would be 1, and the product of many of them with it.
    likely = 1 - 2**-12
    in_half = scores([[BLANK] * 200], 4, likely).sub(torch.linspace(-3, 5, 200).view(1, -1, 1))
    (confidence,) = ctc.decode(in_half.to(half))[1]
    assert confidence == pytest.approx(likely**200, rel=5e-2)
    assert confidence < 0.98


@pytest.fixture
def ending():
    """A decoder that ends some lines at once, some later, and the features that make it."""
    torch.manual_seed(3)
    attention = AttentionPrediction(6, CHARSET, max_label_length=12, hidden_size=8)
    with torch.no_grad():
        attention.generator.bias[END] += 0.4
        attention.generator.weight *= 3
    return attention.eval(), 3 * torch.randn(24, 5, 6)


@torch.inference_mode()
def test_attention_stops_when_every_line_has_ended(ending):
    attention, features = ending
    full = attention(features, stop_early=False)
    first_end = [
        (line == END).nonzero()[0].item() if (line == END).any() else None
        for line in full.argmax(dim=2)
    ]
    ended = [row for row, end in enumerate(first_end) if end is not None]
    # Lines that end at different steps, before the last: else there would be nothing to see.
    assert len({first_end[row] for row in ended}) > 1
    latest = max(first_end[row] for row in ended)
    assert full.shape[1] == 13 > latest + 1

    short = attention(features[ended])
    assert short.shape[1] == latest + 1
    torch.testing.assert_close(short, full[ended][:, : latest + 1])
    texts, confidences = attention.decode(short)
    all_texts, all_confidences = attention.decode(full[ended])
    assert texts == all_texts
    assert len(set(texts)) > 1
    assert confidences == pytest.approx(all_confidences)


@torch.inference_mode()
def test_attention_goes_on_for_the_line_that_has_not_ended(ending):
    attention, features = ending
    with torch.no_grad():
        attention.generator.bias[END] = -100
    assert attention(features).shape[1] == 13
    texts, _ = attention.decode(attention(features))
    assert {len(text) for text in texts} <= set(range(13))


@torch.inference_mode()
def test_attentions_own_choices_are_what_teaching_them_gives(ending):
    attention, features = ending
    greedy = attention(features, stop_early=False)
    before = torch.cat([torch.full((24, 1), GO), greedy.argmax(dim=2)[:, :-1]], dim=1)
    torch.testing.assert_close(attention.teacher_forced(features, before)[0], greedy)


@torch.inference_mode()
def test_attentions_loss_counts_every_character_and_the_end(attention):
    features = torch.randn(2, 5, 4)
    labels = ["가나다", "다"]
    # GO 가 나 다 | GO 다 – –, against 가 나 다 END | 다 END – –.
    before = torch.tensor([[GO, 2, 3, 4], [GO, 4, END, GO]])
    logarithms = attention.teacher_forced(features, before)[0].log_softmax(dim=2)
    expected = [
        *(logarithms[0, step, c] for step, c in enumerate((2, 3, 4, END))),
        *(logarithms[1, step, c] for step, c in enumerate((4, END))),
    ]
    loss = attention.loss(features, labels)
    torch.testing.assert_close(loss, -torch.stack(expected).mean())


@torch.inference_mode()
def test_ctcs_loss_is_each_labels_own_per_character(ctc):
    features = torch.randn(3, 9, 4)
    labels = ["가나다", "나나", "다"]
    logarithms = ctc(features).log_softmax(dim=2)
    expected = [
        torch.nn.functional.ctc_loss(
            logarithms[row],
            torch.tensor([CHARSET.index[c] + 1 for c in label]),
            torch.tensor(9),
            torch.tensor(len(label)),
            reduction="none",
        )
        / len(label)
        for row, label in enumerate(labels)
    ]
    torch.testing.assert_close(ctc.loss(features, labels), torch.stack(expected).mean())
