import hashlib
import string
import unicodedata

import pytest

from hanline.errors import HanlineError
from hanline.text.charset import Charset, charset_file, corpus_charset, named_charset

NAMES = ["korean", "easyocr_korean_g2", "dtrb_36", "dtrb_94"]
PRINTABLE_ASCII = "".join(chr(code) for code in range(0x20, 0x7F))
# KS X 1001 keeps its syllables in rows 16 to 40; EUC-KR writes a row and a column as two bytes.
KS_X_1001 = [
    bytes([row, column]).decode("euc_kr")
    for row in range(0xB0, 0xC9)
    for column in range(0xA1, 0xFF)
]


class TestNamed:
    @pytest.mark.parametrize(
        ("name", "size"), [("easyocr_korean_g2", 1008), ("dtrb_36", 36), ("dtrb_94", 94)]
    )
    def test_sizes(self, name, size):
        assert len(named_charset(name)) == size

    @pytest.mark.parametrize("name", NAMES)
    def test_characters_are_single_nfc_and_no_white_space_but_the_space(self, name):
        characters = named_charset(name).characters
        assert len(set(characters)) == len(characters)
        assert unicodedata.normalize("NFC", characters) == characters
        assert [c for c in characters if c.isspace() and c != " "] == []
        assert [c for c in characters if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn")] == []

    def test_korean_has_the_syllables_of_ks_x_1001_in_their_order(self):
        assert len(KS_X_1001) == 2350
        characters = named_charset("korean").characters
        assert [c for c in characters if "가" <= c <= "힣"] == KS_X_1001

    def test_korean_begins_with_ascii(self):
        assert named_charset("korean").characters.startswith(PRINTABLE_ASCII)

    @pytest.mark.parametrize("character", "…·“”‘’↑↓→㎡%尹李與野美中日北檢靑")
    def test_korean_has_what_headlines_use(self, character):
        assert character in named_charset("korean")

    def test_dtrb(self):
        assert named_charset("dtrb_36").characters == string.digits + string.ascii_lowercase
        # DTRB's own words: string.printable[:-6]
        assert named_charset("dtrb_94").characters == string.printable[:-6]

    def test_easyocr_is_that_of_its_release(self):
        # Of easyocr 1.7.2 on PyPI: config.py, recognition_models["gen2"]["korean_g2"].
        digest = hashlib.sha256(named_charset("easyocr_korean_g2").characters.encode()).hexdigest()
        assert digest == "426ab12b9217f783e012c406457a7ed6741d9b980e781a146e0a02eee5e1a992"

    def test_an_unknown_name_lists_those_there_are(self):
        with pytest.raises(HanlineError, match="'koraen'") as error:
            named_charset("koraen")
        assert all(name in str(error.value) for name in NAMES)


class TestCharset:
    def test_keeps_the_order(self):
        charset = Charset("나 가A…")
        assert charset.characters == "나 가A…"
        assert [charset.index[c] for c in "나 가A…"] == [0, 1, 2, 3, 4]
        assert len(charset) == 5

    def test_order_makes_another_charset(self):
        assert Charset("가나") != Charset("나가")
        assert Charset("가나") == Charset("가나")
        assert len({Charset("가나"), Charset("가나"), Charset("나가")}) == 2

    @pytest.mark.parametrize("special", [*"]\\^-[.*$(|", "]\\^-"])
    def test_special_characters_are_ordinary_ones(self, special):
        charset = Charset("ab" + special)
        assert charset.covers("a" + special + "b")
        assert not charset.covers("a" + special + "c")
        # In a regular expression a-z or ^a would mean others than these.
        without = Charset("az")
        assert not any(without.covers(c) for c in special)
        assert not Charset("a-z").covers("m")
        assert Charset("^a").covers("a^")

    def test_covers(self):
        charset = Charset("가나 ")
        assert charset.covers("가 나")
        assert charset.covers("")
        assert not charset.covers("가\t나")
        # The same syllable as two letters.
        assert not charset.covers(unicodedata.normalize("NFD", "가"))

    def test_repeats_are_refused_and_named(self):
        with pytest.raises(HanlineError, match="'나b' more than once"):
            Charset("가나나bcb")

    def test_none_is_refused(self):
        with pytest.raises(HanlineError, match="empty"):
            Charset("")

    def test_what_nfc_writes_otherwise_is_refused(self):
        with pytest.raises(HanlineError, match=r"U\+F9E1"):
            Charset("가\uf9e1")  # 李 as a compatibility character


class TestCharsetFile:
    def test_every_character_but_line_ends_counts(self, tmp_path):
        file = tmp_path / "c.txt"
        file.write_bytes("나가\r\n ]\\^-\nA\n\n".encode())
        assert charset_file(file).characters == "나가 ]\\^-A"

    def test_with_bom(self, tmp_path):
        file = tmp_path / "c.txt"
        file.write_text("나가", encoding="utf-8-sig")
        assert charset_file(str(file)).characters == "나가"

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("가나가".encode(), "'가' more than once"),
            (b"", "empty"),
            (b"\xef\xbb\xbf\r\n", "empty"),
            ("가나".encode("cp949"), "utf-8"),
            (unicodedata.normalize("NFD", "가나").encode(), "more than once"),
        ],
    )
    def test_errors_name_the_file(self, tmp_path, content, why):
        file = tmp_path / "mine.txt"
        file.write_bytes(content)
        with pytest.raises(HanlineError, match=why) as error:
            charset_file(file)
        assert str(file) in str(error.value)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(HanlineError, match=r"missing\.txt"):
            charset_file(tmp_path / "missing.txt")


class TestCorpusCharset:
    def test_is_what_occurs_in_unicodes_order(self, tmp_path):
        (tmp_path / "a.txt").write_text("나라 B\n가나\n", encoding="utf-8")
        (tmp_path / "b.txt").write_text(
            unicodedata.normalize("NFD", "한…") + "\n", encoding="utf-8"
        )
        assert corpus_charset([str(tmp_path)]).characters == " B…가나라한"

    def test_of_the_embedded_corpus(self):
        charset = corpus_charset(["embedded"])
        assert charset.covers("국회 …")
        assert named_charset("korean").covers(charset.characters)
        assert 600 < len(charset) < len(named_charset("korean"))
