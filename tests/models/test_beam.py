"""Beam search against all texts, for both predictions."""

from itertools import product

import numpy as np
import pytest
import torch

from hanline.models.beam import Beam, Prior, align_ctc, search_ctc
from hanline.text.charset import Charset
from hanline.text.language_model import count

CHARSET = Charset("가나 ")


def logs(seed, steps=5, classes=4):
    random = np.random.default_rng(seed)
    values = random.normal(0, 2, (steps, classes))
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def texts_of_all_paths(log_probabilities):
    """Add up the probabilities of all paths by their text."""
    found = {}
    steps, classes = log_probabilities.shape
    for path in product(range(classes), repeat=steps):
        text = tuple(c for c, before in zip(path, (0, *path), strict=False) if c and c != before)
        total = sum(log_probabilities[step, c] for step, c in enumerate(path))
        found[text] = np.logaddexp(found.get(text, -np.inf), total)
    return found


def test_a_wide_beam_finds_what_all_paths_give():
    for seed in range(10):
        scores = logs(seed)
        expected = texts_of_all_paths(scores)
        prior = Prior(Beam(width=500, candidates=3, best=5), CHARSET)
        found = search_ctc(scores, prior)
        best = sorted(expected.items(), key=lambda item: -item[1])[:5]
        assert [tuple(text) for text, _ in found] == [text for text, _ in best]
        assert [score for _, score in found] == pytest.approx([score for _, score in best])


def test_a_language_model_counts_by_its_weight():
    model = count(["가나", "가나 가나"], 3)
    for seed in range(6):
        scores = logs(seed, steps=4)
        by_image = texts_of_all_paths(scores)
        expected = {
            text: image
            + 0.7 * model.line("".join(CHARSET.characters[c - 1] for c in text))
            + 0.4 * len(text)
            for text, image in by_image.items()
        }
        beam = Beam(width=500, candidates=3, model=model, weight=0.7, length_bonus=0.4)
        ((text, score),) = search_ctc(scores, Prior(beam, CHARSET))
        assert score == pytest.approx(max(expected.values()))
        assert tuple(text) == max(expected, key=expected.get)


def sure_of(text, doubtful=None, charset=CHARSET, other=0.45):
    """Return steps that write a text, of which one may as well be another character."""
    steps = np.full((2 * len(text) + 1, len(charset) + 1), 1e-6)
    steps[0::2, 0] = 1
    for place, character in enumerate(text):
        steps[2 * place + 1, charset.index[character] + 1] = 1 - other if doubtful else 1
    if doubtful:
        place, character = doubtful
        steps[2 * place + 1, charset.index[character] + 1] = other
    return np.log(steps / steps.sum(axis=1, keepdims=True))


def read(scores, charset=CHARSET, **settings):
    found = search_ctc(scores, Prior(Beam(**settings), charset))
    return "".join(charset.characters[c - 1] for c in found[0][0]) if found else None


NAMES = Charset("김이박서준연은가 ")


def test_a_favored_word_wins_where_the_image_is_in_doubt_only():
    doubtful = sure_of("김서준", (2, "연"), NAMES)
    assert read(doubtful, NAMES) == "김서준"
    favored = {"words": ["김서연"], "word_bonus": 1.0}
    assert read(doubtful, NAMES, **favored) == "김서연"
    assert read(sure_of("김서준", None, NAMES), NAMES, **favored) == "김서준"
    # Only the whole word has the bonus.
    assert read(sure_of("이서준", (2, "연"), NAMES), NAMES, **favored) == "이서준"
    # What follows it, as a particle, is free.
    assert read(sure_of("김서준은 가", (2, "연"), NAMES), NAMES, **favored) == "김서연은 가"
    # A word begins after a space.
    assert read(sure_of("박김서준", (3, "연"), NAMES), NAMES, **favored) == "박김서준"
    assert read(sure_of("박 김서준", (4, "연"), NAMES), NAMES, **favored) == "박 김서연"


def test_a_lexicon_restricts():
    scores = sure_of("김서준 이", (2, "연"), NAMES)
    assert read(scores, NAMES, lexicon=["김서연", "이"]) == "김서연 이"
    assert read(scores, NAMES, lexicon=["박서연", "이"], candidates=9) == "박서연 이"
    # A part of a word is no word.
    assert read(sure_of("김", None, NAMES), NAMES, lexicon=["김서연"]) == ""


def test_the_best_path_of_a_text_writes_it():
    for seed in range(20):
        scores = logs(seed, steps=7)
        text = [1, 1, 2, 3][: 1 + seed % 4]
        path = align_ctc(scores, text)
        assert [c for c, b in zip(path, (0, *path), strict=False) if c and c != b] == text
        paths = [
            p
            for p in product(range(4), repeat=7)
            if [c for c, b in zip(p, (0, *p), strict=False) if c and c != b] == text
        ]
        totals = [sum(scores[i, c] for i, c in enumerate(p)) for p in paths]
        assert sum(scores[i, c] for i, c in enumerate(path)) == pytest.approx(max(totals))
    assert align_ctc(scores, []).tolist() == [0] * 7


@pytest.mark.parametrize("kind", ["ctc", "attn"])
def test_a_search_without_knowledge_reads_as_sure_texts_are_read(kind, make_recognizer):
    recognizer = make_recognizer(prediction=kind).eval()
    pictures = torch.randint(
        0, 256, (4, 1, 32, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )
    ((texts, confidences, letters),) = recognizer.read_letters_all([pictures])
    prior = Prior(Beam(sure=0.0), recognizer.charset)
    (found,) = recognizer.search_all([pictures], prior)
    assert [best.text for (best,) in found] == texts
    assert [best.confidence for (best,) in found] == pytest.approx(confidences)
    assert [best.letters for (best,) in found] == letters


def all_attention_texts(prediction, features):
    """Return the logarithm of the probability of each text of up to two characters."""
    found = {}
    classes = range(2, prediction.out_channels)
    for length in range(3):
        for text in product(classes, repeat=length):
            row = torch.tensor([[0, *text, 1]])
            scores, _ = prediction.teacher_forced(features, row[:, :-1])
            logs_ = scores.log_softmax(dim=2)[0]
            found[text] = float(sum(logs_[i, c] for i, c in enumerate(row[0, 1:].tolist())))
    return found


def test_the_search_of_attention_finds_the_most_probable_text(make_recognizer):
    prediction = make_recognizer(prediction="attn", charset="가나다", max_label_length=2).prediction
    prediction.eval()
    features = torch.randn(3, 12, 32, generator=torch.Generator().manual_seed(5))
    prior = Prior(Beam(width=50, candidates=3, best=3, sure=1.0), prediction.charset)
    with torch.inference_mode():
        for line, found in enumerate(prediction.search(features, prior)):
            expected = all_attention_texts(prediction, features[line : line + 1])
            best = sorted(expected.items(), key=lambda item: -item[1])[:3]
            texts = ["".join("가나다"[c - 2] for c in text) for text, _ in best]
            assert [hypothesis.text for hypothesis in found] == texts
            assert [hypothesis.score for hypothesis in found] == pytest.approx(
                [score for _, score in best], abs=1e-4
            )
            assert "".join(letter.character for letter in found[0].letters) == found[0].text


def test_a_language_model_decides_for_attention_too(make_recognizer):
    prediction = make_recognizer(prediction="attn", charset="가나다", max_label_length=2).prediction
    features = torch.randn(2, 12, 32, generator=torch.Generator().manual_seed(5))
    model = count(["다나"] * 20, 2)
    with torch.inference_mode():
        beam = Beam(width=50, candidates=3, model=model, weight=20.0)
        found = prediction.eval().search(features, Prior(beam, prediction.charset))
        assert [best.text for (best,) in found] == ["다나"] * 2
        restricted = Beam(width=50, candidates=3, lexicon=["가다"], best=9)
        found = prediction.search(features, Prior(restricted, prediction.charset))
        # An image may be empty; else it has a word of the lexicon.
        assert [{each.text for each in line} for line in found] == [{"", "가다"}] * 2
