import unicodedata

import pytest

from hanline.errors import HanlineError
from hanline.text.charset import named_charset
from hanline.text.normalization import normalize
from hanline_crawler.cleaning import HeadlineCleaning

ALL_OFF = {
    "entities": False,
    "tags": False,
    "broken_encodings": "keep",
    "parentheses": False,
    "square_brackets": False,
    "angle_brackets": False,
    "quotes": "keep",
    "ellipses": False,
    "emoji": False,
    "control_characters": False,
    "nfc": False,
    "white_space": False,
}

# rule, headline as a site writes it, cleaned headline
RULES = [
    ("entities", "&quot;끝까지 간다&quot; &hellip; 3&middot;1절", '"끝까지 간다" … 3·1절'),
    ("entities", "금리 &#x3D; 3.5&#37;&uarr;", "금리 = 3.5%↑"),
    ("entities", "&amp;quot;두 번&amp;quot; 감싼 R&amp;D", '"두 번" 감싼 R&D'),
    ("tags", "<b>가람전자</b>, 신공장 <strong class='x'>착공</strong>", "가람전자, 신공장 착공"),
    ("tags", "첫째 줄<br/>둘째 줄", "첫째 줄 둘째 줄"),
    ("parentheses", "누리시 예산안 통과(종합2보)", "누리시 예산안 통과"),
    ("parentheses", "다온은행(005930), 배당 (종합(2보)) 확대", "다온은행, 배당  확대"),
    ("parentheses", "미르건설（주） 착공", "미르건설 착공"),
    ("square_brackets", "[단독] 한빛당 공천 확정[속보]", " 한빛당 공천 확정"),
    ("square_brackets", "【포토】첫눈", "첫눈"),
    ("angle_brackets", "<현장> 수출길 다시 열렸다", " 수출길 다시 열렸다"),
    ("angle_brackets", "<KBS 뉴스> 오늘의 날씨", " 오늘의 날씨"),
    ("ellipses", "결국 철회...", "결국 철회…"),
    ("ellipses", "더는 못 미룬다.. 총력전······시동", "더는 못 미룬다… 총력전…시동"),
    ("ellipses", "뜻밖의 선택……왜", "뜻밖의 선택…왜"),
    ("emoji", "🔥폭염⚡ 이번 주말 고비☀️", "폭염 이번 주말 고비"),
    ("emoji", "👨‍👩‍👧 가족 나들이 1️⃣위", " 가족 나들이 1위"),
    ("control_characters", "온누리\u200b특위\ufeff 출범\x07", "온누리특위 출범"),
    ("control_characters", "솔빛\tㅡ\u3164초등학교", "솔빛 ㅡ 초등학교"),
    ("nfc", unicodedata.normalize("NFD", "가온시의회 의결"), "가온시의회 의결"),
    ("white_space", "  달빛극단\u3000 새 \xa0작품 ", "달빛극단 새 작품"),
]


@pytest.mark.parametrize(("rule", "written", "cleaned"), RULES)
def test_each_rule_alone_does_its_work_and_off_leaves_the_headline(rule, written, cleaned):
    assert HeadlineCleaning(**{**ALL_OFF, rule: True})(written) == (cleaned, None)
    assert HeadlineCleaning(**ALL_OFF)(written) == (written, None)


@pytest.mark.parametrize(
    ("written", "straight", "curly"),
    [
        ("“이제 시작” 밝힌 ‘새길당’", "\"이제 시작\" 밝힌 '새길당'", "“이제 시작” 밝힌 ‘새길당’"),
        ('"안전이 먼저" 강조', '"안전이 먼저" 강조', "“안전이 먼저” 강조"),
        ("`승부수' 던진 K's 뷰티", "'승부수' 던진 K's 뷰티", "‘승부수’ 던진 K’s 뷰티"),
        ("'24년 예산", "'24년 예산", "’24년 예산"),
    ],
)
def test_quotes_take_the_chosen_form(written, straight, curly):
    assert HeadlineCleaning(quotes="straight")(written).text == straight
    assert HeadlineCleaning(quotes="curly")(written).text == curly
    assert HeadlineCleaning(quotes="keep")(written).text == written


@pytest.mark.parametrize(
    "broken",
    [
        "가람전자 신공\ufffd\ufffd 착공",
        "\ue000\ue001 특별전",
        "한빛당 \ud800 공천",
        "가람전자 착공".encode().decode("latin-1"),  # UTF-8 read as Latin-1
        "가람전자 착공".encode("cp949").decode("latin-1"),  # EUC-KR read as Latin-1
    ],
)
def test_a_headline_in_a_broken_encoding_is_dropped(broken):
    assert HeadlineCleaning()(broken).dropped == "broken encoding"
    kept = HeadlineCleaning(broken_encodings="keep", control_characters=False)(broken)
    assert kept.dropped is None


def test_broken_characters_can_be_dropped_alone():
    clean = HeadlineCleaning(broken_encodings="drop_character")
    assert clean("가람전자 신공\ufffd장 착공\ue000") == ("가람전자 신공장 착공", None)


@pytest.mark.parametrize("fine", ["Beyoncé 내한", "Señor Ibáñez à Séoul", "㈜누리 ★ ♥ ▲ → ※ ℃"])
def test_what_only_looks_odd_stays(fine):
    assert HeadlineCleaning()(fine) == (fine, None)


def test_characters_outside_the_charset():
    charset = frozenset(named_charset("korean").characters)
    headline = "가람전자 Ω 신공장 착공"
    assert HeadlineCleaning(charset=charset)(headline) == (headline, None)
    drop_character = HeadlineCleaning(charset=charset, outside_charset="drop_character")
    assert drop_character(headline) == ("가람전자 신공장 착공", None)
    drop_headline = HeadlineCleaning(charset=charset, outside_charset="drop_headline")
    assert drop_headline(headline).dropped == "outside the charset"
    assert drop_headline("가람전자 신공장 착공").dropped is None


@pytest.mark.parametrize("nothing", ["", "  ", "[포토]", "(종합) <속보>", "\u200b", "🔥"])
def test_a_headline_of_which_nothing_is_left_is_dropped(nothing):
    assert HeadlineCleaning()(nothing).dropped == "nothing left"


@pytest.mark.parametrize("letters", ["S&LTE 출시", "M&A 무산", "3 < 5", "a(b", "끝]"])
def test_what_only_looks_like_markup_stays(letters):
    assert HeadlineCleaning()(letters) == (letters, None)


def test_a_headline_is_one_line_even_with_every_rule_off():
    assert HeadlineCleaning(**ALL_OFF)("위\r\n아래\u2028끝").text == "위 아래 끝"


@pytest.mark.parametrize("rule", ["broken_encodings", "quotes", "outside_charset"])
def test_an_unknown_choice_is_refused(rule):
    with pytest.raises(HanlineError, match=f"CLEAN_{rule.upper()}=sometimes: expected"):
        HeadlineCleaning(**{rule: "sometimes"})


@pytest.mark.parametrize(("_", "written", "__"), RULES)
def test_training_reads_what_was_crawled(_, written, __):
    cleaned = HeadlineCleaning()(written).text
    assert normalize(cleaned) == cleaned
    assert HeadlineCleaning()(cleaned).text == cleaned


def test_normalize():
    assert normalize(unicodedata.normalize("NFD", " 누리\t시 \n의회 ")) == "누리 시 의회"
    assert normalize("온\u200b누리 \u200b 특위") == "온누리 특위"
    assert normalize("\ufeff첫 줄") == "첫 줄"
    assert normalize("“따옴표” [단독] (종합)...") == "“따옴표” [단독] (종합)..."
