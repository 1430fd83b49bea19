"""Comparisons by hand, and that the sums of parts add up."""

import pytest

from hanline.metrics.comparison import Comparison


def test_by_hand():
    comparison = Comparison.of(
        ["가나다라", "국회", "서울시장", "", "한", "abcd", ""],
        ["가나다라", "국희", "서울", "", "", "xabcde", "뭐"],
    )
    # Right; 1 of 2 exchanged; 2 of 4 missing; both empty; not read; 2 of 6 added; read from
    # nothing.
    assert comparison.samples == 7
    assert comparison.sums["accuracy"] == {"correct": 2, "samples": 7}
    distance, characters = 0 + 1 + 2 + 0 + 1 + 2 + 1, 4 + 2 + 4 + 0 + 1 + 4 + 0
    assert comparison.sums["cer"] == {"distance": distance, "characters": characters}
    similarity = 1_000_000 + 500_000 + 500_000 + 0 + 0 + 666_667 + 0
    assert comparison.sums["edit_similarity"] == {
        "similarity_millionths": similarity,
        "samples": 7,
    }


def test_values_are_in_percent():
    comparison = Comparison.of(["가나다라", "마바"], ["가나다라", "마사아"])
    assert comparison["accuracy"] == 50
    assert comparison["edit_similarity"] == pytest.approx(100 * (1 + 1 / 3) / 2)
    assert comparison["cer"] == pytest.approx(100 * 2 / 6)


def test_distance_is_levenshteins():
    # kitten → sitting: two exchanged, one added. A transposition is two edits.
    assert Comparison.of(["kitten"], ["sitting"]).sums["cer"]["distance"] == 3
    assert Comparison.of(["가나"], ["나가"]).sums["cer"]["distance"] == 2


@pytest.mark.parametrize(("label", "text"), [("", ""), ("가", ""), ("", "가")])
def test_nothing_is_like_nothing(label, text):
    assert Comparison.of([label], [text])["edit_similarity"] == 0


def test_characters_are_code_points_not_bytes():
    assert Comparison.of(["가나다라마"], ["가나다라바"])["edit_similarity"] == pytest.approx(80)


def test_error_rate_goes_beyond_a_hundred():
    assert Comparison.of(["가"], ["나다라"])["cer"] == 300


def test_error_rate_of_no_characters():
    assert Comparison.of([""], ["가나"])["cer"] == 200


def test_sums_add_up():
    labels = ["가나", "가나다", "마", "라" * 10, "라" * 10]
    texts = ["가나", "가나바", "", "라" * 3, "라" * 7]
    whole = Comparison.of(labels, texts)
    parts = [Comparison.of([label], [text]) for label, text in zip(labels, texts, strict=True)]
    for name, sums in whole.sums.items():
        for key, total in sums.items():
            assert total == sum(part.sums[name][key] for part in parts), (name, key)


def test_a_reading_must_stand_for_each_label():
    with pytest.raises(ValueError, match="2 labels, but 1 readings"):
        Comparison.of(["가", "나"], ["가"])
