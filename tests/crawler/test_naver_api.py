import re

import pytest

from hanline_crawler.cleaning import HeadlineCleaning
from news_site.news import SECTIONS, News

QUERY = "가온"


def found(word, pages=40):
    news = News(pages=pages, per_page=8)
    articles = [a for section in SECTIONS for a in news.articles(section) if word in a.title]
    return sorted(articles, key=lambda article: article.age)


def starts(site):
    return [int(re.search(r"start=(\d+)", path)[1]) for path in site.asked()]


def test_all_results_of_all_queries(site, crawl):
    site.control(pages=40, per_page=8, robots="refuse")
    done = crawl(
        "naver_api", "-a", f"queries={QUERY},다솜", NEAR_REPEATS=False, ROBOTSTXT_OBEY=True
    )
    assert done.status == 0, done.log
    clean = HeadlineCleaning()
    wanted = [clean(a.title).text for word in (QUERY, "다솜") for a in found(word)]
    assert len(wanted) > 200
    assert done.lines("headlines.txt") == list(dict.fromkeys(wanted))
    assert not any("<b>" in line or "&" in line for line in done.lines("headlines.txt"))
    # The API is for programs: robots.txt is not asked, and pages are of 100.
    assert "/robots.txt" not in site.asked()
    pages = [n for word in (QUERY, "다솜") for n in range(1, len(found(word)) + 1, 100)]
    assert sorted(starts(site)) == sorted(pages) and len(pages) > 4
    item = done.items()[0]
    article = found(QUERY)[0]
    assert item["article_id"] == "/".join(article.address.split("/")[-2:])
    assert item["publisher"] == f"press{article.office}.example"
    assert (item["section"], item["source"]) == (QUERY, "naver_api")
    assert item["published"].endswith("+09:00")


def test_queries_from_a_file(site, crawl, tmp_path):
    file = tmp_path / "queries.txt"
    file.write_text("\ufeff가온\n\n다솜\n가온\n", encoding="utf-8")
    done = crawl("naver_api", "-a", f"queries_file={file}", NAVER_API_DISPLAY=10)
    assert done.status == 0
    assert list(done.report()["sections"]) == ["가온", "다솜"]


def test_no_more_than_a_thousand_results_are_asked_for(site, crawl):
    site.control(pages=40, per_page=36)
    done = crawl("naver_api", "-a", "queries= 억원")  # in one of seven headlines
    assert done.status == 0
    assert starts(site) == list(range(1, 1001, 100))
    assert done.report()["total"]["headlines"] == 1000


@pytest.mark.parametrize("missing", ["NAVER_CLIENT_ID", "NAVER_CLIENT_SECRET"])
def test_without_keys_nothing_is_asked(site, crawl, missing):
    done = crawl("naver_api", "-a", f"queries={QUERY}", environment={missing: ""})
    assert done.status == 3
    assert "NAVER_CLIENT_ID and NAVER_CLIENT_SECRET" in done.log
    assert "Traceback" not in done.log and site.asked() == []


def test_refused_keys_end_the_run_at_once(site, crawl):
    done = crawl(
        "naver_api",
        "-a",
        "queries=가온,다솜,누리,라온,보담",
        environment={"NAVER_CLIENT_SECRET": "wrong"},
        CONCURRENT_REQUESTS=1,
        DOWNLOAD_DELAY=0.5,
        AUTOTHROTTLE_MAX_DELAY=0.5,
    )
    assert done.status == 3
    assert len(site.asked()) <= 2  # one may be on its way when the first is refused
    assert "401: Authentication failed (024)" in done.table
    assert "wrong" not in done.log + done.table


def test_the_daily_quota_holds_over_runs(site, crawl):
    queries = ["-a", "queries=가온,다솜,누리"]
    first = crawl("naver_api", *queries, NAVER_API_DAILY_CALLS=2, CONCURRENT_REQUESTS=1)
    assert first.status == 6 and len(site.asked()) == 2
    assert "2 calls of this key are used up" in first.table
    assert first.report()["total"]["pages"] == 2  # and what was read is stored
    second = crawl("naver_api", *queries, NAVER_API_DAILY_CALLS=2)
    assert second.status == 6 and len(site.asked()) == 2
    next_day = crawl("naver_api", *queries, HEADLINES_CLOCK="2026-03-03T09:00:00+09:00")
    assert next_day.status == 0 and len(site.asked()) == 5


def test_too_fast_is_heard_and_waited_for(site, crawl):
    site.control(faults=[{"path": "search", "kind": "status", "status": 429, "retry_after": 1}])
    done = crawl("naver_api", "-a", f"queries={QUERY}")
    assert done.status == 0
    first, second, *_ = (entry["time"] for entry in site.log())
    assert second - first > 0.9
    assert starts(site)[:2] == [1, 1]
    site.control(faults=[{"path": "search", "kind": "status", "status": 429, "times": 9}])
    done = crawl("naver_api", "-a", "queries=누리", folder=done.folder.with_name("always"))
    assert done.status == 6 and "429" in done.table


def test_a_bad_request_costs_its_query_alone(site, crawl):
    site.control(faults=[{"path": "start=1&", "kind": "status", "status": 400}])
    done = crawl("naver_api", "-a", f"queries=누리,{QUERY}", CONCURRENT_REQUESTS=1)
    assert done.status == 7
    assert "누리, page 1: the API answers 400" in done.table
    assert list(done.report()["sections"]) == [QUERY]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"NAVER_API_DISPLAY": 101}, "expected 1 to 100"),
        ({"NAVER_API_SORT": "best"}, "expected date or sim"),
    ],
)
def test_settings_beyond_the_api_are_refused(site, crawl, settings, message):
    done = crawl("naver_api", "-a", f"queries={QUERY}", **settings)
    assert done.status == 2 and message in done.log and site.asked() == []


def test_without_queries_it_says_how_to_name_them(site, crawl):
    done = crawl("naver_api")
    assert done.status == 2 and "-a queries=" in done.log
