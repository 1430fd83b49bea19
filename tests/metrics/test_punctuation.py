"""Punctuation that means the same is written in one way before readings are compared."""

import pytest

from hanline.metrics.punctuation import fold_punctuation


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("“속보” ‘정치’", "\"속보\" '정치'"),
        ("사과…배", "사과...배"),
        ("서울ㆍ부산", "서울·부산"),
        (" 서울  시\u3000장\n", "서울 시 장"),
        ("\u1112\u1161\u11ab", "한"),
        ("서울\u200b시", "서울시"),
    ],
)
def test_it_makes_alike_what_means_the_same(one, other):
    assert one != other
    assert fold_punctuation(one) == fold_punctuation(other) == other


@pytest.mark.parametrize("text", ["", "A-B", "1,440.5%", "「속보」 (종합)", "..", "女"])
def test_it_leaves_everything_else(text):
    assert fold_punctuation(text) == text


def test_a_second_time_changes_nothing():
    text = "“가”…ㆍ 나\t‘다’ …"
    assert (
        fold_punctuation(fold_punctuation(text))
        == fold_punctuation(text)
        == "\"가\"...· 나 '다' ..."
    )


def test_it_keeps_words_apart():
    assert fold_punctuation("가 나") != fold_punctuation("가나")
