import unicodedata
from collections import Counter

import pytest

from hanline.errors import HanlineError
from hanline.text.charset import Charset, named_charset
from hanline.text.corpus import Corpus, read_headlines


def anything(text):
    return True


@pytest.fixture
def corpus_file(tmp_path):
    """Writes headlines, one a line, and gives the file's name."""

    def write(*headlines, name="corpus.txt", **options):
        file = tmp_path / name
        file.write_text("\n".join(headlines) + "\n", **({"encoding": "utf-8"} | options))
        return str(file)

    return write


@pytest.fixture
def lines(corpus_file):
    """Two hundred headlines of five words; word j of headline i is ``i_j``."""
    return corpus_file(*(" ".join(f"{i}_{j}" for j in range(5)) for i in range(200)))


class TestSplit:
    def test_words_of_a_headline_are_all_for_training_or_all_for_validation(self, lines):
        texts = Corpus([lines], validation_share=0.25).texts(anything, anything)
        train = {word.split("_")[0] for word in texts.train}
        validation = {word.split("_")[0] for word in texts.validation}
        assert (len(train), len(validation)) == (150, 50)
        assert not train & validation
        assert len(texts.train) == 750
        assert len(texts.validation) == 250

    def test_a_repeated_headline_is_one(self, corpus_file):
        file = corpus_file(*(["같은 제목"] * 50 + ["다른 것", "또 하나"]))
        texts = Corpus([file], validation_share=0.4).texts(anything, anything)
        everything = texts.train + texts.validation
        assert sorted(everything) == sorted(["같은", "제목", "다른", "것", "또", "하나"])
        assert texts.dropped["repeated"] == 0

    def test_the_seed_decides(self, lines):
        first, again, other = (
            Corpus([lines], seed=seed, max_words=3).texts(anything, anything) for seed in (7, 7, 8)
        )
        assert first == again
        assert {text.split("_")[0] for text in first.validation} != {
            text.split("_")[0] for text in other.validation
        }

    def test_validation_files(self, corpus_file):
        train = corpus_file("가 나", "다 라", "마 바", name="train.txt")
        validation = corpus_file("다 라", "사 가", name="validation.txt")
        texts = Corpus([train], [validation]).texts(anything, anything)
        assert sorted(texts.train) == ["가", "나", "마", "바"]
        assert sorted(texts.validation) == ["가", "다", "라", "사"]

    def test_unseen_only(self, corpus_file):
        train = corpus_file("가 나", "다 라", name="train.txt")
        validation = corpus_file("가 사 라", "나 다", "아 가 아", name="validation.txt")
        texts = Corpus([train], [validation], unseen_only=True).texts(anything, anything)
        assert sorted(texts.validation) == ["사", "아"]
        assert texts.dropped["validation word seen in training"] == 5
        assert texts.dropped["repeated"] == 1

    def test_unseen_only_of_one_file(self, corpus_file):
        file = corpus_file(*(f"{i % 30}번 {i}호 {i % 7}위" for i in range(300)))
        seen = Corpus([file]).texts(anything, anything)
        unseen = Corpus([file], unseen_only=True).texts(anything, anything)
        assert set(seen.validation) & set(seen.train)
        assert not set(unseen.validation) & set(unseen.train)
        assert unseen.train == seen.train
        assert len(unseen.validation) == 30  # the numbers that occur once

    @pytest.mark.parametrize("share", [0, 1, -0.1])
    def test_a_wrong_share_is_refused(self, lines, share):
        with pytest.raises(HanlineError, match="validation_share"):
            Corpus([lines], validation_share=share)

    def test_a_single_headline_cannot_be_split(self, corpus_file):
        with pytest.raises(HanlineError, match="no text for training"):
            Corpus([corpus_file("하나 뿐인 제목")]).texts(anything, anything)


class TestDropped:
    def test_counts_by_reason(self, corpus_file):
        file = corpus_file(
            "가나 너무긴낱말 A가 다라", "가나 못그림", "가나 다라 B", name="train.txt"
        )
        validation = corpus_file("바 C", name="validation.txt")
        texts = Corpus([file], [validation], max_length=4).texts(
            Charset("가나다라마바못그림").covers, lambda word: word != "못그림"
        )
        assert sorted(texts.train) == ["가나", "다라"]
        assert texts.validation == ["바"]
        assert texts.dropped == {
            "longer than 4": 1,
            "outside the charset": 3,
            "no font draws it": 1,
            "repeated": 3,
        }

    def test_nothing_left_says_why(self, corpus_file):
        file = corpus_file(*(f"ABC{i} DEFGH" for i in range(20)))
        with pytest.raises(HanlineError, match="no text for training") as error:
            Corpus([file], max_length=5).texts(Charset("가").covers, anything)
        assert file in str(error.value)
        assert "outside the charset: 40" in str(error.value)


class TestRuns:
    def test_runs_are_the_headlines_words_in_order(self, lines):
        texts = Corpus([lines], min_words=2, max_words=3, max_length=99).texts(anything, anything)
        counts = Counter()
        by_headline: dict[str, list[str]] = {}
        for text in texts.train:
            words = text.split(" ")
            counts[len(words)] += 1
            headline = words[0].split("_")[0]
            by_headline.setdefault(headline, []).extend(words)
            # A single word is what is left at a headline's end.
            assert len(words) > 1 or words[0].endswith("_4")
        assert set(counts) == {1, 2, 3}
        assert len(by_headline) == 180
        for headline, words in by_headline.items():
            assert words == [f"{headline}_{j}" for j in range(5)]

    def test_no_run_is_too_long(self, lines):
        texts = Corpus([lines], min_words=5, max_words=5, max_length=12).texts(anything, anything)
        assert max(map(len, texts.train)) <= 12
        # What would have been too long goes on in the next run.
        assert Counter(w for t in texts.train for w in t.split()).most_common(1)[0][1] == 1
        assert sum(len(t.split()) for t in texts.train) == 900

    def test_dropped_words_do_not_break_a_run(self, corpus_file):
        file = corpus_file("가 X 나 다", name="train.txt")
        other = corpus_file("라 마", name="validation.txt")
        corpus = Corpus([file], [other], min_words=3, max_words=3)
        texts = corpus.texts(Charset("가나다라마 ").covers, anything)
        assert texts.train == ["가 나 다"]

    def test_a_charset_without_a_space_has_no_runs(self, lines):
        digits = Charset("0123456789_")
        with pytest.raises(HanlineError, match="max_words is 2, but the charset has no space"):
            Corpus([lines], max_words=2).texts(digits.covers, anything)
        assert Corpus([lines], max_words=1).texts(digits.covers, anything).train

    @pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2)])
    def test_wrong_numbers_of_words_are_refused(self, lines, least, most):
        with pytest.raises(HanlineError, match=f"min_words is {least}"):
            Corpus([lines], min_words=least, max_words=most)


class TestCount:
    def test_fewer(self, lines):
        all_of_them = Corpus([lines]).texts(anything, anything)
        texts = Corpus([lines]).texts(anything, anything, 10, 7)
        assert (len(texts.train), len(texts.validation)) == (10, 7)
        assert texts.train == all_of_them.train[:10]

    def test_more_repeats_training_texts_evenly(self, lines):
        texts = Corpus([lines]).texts(anything, anything, 2000, 2000)
        assert len(texts.train) == 2000
        counts = Counter(texts.train)
        assert len(counts) == 900
        assert set(counts.values()) == {2, 3}
        # Validation is never repeated.
        assert len(texts.validation) == len(set(texts.validation)) == 100

    def test_more_cuts_runs_anew(self, lines):
        corpus = Corpus([lines], min_words=1, max_words=4, max_length=99)
        distinct = corpus.texts(anything, anything).train
        texts = corpus.texts(anything, anything, 5000)
        assert len(texts.train) == 5000
        assert len(set(texts.train)) > 1.3 * len(distinct)
        assert corpus.texts(anything, anything, 5000).train == texts.train

    @pytest.mark.parametrize("counts", [(0, None), (None, 0), (-5, None)])
    def test_none_at_all_is_refused(self, lines, counts):
        with pytest.raises(HanlineError, match="at least 1"):
            Corpus([lines]).texts(anything, anything, *counts)


class TestReadHeadlines:
    def test_normalises(self, corpus_file):
        file = corpus_file(
            "", unicodedata.normalize("NFD", "한글  제목"), " \t ", "끝\u200b에 \u3000 빈칸 "
        )
        assert list(read_headlines([file])) == ["한글 제목", "끝에 빈칸"]

    def test_bom_and_crlf(self, corpus_file):
        file = corpus_file("가나", "다라", encoding="utf-8-sig", newline="\r\n")
        assert list(read_headlines([file])) == ["가나", "다라"]

    def test_a_folder_stands_for_its_text_files(self, corpus_file, tmp_path):
        corpus_file("둘", name="b.txt")
        corpus_file("하나", name="a.txt")
        corpus_file("아님", name="c.csv")
        assert list(read_headlines([str(tmp_path)])) == ["하나", "둘"]

    def test_cp949_is_told(self, corpus_file):
        file = corpus_file("가나", "똠방각하 펲시콜라", encoding="cp949")
        with pytest.raises(HanlineError, match="not UTF-8") as error:
            list(read_headlines([file]))
        assert file in str(error.value)
        assert "iconv -f cp949" in str(error.value)

    def test_utf_16_is_told(self, corpus_file):
        with pytest.raises(HanlineError, match="not UTF-8"):
            list(read_headlines([corpus_file("가나", encoding="utf-16")]))

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(HanlineError, match=r"missing\.txt"):
            list(read_headlines([str(tmp_path / "missing.txt")]))

    def test_an_empty_folder_is_named(self, tmp_path):
        with pytest.raises(HanlineError, match=f"{tmp_path.name} holds no .txt"):
            list(read_headlines([str(tmp_path)]))

    def test_no_files_says_what_to_set(self):
        with pytest.raises(HanlineError, match=r"corpus\.files"):
            list(read_headlines([]))

    def test_an_empty_file_leaves_nothing(self, corpus_file):
        with pytest.raises(HanlineError, match="leaves no text"):
            Corpus([corpus_file("", " ")]).texts(anything, anything)


class TestEmbedded:
    def test_is_large_distinct_and_nfc(self):
        headlines = list(read_headlines(["embedded"]))
        # As many as conf/corpus/embedded.yaml says.
        assert len(set(headlines)) == len(headlines) == 3798
        assert all(unicodedata.is_normalized("NFC", headline) for headline in headlines)

    def test_stands_in_its_file_as_it_is_read(self):
        from hanline.text import corpus

        lines = corpus._EMBEDDED_FILE.read_text(encoding="utf-8").splitlines()
        assert lines == list(read_headlines(["embedded"]))

    def test_the_default_charset_has_nearly_all_of_it(self):
        texts = Corpus(["embedded"]).texts(named_charset("korean").covers, anything)
        words = len(texts.train) + len(texts.validation) + texts.dropped["repeated"]
        assert texts.dropped["outside the charset"] < 0.01 * words
        assert len(texts.train) > 2000
