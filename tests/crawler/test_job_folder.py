import pytest

from hanline.errors import HanlineError
from hanline_crawler.items import Headline, Page
from hanline_crawler.job import Job, Position, job_name


def job(folder, streams=("it", "world"), spider="naver_section", day="2026-03-02"):
    return Job(folder, spider, streams, day, f"{day}T00:00:00+00:00")


def page(number, *addresses, stream="it", following="more", dropped=None):
    items = [Headline(a, stream, "", a, "", None, "", "test") for a in addresses]
    following = {"cursor": following} if following else None
    return Page(stream, number, items, following, list(addresses), dropped or {})


def test_a_job_goes_on_where_its_folder_says(tmp_path):
    first = job(tmp_path)
    assert first.position("it") == Position(0, None)
    first.keep(page(1, "a", "b"))
    first.keep(page(2, "c", following=None))
    first.keep(page(1, "d", stream="world", dropped={"nothing left": 1}))
    first.close()
    again = job(tmp_path, day="2026-03-03")
    assert (again.id, again.day, again.started) == (first.id, "2026-03-02", first.started)
    assert again.position("it") == Position(2, None) and again.position("it").ended
    assert again.position("world") == Position(1, {"cursor": "more"})
    assert not again.ended()
    pages = list(again.pages(lambda stream: 1 if stream == "it" else 0))
    assert [(p.stream, p.number) for p in pages] == [("it", 2), ("world", 1)]
    assert pages[1].dropped == {"nothing left": 1} and pages[1].headlines[0].headline == "d"
    again.keep(page(2, "e", stream="world", following=None))
    assert again.ended() and again.page_count() == 4


def test_the_order_is_that_of_the_streams_and_not_of_arrival(tmp_path):
    kept = job(tmp_path)
    for number, stream in ((1, "world"), (1, "it"), (2, "world"), (2, "it")):
        kept.keep(page(number, f"{stream}{number}", stream=stream))
    order = [(p.stream, p.number) for p in kept.pages(lambda stream: 0)]
    assert order == [("it", 1), ("it", 2), ("world", 1), ("world", 2)]


def test_a_page_comes_once_and_in_its_turn(tmp_path):
    kept = job(tmp_path)
    kept.keep(page(1, "a"))
    for number in (1, 3):
        with pytest.raises(ValueError, match=f"page {number} of it came after page 1"):
            kept.keep(page(number, "b"))
    kept.keep(page(2, "b"))
    assert kept.page_count() == 2


def test_lists_that_go_in_a_circle_are_told(tmp_path):
    kept = job(tmp_path)
    kept.keep(page(1, "a", "b", following="x"))
    kept.keep(page(2, "b", "c", following="y"))
    assert kept.stale_pages("it") == 0
    kept.keep(page(3, "a", "c", following="z"))
    kept.keep(page(4, "b", following="w"))
    assert kept.stale_pages("it") == 2
    assert kept.fresh("it", ["a", "n"]) == {"n"}
    assert kept.fresh("world", ["a"]) == {"a"}
    assert kept.led_to("it", {"cursor": "y"})
    assert not kept.led_to("it", {"cursor": "v"}) and not kept.led_to("world", {"cursor": "y"})


def test_two_runs_cannot_work_in_one_folder(tmp_path):
    first = job(tmp_path)
    with pytest.raises(HanlineError, match="another crawl is at work"):
        job(tmp_path)
    first.close()
    job(tmp_path).close()


@pytest.mark.parametrize("other", [{"streams": ("it",)}, {"spider": "rss"}])
def test_an_unfinished_job_is_not_mixed_with_another(tmp_path, other):
    first = job(tmp_path)
    first.keep(page(1, "a"))
    first.close()
    with pytest.raises(HanlineError, match="unfinished crawl of naver_section: it, world"):
        job(tmp_path, **other)


def test_a_discarded_job_leaves_nothing(tmp_path):
    folder = tmp_path / "jobs" / "one"
    kept = job(folder)
    kept.keep(page(1, "a"))
    kept.discard()
    assert not folder.exists()
    assert job(folder).page_count() == 0


def test_a_job_without_a_folder_has_one_by_spider_day_and_streams():
    names = {
        job_name("rss", "2026-03-02", ["a"]),
        job_name("rss", "2026-03-03", ["a"]),
        job_name("rss", "2026-03-02", ["a", "b"]),
    }
    assert len(names) == 3
    assert job_name("rss", "2026-03-02", ["a"]).startswith("rss-2026-03-02-")
