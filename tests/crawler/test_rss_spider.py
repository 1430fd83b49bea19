import json

from hanline_crawler.cleaning import HeadlineCleaning
from news_site.news import SECTIONS, News


def articles(section):
    return News(pages=3, per_page=8).articles(section)[:40]


def test_rss_and_atom_and_euc_kr_feeds(site, crawl):
    feeds = {
        "politics": f"{site.address}/rss/politics.xml",
        "world": f"{site.address}/atom/world.xml",
        "it": f"{site.address}/rss-euc-kr/it.xml",
    }
    listed = [
        {"url": url, "publisher": "가람일보", "section": section} for section, url in feeds.items()
    ]
    done = crawl("rss", RSS_FEEDS=json.dumps(listed), NEAR_REPEATS=False, ROBOTSTXT_OBEY=True)
    assert done.status == 0, done.log
    clean = HeadlineCleaning()
    wanted = [clean(a.title).text for section in feeds for a in articles(section)]
    assert done.lines("headlines.txt") == list(dict.fromkeys(wanted))
    items = {item["url"]: item for item in done.items()}
    for section, key in (("politics", "{}"), ("world", "tag:press.example,2026:{}"), ("it", "{}")):
        article = articles(section)[1]
        item = items[f"https://press.example{article.address}"]
        assert item["article_id"] == key.format(article.address)
        assert (item["section"], item["publisher"]) == (section, "가람일보")
        assert item["published"][:16] == (News().now - article.age).isoformat()[:16]
    assert list(done.report()["sections"]) == list(feeds.values())


def test_feeds_from_a_file_and_from_the_command_line(site, crawl, tmp_path):
    file = tmp_path / "feeds.txt"
    text = f"# ours\n{site.address}/rss/it.xml\t누리경제\tit\n\n{site.address}/rss/world.xml\n"
    file.write_text(text, encoding="utf-8")
    named = f"{site.address}/atom/culture.xml"
    done = crawl("rss", "-a", f"feeds={named}", "-a", f"feeds_file={file}")
    assert done.status == 0
    assert list(done.report()["sections"]) == [
        named,
        f"{site.address}/rss/it.xml",
        f"{site.address}/rss/world.xml",
    ]
    publishers = {(item["publisher"], item["section"]) for item in done.items()}
    assert publishers == {("127.0.0.1", ""), ("누리경제", "it")}


def test_one_lost_feed_does_not_cost_the_others(site, crawl):
    urls = [f"{site.address}/{name}" for name in ("section/100", "rss/none", "rss/it.xml")]
    done = crawl("rss", "-a", f"feeds={','.join(urls)}")
    assert done.status == 5  # no feed but a page, which is kept for inspection
    assert "status 404" in done.table and "the answer is not a feed" in done.table
    (kept,) = (done.folder / "inspection").iterdir()
    assert kept.suffix == ".xml" and "sa_item" in kept.read_text(encoding="utf-8")
    assert list(done.report()["sections"]) == [urls[2]]
    assert len(done.lines("headlines.txt")) > 15


def test_robots_txt_is_obeyed_for_feeds(site, crawl):
    site.control(robots="refuse")
    done = crawl("rss", "-a", f"feeds={site.address}/rss/it.xml", ROBOTSTXT_OBEY=True)
    assert done.status == 4 and site.asked() == ["/robots.txt"]


def test_the_default_feeds_are_well_formed(tmp_path):
    from hanline_crawler import settings

    feeds = settings.RSS_FEEDS
    assert len({feed["url"] for feed in feeds}) == len(feeds) > 20
    for feed in feeds:
        assert set(feed) == {"url", "publisher", "section"}
        assert feed["url"].startswith("https://")
        assert feed["section"] in {*SECTIONS, "sports"}
