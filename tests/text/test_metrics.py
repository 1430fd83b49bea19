import pytest

from hanline.metrics.text_metrics import Comparison, uniform


class TestUniform:
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
    def test_makes_alike_what_means_the_same(self, one, other):
        assert one != other
        assert uniform(one) == uniform(other) == other

    @pytest.mark.parametrize("text", ["", "A-B", "1,440.5%", "「속보」 (종합)", "..", "女"])
    def test_leaves_everything_else(self, text):
        assert uniform(text) == text

    def test_a_second_time_changes_nothing(self):
        text = "“가”…ㆍ 나\t‘다’ …"
        assert uniform(uniform(text)) == uniform(text) == "\"가\"...· 나 '다' ..."

    def test_keeps_words_apart(self):
        assert uniform("가 나") != uniform("가나")


class TestComparison:
    def test_by_hand(self):
        comparison = Comparison.of(
            ["가나다라", "국회", "서울시장", "", "한", "abcd", ""],
            ["가나다라", "국희", "서울", "", "", "xabcde", "뭐"],
        )
        # Right; 1 of 2 exchanged; 2 of 4 missing; both empty; not read; 2 of 6 added; read from
        # nothing.
        assert comparison.samples == 7
        assert comparison.correct == 2
        assert comparison.distance == 0 + 1 + 2 + 0 + 1 + 2 + 1
        assert comparison.characters == 4 + 2 + 4 + 0 + 1 + 4 + 0
        assert comparison.similarity == 1_000_000 + 500_000 + 500_000 + 0 + 0 + 666_667 + 0

    def test_figures_are_in_percent(self):
        comparison = Comparison.of(["가나다라", "마바"], ["가나다라", "마사아"])
        assert comparison.accuracy == 50
        assert comparison.norm_ed == pytest.approx(100 * (1 + 1 / 3) / 2)
        assert comparison.cer == pytest.approx(100 * 2 / 6)

    def test_distance_is_levenshteins(self):
        # kitten → sitting: two exchanged, one added. A transposition is two edits.
        assert Comparison.of(["kitten"], ["sitting"]).distance == 3
        assert Comparison.of(["가나"], ["나가"]).distance == 2

    @pytest.mark.parametrize(("label", "text"), [("", ""), ("가", ""), ("", "가")])
    def test_nothing_is_like_nothing(self, label, text):
        assert Comparison.of([label], [text]).norm_ed == 0

    def test_characters_are_code_points_not_bytes(self):
        assert Comparison.of(["가나다라마"], ["가나다라바"]).norm_ed == pytest.approx(80)

    def test_error_rate_goes_beyond_a_hundred(self):
        assert Comparison.of(["가"], ["나다라"]).cer == 300

    def test_error_rate_of_no_characters(self):
        assert Comparison.of([""], ["가나"]).cer == 200

    def test_sums_add_up(self):
        labels = ["가나", "가나다", "마", "라" * 10, "라" * 10]
        texts = ["가나", "가나바", "", "라" * 3, "라" * 7]
        whole = Comparison.of(labels, texts)
        parts = [Comparison.of([label], [text]) for label, text in zip(labels, texts, strict=True)]
        for name in ("samples", "correct", "similarity", "distance", "characters"):
            assert getattr(whole, name) == sum(getattr(part, name) for part in parts)

    def test_a_reading_must_stand_for_each_label(self):
        with pytest.raises(ValueError, match="2 labels, but 1 readings"):
            Comparison.of(["가", "나"], ["가"])
