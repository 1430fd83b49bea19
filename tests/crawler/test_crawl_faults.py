"""Faults of a site: each headline read is kept, once, and the exit status says how it went."""

import pytest
from crawling import WORLD, expected

SECOND_OF_IT = "LIST.*sid=105.*pageNo=2"


def fault(kind, path=SECOND_OF_IT, times=1, **options):
    return {"path": path, "kind": kind, "times": times, **options}


def crawl_with(site, crawl, *faults, sections="it,world", **settings):
    site.control(faults=list(faults), **WORLD)
    return crawl("naver_section", "-a", f"sections={sections}", NEAR_REPEATS=False, **settings)


def at(section, page, kind, times=1, **options):
    """A fault of one page."""
    sid = {"it": 105, "world": 104, "culture": 103}[section]
    path = f"/section/{sid}$" if page == 1 else f"LIST.*sid={sid}.*pageNo={page}"
    return {"path": path, "kind": kind, "times": times, **options}


PASSING = {
    "errors": [
        at("it", 2, "status", times=2, status=500),
        at("world", 1, "status", status=502),
        at("culture", 3, "status", status=503, retry_after="Mon, 02 Mar 2020 00:00:00 GMT"),
    ],
    "429 with Retry-After": [at("it", 2, "status", status=429, retry_after=1)],
    "connections": [
        at("it", 2, "reset"),
        at("world", 1, "reset"),
        at("world", 3, "slow", seconds=0.5),
        at("culture", 2, "hang", seconds=3),
    ],
    "contents": [
        at("it", 2, "truncate", times=2),
        at("it", 3, "shell"),
        at("world", 1, "content_type", type="application/octet-stream"),
        at("world", 2, "content_type", type="image/png"),
        at("culture", 1, "euc_kr"),
        at("culture", 2, "euc_kr"),
    ],
}


@pytest.mark.parametrize("passing", PASSING)
def test_faults_that_pass_cost_nothing(site, crawl, passing):
    faults = PASSING[passing]
    sections = ["it", "world", "culture"]
    timeout = 1 if passing == "connections" else 10
    done = crawl_with(site, crawl, *faults, sections=",".join(sections), DOWNLOAD_TIMEOUT=timeout)
    assert done.status == 0, done.log
    assert done.lines("headlines.txt") == list(dict.fromkeys(expected(sections)))
    report = done.report()
    assert report["failures"] == [] and report["total"]["pages"] == 9
    log = site.log()
    made = [entry["fault"] for entry in log if entry["fault"]]
    assert sorted(made) == sorted(f["kind"] for f in faults for _ in range(f["times"]))
    if passing == "429 with Retry-After":
        first, second = (
            entry["time"]
            for entry in log
            if "sid=105" in entry["path"] and "pageNo=2" in entry["path"]
        )
        assert second - first > 0.9
        # Meanwhile the host is left alone, but for what was on its way.
        assert sum(first + 0.1 < entry["time"] < first + 0.9 for entry in log) <= 1


def first_page(section, per_page=WORLD["per_page"]):
    """What the first page of a section has."""
    return expected([section])[: len(expected([section])) - 2 * per_page]


LASTING = {
    "500": (fault("status", status=500, times=99), 7, "status 500"),
    "hanging": (fault("hang", seconds=2, times=99), 7, "imeout"),
    "reset": (fault("reset", times=99), 7, "could not be read"),
    "truncated JSON": (fault("truncate", times=99), 7, "not a list of articles"),
    "empty shell": (fault("shell", times=99), 5, "no headline on the page"),
    "another host": (fault("redirect", to="http://localhost:9/x"), 7, "another host"),
    "200 MB": (fault("huge", bytes=200_000_000), 7, "could not be read"),
    "200 MB announced": (fault("huge", bytes=200_000_000, announced=True), 7, "could not be read"),
}


@pytest.mark.parametrize("lasting", LASTING)
def test_a_fault_that_lasts_costs_its_section_alone(site, crawl, lasting):
    broken, status, message = LASTING[lasting]
    done = crawl_with(
        site,
        crawl,
        broken,
        RETRY_TIMES=1,
        DOWNLOAD_MAXSIZE=2_000_000,
        DOWNLOAD_TIMEOUT=1 if lasting == "hanging" else 10,
    )
    assert done.status == status, done.log
    assert "it, page 2: " in done.table and message in done.table
    before = first_page("it") + expected(["world"])
    assert done.lines("headlines.txt") == list(dict.fromkeys(before))
    (failure,) = done.report()["failures"]
    assert (failure["stream"], failure["page"]) == ("it", 2)
    assert all(entry["sent"] < 60_000_000 for entry in site.log())


def test_once_the_faults_are_over_the_next_run_goes_on_there(site, crawl):
    faults = [at("it", 2, "status", status=500, times=9), at("world", 3, "truncate", times=9)]
    assert crawl_with(site, crawl, *faults, RETRY_TIMES=0).status == 7
    site.control(**WORLD)
    again = crawl("naver_section", "-a", "sections=it,world", NEAR_REPEATS=False)
    assert again.status == 0
    assert len(site.asked()) == 3  # what was lost, and nothing else
    everything = again.lines("headlines.txt")
    assert everything == again.lines("2026-03-02.txt") == again.lines("2026-03-02.new.txt")
    assert len(everything) == len(set(everything))
    assert set(everything) == set(expected(["it", "world"]))
    total = again.report()["total"]
    assert total["pages"] == 6 and total["headlines"] == len(expected(["it", "world"]))


def test_a_changed_layout_is_an_error_and_the_page_is_kept(site, crawl):
    done = crawl_with(site, crawl, fault("layout", path="/section/105", times=9))
    assert done.status == 5
    (kept,) = (done.folder / "inspection").iterdir()
    assert str(kept) in done.table and "class='story'" in kept.read_text(encoding="utf-8")
    assert site.asked().count("/section/105") == 1
    assert done.lines("headlines.txt") == list(dict.fromkeys(expected(["world"])))


@pytest.mark.parametrize(
    ("kind", "pages", "message"),
    [("endless", 4, "3 pages in a row had no article"), ("circle", 2, "has been there before")],
)
def test_a_cursor_that_never_ends_is_told_and_left(site, crawl, kind, pages, message):
    endless = fault(kind, path="LIST.*sid=105", times=999)
    done = crawl_with(site, crawl, endless)
    assert done.status == 7 and message in done.table
    asked = [path for path in site.asked() if "105" in path]
    assert len(asked) == pages
    wanted = first_page("it") + expected(["world"])
    assert done.lines("headlines.txt") == list(dict.fromkeys(wanted))


def test_more_pages_than_any_section_has_end_the_section(site, crawl):
    done = crawl_with(site, crawl, sections="it", SECTION_PAGES_MAX=2)
    assert done.status == 7 and "more than 2 pages" in done.table
    assert done.report()["total"]["pages"] == 2


def test_a_host_that_wants_to_be_left_alone_for_long_is_asked_no_more(site, crawl):
    done = crawl_with(
        site,
        crawl,
        fault("status", path="/section/105", status=503, retry_after=3600),
        CONCURRENT_REQUESTS=1,
    )
    assert done.status == 7
    assert site.asked() == ["/section/105"]
    assert "asks to be left alone for 3600 seconds" in done.table


def test_a_redirect_within_the_host_is_followed(site, crawl):
    moved = fault("redirect", path="/section/105", to=f"{site.address}/section/105?moved")
    done = crawl_with(site, crawl, moved)
    assert done.status == 0
    assert set(done.lines("headlines.txt")) == set(expected(["it", "world"]))


def test_nothing_listening_is_an_error(crawl):
    done = crawl("naver_section", "-a", "sections=it", NAVER_NEWS_URL="http://127.0.0.1:9")
    assert done.status == 7 and "it, page 1: the page could not be read" in done.table
