from itertools import pairwise

from hanline.synthesis.fonts import bundled_files
from news_site.news import CAPTION_FONTS, LATER_WORDS_FROM, SECOND_FONT_FROM, SECTIONS, News


def letters(day):
    news = News(day, pages=5)
    return {c for section in SECTIONS for a in news.articles(section) for c in a.title}


def test_some_letters_appear_only_from_the_fourth_day_on():
    before = set().union(*(letters(day) for day in range(1, LATER_WORDS_FROM)))
    after = set().union(*(letters(day) for day in range(LATER_WORDS_FROM, LATER_WORDS_FROM + 3)))
    assert LATER_WORDS_FROM == 4 and {"뗏", "쐐", "뮬"} <= after - before


def test_an_article_keeps_its_headline_on_later_days():
    days = [
        {a.address: a.title for section in SECTIONS for a in News(day, 3).articles(section)}
        for day in range(1, 8)
    ]
    for today, tomorrow in pairwise(days):
        both = today.keys() & tomorrow.keys()
        assert len(both) > 50
        assert all(today[address] == tomorrow[address] for address in both)


def test_the_captions_have_another_bundled_font_from_the_sixth_day_on():
    fonts = [News(day).caption_font for day in range(1, 9)]
    assert SECOND_FONT_FROM == 6 and fonts == [CAPTION_FONTS[0]] * 5 + [CAPTION_FONTS[1]] * 3
    assert set(CAPTION_FONTS) <= {path.name for path in bundled_files()}
