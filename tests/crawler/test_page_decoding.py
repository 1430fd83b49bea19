import pytest

from hanline_crawler.decoding import decoded

TEXT = "가람은행 '청년주택' 확대…87억원 들인다"


@pytest.mark.parametrize("announced", [None, "utf-8", "euc-kr", "iso-8859-1", "no-such-encoding"])
@pytest.mark.parametrize("sent", ["utf-8", "cp949", "utf-8-sig"])
def test_the_bytes_decide_and_not_the_headers(sent, announced):
    assert decoded(TEXT.encode(sent), announced) == TEXT


def test_one_broken_byte_does_not_change_the_encoding():
    body = bytearray((TEXT * 20).encode())
    body[100] = 0xFF
    text = decoded(bytes(body))
    assert "\ufffd" in text and text.count("청년주택") >= 18


def test_another_encoding_is_read_where_it_is_announced():
    assert decoded("ニュース速報、新幹線が全線再開".encode("shift_jis"), "shift_jis").startswith(
        "ニュース"
    )
