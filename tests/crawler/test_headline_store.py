import sqlite3
from collections import Counter

import pytest

from hanline.errors import HanlineError
from hanline_crawler.items import Headline, Page
from hanline_crawler.near_repeats import likeness, outline
from hanline_crawler.store import Store
from news_site.news import SECTIONS, News

DAY, NEXT_DAY = "2026-03-02", "2026-03-03"


def page(*headlines, stream="it", number=1, dropped=None):
    items = [Headline(text, stream, "가람일보", "", "", None, "", "test") for text in headlines]
    return Page(stream, number, items, None, dropped=dropped or {})


def texts(store, day, only_new=False):
    return [item["headline"] for item in store.day_items(day, only_new)]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "headlines.sqlite", 90.0) as store:
        yield store


def test_exact_repeats_within_a_run_and_against_earlier_days(store):
    store.settle("one", DAY, [page("가 나 다", "라 마 바", "가 나 다"), page("라 마 바", number=2)])
    assert texts(store, DAY) == ["가 나 다", "라 마 바"]
    store.settle("two", NEXT_DAY, [page("사 아 자", "라 마 바", dropped={"nothing left": 2})])
    assert texts(store, NEXT_DAY) == ["사 아 자", "라 마 바"]
    assert texts(store, NEXT_DAY, only_new=True) == ["사 아 자"]
    assert list(store.all_headlines()) == ["가 나 다", "라 마 바", "사 아 자"]
    counts = store.counts("two")["it"]
    assert (counts.pages, counts.headlines, counts.new, counts.repeats) == (1, 4, 1, 1)
    assert counts.dropped == {"nothing left": 2}


def test_a_second_run_adds_to_the_day(store):
    store.settle("morning", DAY, [page("가 나 다", "라 마 바")])
    store.settle("evening", DAY, [page("사 아 자", "가 나 다")])
    assert (
        texts(store, DAY)
        == texts(store, DAY, only_new=True)
        == ["가 나 다", "라 마 바", "사 아 자"]
    )


FIRST, VARIANT, THIRD = (
    "해솔병원이 공공병원 착공을 다시 연기",
    "해솔병원은 공공병원 착공을 다시 연기",
    "해솔병원이 공공병원 착공을, 다시 연기",
)


def test_near_repeats_within_a_run_and_of_an_earlier_day(store):
    store.settle("one", DAY, [page(FIRST, VARIANT)])
    assert texts(store, DAY) == [FIRST]
    assert store.counts("one")["it"].near == 1
    store.settle("two", NEXT_DAY, [page(THIRD, VARIANT, FIRST)])
    # The day has the headline once, in the wording that came first that day; it is not new.
    assert texts(store, NEXT_DAY) == [THIRD]
    assert texts(store, NEXT_DAY, only_new=True) == []
    counts = store.counts("two")["it"]
    assert (counts.new, counts.near, counts.repeats) == (0, 1, 2)
    assert list(store.all_headlines()) == [FIRST]


@pytest.mark.parametrize(("threshold", "kept"), [(None, 3), (99.0, 2), (90.0, 1)])
def test_near_repeats_follow_the_threshold_and_can_be_off(tmp_path, threshold, kept):
    with Store(tmp_path / "headlines.sqlite", threshold) as store:
        store.settle("one", DAY, [page(FIRST, VARIANT, THIRD)])
        assert len(texts(store, DAY)) == kept


def test_headlines_taken_in_while_near_repeats_were_off_are_found_once_they_are_on(tmp_path):
    with Store(tmp_path / "headlines.sqlite", None) as store:
        store.settle("one", DAY, [page(FIRST)])
    with Store(tmp_path / "headlines.sqlite", 90.0) as store:
        store.settle("two", NEXT_DAY, [page(VARIANT)])
        assert store.counts("two")["it"].near == 1


def test_the_index_finds_what_comparing_each_with_each_finds(store):
    articles = News(pages=3).articles("it") + News(pages=2).articles("economy")
    headlines = list(dict.fromkeys(article.title for article in articles))
    kept = []
    for headline in headlines:
        this = outline(headline)
        if not any(likeness(this, other, 90) for other in kept):
            kept.append(this)
    store.settle("one", DAY, [page(*headlines)])
    counts = store.counts("one")["it"]
    assert counts.near == len(headlines) - len(kept) > 3


def test_no_headline_depends_on_how_many_are_taken_in_at_once(tmp_path, monkeypatch):
    headlines = [a.title for section in SECTIONS for a in News(pages=1).articles(section)]
    found = []
    for chunk in (1, 7, 10_000):
        monkeypatch.setattr("hanline_crawler.store._CHUNK", chunk)
        with Store(tmp_path / f"{chunk}.sqlite", 90.0) as store:
            store.settle("one", DAY, [page(*headlines)])
            found.append((texts(store, DAY), store.counts("one")))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) > 150


def test_what_was_settled_is_not_settled_again(store):
    store.settle("job", DAY, [page("가 나 다"), page("라 마 바", number=2)])
    assert store.settled_pages("job", "it") == 2
    assert store.settled_pages("job", "world") == store.settled_pages("other", "it") == 0
    store.settle("job", DAY, [page("사 아 자", number=3)])
    assert store.settled_pages("job", "it") == 3
    assert store.counts("job")["it"].new == 3


def test_settling_is_all_or_nothing(store, monkeypatch):
    monkeypatch.setattr("hanline_crawler.store._CHUNK", 1)

    def pages():
        yield page("가 나 다", "라 마 바")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.settle("job", DAY, pages())
    assert list(store.all_headlines()) == texts(store, DAY) == []
    assert store.settled_pages("job", "it") == 0


def test_nobody_writes_while_another_settles(store, tmp_path):
    other = sqlite3.connect(tmp_path / "headlines.sqlite", timeout=0.05, isolation_level=None)
    with store.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_taken_over_headlines_have_their_days_and_keep_near_repeats(store):
    with store.transaction():
        new = store.add_texts([(FIRST, ""), (VARIANT, DAY), (FIRST, DAY)])
    assert new == {FIRST: "", VARIANT: DAY}
    assert texts(store, DAY) == [VARIANT]
    store.settle("one", NEXT_DAY, [page(FIRST, "사 아 자", THIRD)])
    assert texts(store, NEXT_DAY, only_new=True) == ["사 아 자"]


def test_the_quota_is_counted_by_day_and_key(store):
    assert [store.count_api_call(DAY, "a", 2) for _ in range(3)] == [True, True, False]
    assert store.count_api_call(DAY, "b", 2)
    assert store.count_api_call(NEXT_DAY, "a", 2)


def test_what_is_no_store_is_refused(tmp_path):
    path = tmp_path / "headlines.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(HanlineError, match="cannot open the store"):
        Store(path, None)


def test_a_store_of_another_version_is_refused(tmp_path):
    path = tmp_path / "headlines.sqlite"
    Store(path, None).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(HanlineError, match="version 99"):
        Store(path, None)


def test_headlines_with_one_hash_stay_apart(store, monkeypatch):
    monkeypatch.setattr("hanline_crawler.store.text_hash", lambda text: 7)
    store.settle("one", DAY, [page("가 나 다", "라 마 바", "가 나 다")])
    store.settle("two", DAY, [page("라 마 바", "사 아 자")])
    assert texts(store, DAY) == ["가 나 다", "라 마 바", "사 아 자"]


def test_the_same_item_first_is_the_one_that_is_kept(store):
    first, second = page("가 나 다", stream="it"), page("가 나 다", stream="world")
    store.settle("one", DAY, [first, second])
    assert [item["section"] for item in store.day_items(DAY)] == ["it"]
    assert Counter({name: c.new for name, c in store.counts("one").items()}) == {
        "it": 1,
        "world": 0,
    }
