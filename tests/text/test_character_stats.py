import unicodedata

import pytest

from hanline.text.character_stats import (
    CLASSES,
    FREQUENT,
    RARE,
    character_class,
    count_classes,
)
from hanline.text.charset import named_charset


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("가이다한의", FREQUENT),
        ("뷁쀍힣갃", RARE),
        ("0123456789", "digits"),
        ("azAZ", "Latin"),
        ("女韓美一", "Hanja"),
        (" \t\u3000", "spaces"),
        # Letters alone, circled, wide and accented ones are read as signs are: by their look.
        ("·…'\"%㎡→ㄱㅎ①Å％🎉\u00ad", "signs"),
    ],
)
def test_classes(characters, name):
    assert {character_class(c) for c in characters} == {name}


def test_every_character_of_a_charset_has_a_class():
    counts = count_classes(named_charset("korean").characters)
    assert set(counts) == set(CLASSES)
    assert sum(counts.values()) == len(named_charset("korean"))
    assert min(counts.values()) >= 1
    assert min(counts[RARE], counts[FREQUENT]) > 500
    assert counts["digits"] == 10
    assert counts["Latin"] == 52


def test_compatibility_ideographs_are_hanja_as_text_has_them():
    assert character_class(unicodedata.normalize("NFC", "\uf9b6")) == "Hanja"


def test_counts_over_all_texts():
    assert count_classes(["가나 12", "", "A가·女"]) == {
        FREQUENT: 3,
        RARE: 0,
        "digits": 2,
        "Latin": 1,
        "Hanja": 1,
        "spaces": 1,
        "signs": 1,
    }
    assert list(count_classes([])) == list(CLASSES)
    assert not any(count_classes([]).values())
