import random
import re
from collections import Counter

import pytest

from hanline.errors import HanlineError
from hanline.text.charset import Charset, named_charset
from hanline.text.text_generator import KINDS, TextGenerator

KOREAN = named_charset("korean")
WORDS = [f"목{i}록" for i in range(10)]
# The syllables that Korean text was written with before Unicode; KS X 1001 has 2,350.
KS_X_1001 = [c for c in map(chr, range(0xAC00, 0xD7A4)) if len(c.encode("euc_kr", "ignore")) == 2]


def anything(text):
    return True


def without_some(text):
    return "Z" not in text and "힣" not in text


def endless(charset=KOREAN, can_draw=anything, weights=None, **options):
    settings = {"words": WORDS, "min_words": 1, "max_words": 8, "max_length": 60, "seed": 3}
    weights = weights or {"corpus": 6, "random": 2, "numbers": 1, "latin": 1}
    return TextGenerator(
        charset=charset, can_draw=can_draw, weights=weights, **(settings | options)
    )


def only(kind, **options):
    return endless(weights=dict.fromkeys(KINDS, 0) | {kind: 1}, **options)


def some(texts, count=500):
    return [texts.text(number) for number in range(count)]


class TestText:
    def test_is_decided_by_its_number_and_the_seed(self):
        texts = some(endless(), 200)
        backwards = endless()
        assert [backwards.text(number) for number in reversed(range(200))] == texts[::-1]
        others = some(endless(seed=4), 200)
        assert sum(one == other for one, other in zip(texts, others, strict=True)) < 5
        assert len(set(texts)) > 180

    def test_leaves_other_random_numbers_alone(self):
        random.seed(5)
        before = random.getstate()
        expected = endless().text(7)
        assert random.getstate() == before
        random.seed(6)
        assert endless().text(7) == expected

    @pytest.mark.parametrize("max_length", [1, 2, 7, 60])
    @pytest.mark.parametrize("charset", ["korean", "dtrb_94", "easyocr_korean_g2"])
    def test_is_fit_for_the_charset_and_the_fonts(self, charset, max_length):
        known = Charset("".join(dict.fromkeys(named_charset(charset).characters + " ")))
        made = endless(known, without_some, words=["a", "b", "ab"], max_length=max_length, seed=1)
        for text in some(made, 300):
            assert 1 <= len(text) <= max_length
            assert known.covers(text)
            assert without_some(text)
            assert text == " ".join(text.split())

    def test_has_as_many_words_as_are_asked_for(self):
        counts = Counter(len(text.split()) for text in some(endless(min_words=2, max_words=4)))
        assert counts.keys() == {2, 3, 4}
        assert min(counts.values()) > 100

    def test_has_fewer_where_they_would_be_too_long(self):
        texts = some(only("corpus", min_words=5, max_words=5, max_length=11))
        assert set(map(len, texts)) == {11}
        assert all(set(text.split()) < set(WORDS) for text in texts)

    def test_no_word_is_cut(self):
        texts = some(only("corpus", words=["가나다라마바", "사아"], max_length=5))
        assert set(texts) == {"사아", "사아 사아"}

    def test_only_what_one_font_draws_whole(self):
        def draws(text):
            return text.isascii() or not re.search("[0-9A-Za-z]", text)

        texts = some(endless(can_draw=draws, max_words=3))
        assert all(map(draws, texts))
        assert {text.isascii() for text in texts} == {False, True}


class TestKinds:
    def test_corpus_words_follow_one_another(self):
        for text in some(only("corpus"), 100):
            numbers = [int(word[1:-1]) for word in text.split()]
            assert numbers == [(numbers[0] + i) % 10 for i in range(len(numbers))]

    def test_every_syllable_of_ks_x_1001_turns_up(self):
        assert len(KS_X_1001) == 2350
        counts = Counter("".join(some(only("random"), 2500)))
        assert set(KS_X_1001) <= counts.keys()
        # None is much likelier than another.
        assert max(counts[c] for c in KS_X_1001) < 6 * sum(counts.values()) / 2350

    def test_random_words_have_hanja_and_signs_too(self):
        signs = {"·", "《", "→", "%"}
        charset = Charset("가나女美 " + "".join(signs))
        assert set("".join(some(only("random", charset=charset)))) == {*"가나女美 ", *signs}

    def test_random_words_are_of_signs_where_there_are_no_syllables(self):
        assert set("".join(some(only("random", charset=Charset("+→ "))))) == {*"+→ "}

    def test_numbers(self):
        texts = some(only("numbers", min_words=1, max_words=1))
        assert all(re.search("[0-9]", text) for text in texts)
        assert set("0123456789,.:-~/%") <= set("".join(texts))
        assert any(text.endswith("억") for text in texts)

    def test_latin(self):
        texts = some(only("latin", min_words=1, max_words=1))
        assert all(re.search("[A-Za-z]", text) for text in texts)
        letters = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        assert letters <= set("".join(some(only("latin"))))

    @pytest.mark.parametrize("kind", ["random", "numbers", "latin"])
    def test_what_has_no_weight_does_not_occur(self, kind):
        charset = Charset("0123456789XYxy가나→ ")
        texts = "".join(some(only(kind, charset=charset, words=["목록"])))
        assert "목록" not in texts
        assert ("→" in texts, "가" in texts) == (True, kind != "numbers")
        assert bool(re.search("[0-9]", texts)) == (kind != "random")
        assert bool(re.search("[A-Za-z]", texts)) == (kind == "latin")

    def test_weights_are_shares(self):
        charset = Charset("가나다0123456789 ")
        weights = {"corpus": 1, "random": 0, "numbers": 3, "latin": 0}
        texts = some(endless(charset, weights=weights, words=["나"], max_words=4))
        words = [word for text in texts for word in text.split()]
        assert words.count("나") == pytest.approx(len(words) / 4, rel=0.15)


class TestRefusals:
    @pytest.mark.parametrize(
        "weights",
        [
            {"corpus": 1},
            {"corpus": 1, "random": 1, "numbers": 1, "latin": 1, "emoji": 1},
            {"corpus": 1, "random": -1, "numbers": 1, "latin": 1},
            dict.fromkeys(KINDS, 0),
            {},
        ],
    )
    def test_weights(self, weights):
        with pytest.raises(HanlineError, match=r"texts is .*each of corpus, random") as error:
            TextGenerator(WORDS, KOREAN, anything, weights, 1, 8, 60, 0)
        assert str(weights) in str(error.value)

    @pytest.mark.parametrize(
        ("kind", "characters"), [("random", "A1 "), ("numbers", "가A "), ("latin", "가1 ")]
    )
    def test_a_kind_that_cannot_be_drawn(self, kind, characters):
        with pytest.raises(HanlineError, match=rf"data\.train\.texts\.{kind} is 1, .* set it to 0"):
            only(kind, charset=Charset(characters))
        with pytest.raises(HanlineError, match=rf"data\.train\.texts\.{kind} is 1"):
            only(kind, can_draw=str.isspace)

    def test_a_corpus_of_words_that_are_too_long(self):
        words = {"words": ["가나다라마"], "max_length": 4}
        with pytest.raises(HanlineError, match=r"texts\.corpus is 1, .* at most 4 char"):
            only("corpus", **words)
        # They are not asked for where there is no weight on them.
        assert max(map(len, some(only("numbers", **words), 50))) == 4

    @pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2), (-1, 4)])
    def test_numbers_of_words(self, least, most):
        with pytest.raises(HanlineError, match=rf"data\.train\.min_words is {least} and .* {most}"):
            endless(min_words=least, max_words=most)

    def test_several_words_without_a_space(self):
        with pytest.raises(HanlineError, match=r"data\.train\.max_words is 8.*no space"):
            endless(Charset("가나0A"))
        texts = some(endless(Charset("목록가나0A"), max_words=1), 100)
        assert not any(" " in text for text in texts)
