import itertools
import re
from datetime import datetime

import pytest
from crawling import WORLD, expected, run_crawl, shown

from hanline_crawler.cleaning import HeadlineCleaning
from news_site.news import SECTIONS


@pytest.fixture(scope="module")
def whole(running_site, tmp_path_factory):
    """A crawl of all sections, and what the site was asked."""
    running_site.control(robots="allow", **WORLD)
    folder = tmp_path_factory.mktemp("whole") / "headlines"
    done = run_crawl(running_site, folder, "naver_section", NEAR_REPEATS=False, PROGRESS_SECONDS=0)
    return done, running_site.log()


def test_every_headline_of_every_section_once_in_order(whole):
    done, _ = whole
    assert done.status == 0, done.log
    headlines = expected()
    distinct = list(dict.fromkeys(headlines))
    assert len(distinct) < len(headlines)  # there are clusters, and articles in two sections
    for name in ("2026-03-02.txt", "2026-03-02.new.txt", "headlines.txt"):
        assert done.lines(name) == distinct
    assert [item["headline"] for item in done.items()] == distinct
    report = done.report()
    assert report["outcome"] == "complete" and report["exit_status"] == 0
    assert report["total"] == {
        "pages": 18,
        "headlines": len(headlines),
        "new": len(distinct),
        "repeats": len(headlines) - len(distinct),
        "near": 0,
        "dropped": {},
    }
    assert list(report["sections"]) == list(SECTIONS)
    rows = re.findall(r"│ (\w+) +│ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │", done.table)
    assert [row[0] for row in rows] == [*SECTIONS, "all"]
    assert [int(n) for n in rows[-1][1:]] == list(report["total"].values())[:5]
    assert len(rows) == 7 and all(int(row[1]) == 3 for row in rows[:-1])
    assert not list((done.folder / "jobs").iterdir())  # a finished job leaves nothing


def test_an_item_says_all_of_its_headline(whole):
    items = [item for item in whole[0].items() if item["section"] == "culture"]
    assert len(items) > 15
    articles = {f"https://n.news.naver.com{a.address}": a for a in shown("culture")}
    now = datetime.fromisoformat("2026-03-02T09:00:00+09:00")
    for item in items:
        article = articles[item["url"]]
        assert item["headline"] == HeadlineCleaning()(article.title).text
        assert item["publisher"] == article.publisher
        assert item["article_id"] == "/".join(article.address.split("/")[-2:])
        assert (item["section"], item["source"]) == ("culture", "naver_section")
        assert item["crawled"] == "2026-03-02T00:00:00+00:00"
        age = now - datetime.fromisoformat(item["published"])
        exact = 3600 if article.age.days == 0 else 86_400  # «3시간전», «2일전» say no more
        assert abs((age - article.age).total_seconds()) <= exact
        assert item["published"].endswith("+09:00")
    assert len({item["published"] for item in items}) > 3


def test_the_cursor_is_followed_with_a_referer_from_the_section(site, whole):
    _, log = whole
    more = [entry for entry in log if "SECTION_ARTICLE_LIST" in entry["path"]]
    assert len(more) == 12 and len(log) == 18
    for entry in more:
        sid = re.search(r"sid=(\d+)", entry["path"])[1]
        assert entry["referer"] == f"{site.address}/section/{sid}"
        assert re.search(r"next=2026030\d{7}", entry["path"])


def test_sections_are_those_that_are_named_in_their_order(site, crawl):
    done = crawl("naver_section", "-a", "sections=it, politics", "-a", "pages=1", CONTACT="")
    assert done.status == 0 and "CONTACT is empty" in done.log
    assert list(done.report()["sections"]) == ["it", "politics"]
    assert done.report()["total"]["pages"] == len(site.asked()) == 2


def test_progress_is_told_in_lines_where_there_is_no_terminal(whole):
    assert re.search(r"INFO: 2 pages, \d+ headlines, \w+ page [12]\n", whole[0].log)


def test_the_user_agent_is_honest_and_says_whom_to_write_to(whole):
    done, log = whole
    assert {e["user_agent"] for e in log} == {"hanline-headlines/0.1 (+tests@localhost)"}
    assert "CONTACT is empty" not in done.log


def test_the_next_day_only_new_headlines_are_new(site, crawl):
    first = crawl()
    site.control(day=2, **WORLD)
    second = crawl(HEADLINES_CLOCK="2026-03-03T09:00:00+09:00")
    assert second.status == 0
    today, new = second.lines("2026-03-03.txt"), second.lines("2026-03-03.new.txt")
    yesterday = set(first.lines("2026-03-02.txt"))
    assert 0 < len(new) < len(today) and set(new) < set(today)
    assert not set(new) & yesterday
    assert set(today) - set(new) <= yesterday | {
        item["headline"] for item in second.items("2026-03-03")
    }
    assert second.lines("headlines.txt") == first.lines("2026-03-02.txt") + new
    total = second.report()["total"]
    assert total["new"] == len(new)
    assert total["headlines"] == total["new"] + total["repeats"] + total["near"]


def test_two_runs_a_day_add_to_the_days_files(site, crawl):
    morning = crawl("naver_section", "-a", "sections=it").lines("2026-03-02.txt")
    evening = crawl(
        "naver_section", "-a", "sections=it,world", HEADLINES_CLOCK="2026-03-02T21:00:00+09:00"
    )
    both = evening.lines("2026-03-02.txt")
    assert both[: len(morning)] == morning and len(both) > len(morning)
    assert both == evening.lines("2026-03-02.new.txt") == evening.lines("headlines.txt")
    assert len(set(both)) == len(both)
    times = [item["crawled"] for item in evening.items()]
    assert times == sorted(times) and len(set(times)) == 2


def test_near_repeats_can_be_off_and_cleaning_rules_too(site, crawl):
    assert crawl("naver_section", "-a", "sections=it").report()["total"]["near"] > 0
    done = crawl(
        "naver_section",
        "-a",
        "sections=it",
        HEADLINES_CLOCK="2026-03-03T09:00:00+09:00",
        NEAR_REPEATS=False,
        CLEAN_SQUARE_BRACKETS=False,
        CLEAN_QUOTES="curly",
    )
    wanted = expected(["it"], square_brackets=False, quotes="curly")
    assert done.lines("2026-03-03.txt") == list(dict.fromkeys(wanted))
    assert any(line.startswith("[단독]") for line in wanted) and any("“" in x for x in wanted)


def test_what_is_dropped_stands_in_the_table_by_reason(site, crawl):
    done = crawl(
        "naver_section",
        "-a",
        "sections=it",
        CLEAN_OUTSIDE_CHARSET="drop_headline",
        CLEAN_CHARSET="dtrb_94",
    )
    total = done.report()["total"]
    # A charset without Hangul leaves nothing of Korean news.
    assert total["dropped"] == {"outside the charset": total["headlines"]}
    assert "dropped: outside the charset" in done.table


def test_robots_txt_is_obeyed_and_the_run_says_so(site, crawl):
    site.control(robots="refuse", **WORLD)
    done = crawl(ROBOTSTXT_OBEY=True)
    assert done.status == 4
    assert site.asked() == ["/robots.txt"]
    for way in ("robots.txt refuses", "naver_api", "rss", "ROBOTSTXT_OBEY=False"):
        assert way in done.table and way in done.log
    assert done.report()["outcome"] == "robots_refused"
    assert not (done.folder / "headlines.txt").exists()


def test_robots_txt_that_cannot_be_read_refuses_and_a_missing_one_allows(site, crawl):
    site.control(robots="error", **WORLD)
    done = crawl(ROBOTSTXT_OBEY=True, RETRY_TIMES=1)
    assert done.status == 4 and "could not be read: status 503" in done.table
    assert set(site.asked()) == {"/robots.txt"}
    site.control(robots="missing", **WORLD)
    done = crawl("naver_section", "-a", "sections=it", ROBOTSTXT_OBEY=True)
    assert done.status == 0
    assert site.asked()[0] == "/robots.txt" and len(site.asked()) == 4


def test_requests_keep_their_distance(site, crawl):
    crawl("naver_section", "-a", "sections=it", DOWNLOAD_DELAY=0.3, AUTOTHROTTLE_MAX_DELAY=1)
    times = [entry["time"] for entry in site.log()]
    assert len(times) == 3
    # Scrapy spreads the delay between a half and one and a half.
    assert all(later - earlier > 0.14 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ("sections=politics,sport", {}, "expected some of politics, economy"),
        ("pages=none", {}, "expected a number"),
        ("sections=it", {"CLEAN_CHARSET": "klingon"}, "no charset named 'klingon'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_fetched(
    site, crawl, arguments, settings, message
):
    done = crawl("naver_section", "-a", arguments, **settings)
    assert done.status == 2
    assert message in done.log and "Traceback" not in done.log
    assert site.asked() == []
