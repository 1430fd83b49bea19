import pytest

from hanline.errors import HanlineError
from hanline_crawler.items import Headline, Page
from hanline_crawler.output import write_all, write_day, write_lines
from hanline_crawler.store import Store


def test_files_are_utf_8_with_plain_line_ends(tmp_path):
    with Store(tmp_path / "headlines.sqlite", None) as store:
        items = [Headline(t, "it", "가람", "u", "1", None, "c", "s") for t in ("첫째…", "둘째")]
        store.settle("one", "2026-03-02", [Page("it", 1, items, None)])
        write_day(store, tmp_path, "2026-03-02")
        write_all(store, tmp_path)
    for name in ("2026-03-02.txt", "2026-03-02.new.txt", "headlines.txt"):
        assert (tmp_path / name).read_bytes() == "첫째…\n둘째\n".encode()
    line = (tmp_path / "2026-03-02.jsonl").read_bytes().splitlines()[0].decode()
    assert line == (
        '{"headline": "첫째…", "section": "it", "publisher": "가람", "url": "u", '
        '"article_id": "1", "published": null, "crawled": "c", "source": "s"}'
    )


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = write_lines(tmp_path / "a.txt", ["old"])

    def lines():
        yield "new"
        raise OSError("the disk is full")

    with pytest.raises(HanlineError, match=r"a\.txt.*the disk is full"):
        write_lines(path, lines())
    assert path.read_text(encoding="utf-8") == "old\n"
    write_lines(path, ["new"])
    assert path.read_text(encoding="utf-8") == "new\n"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_cannot_be_replaced_at_once_is_tried_again(tmp_path, monkeypatch):
    # As on Windows, while another program reads it.
    path = write_lines(tmp_path / "a.txt", ["old"])
    replace = type(path).replace
    refusals = iter([True, True, False])

    def sometimes(self, target):
        if next(refusals):
            raise PermissionError("in use")
        return replace(self, target)

    monkeypatch.setattr(type(path), "replace", sometimes)
    write_lines(path, ["new"])
    assert path.read_text(encoding="utf-8") == "new\n"
