"""The page of readings, as a browser's parser takes it apart."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from hanline.errors import HanlineError
from hanline.inference.parts import Part, Parts
from hanline.inference.reader import Reading
from hanline.inference.readings_page import ReadingsPage

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&lt;!--"


class Page(HTMLParser):
    """The elements of a page, and the content of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.policy = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "script":
            self.scripts.append("")
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts[-1] += data


@pytest.fixture
def png():
    content = io.BytesIO()
    Image.new("L", (400, 100), 200).save(content, "PNG")
    return content.getvalue()


def written(folder, *rows):
    page = ReadingsPage(folder / "readings.html")
    for row in rows:
        page.add(*row)
    page.write()
    return Page((folder / "readings.html").read_text(encoding="utf-8"))


def rows_of(page):
    return json.loads(page.scripts[0])


def test_no_text_becomes_markup(tmp_path, png):
    plain = written(tmp_path / "plain", ("a.png", png, Reading("가", 0.9), "나"))
    parts = Parts((Part("<", 0, 1, 0.5, (("</script>", 0.2),)),))
    page = written(
        tmp_path,
        (f"{HOSTILE}.png", png, Reading(HOSTILE, 0.9, "", parts), HOSTILE + "x"),
        ("b.png", b"no image", Reading(problem=HOSTILE), HOSTILE),
    )
    assert page.elements == plain.elements
    first, second = rows_of(page)
    assert (first["path"], first["text"], first["label"]) == (
        f"{HOSTILE}.png",
        HOSTILE,
        HOSTILE + "x",
    )
    assert second["problem"] == HOSTILE
    assert "<" not in page.scripts[0]
    # The script writes texts as text only.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write", page.scripts[1])


def test_the_page_loads_nothing_and_runs_its_own_script_alone(tmp_path, png):
    page = written(tmp_path, ("a.png", png, Reading("가", 0.9), None))
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.policy
    assert "default-src 'none'" in page.policy
    assert not [tag for tag, values in page.elements if {"src", "href"} & {*values}]
    (row,) = rows_of(page)
    picture = Image.open(io.BytesIO(base64.b64decode(row["image"].split(",")[1])))
    assert picture.size == (256, 64)


@pytest.mark.parametrize(
    "label, text, wrong, confusions",
    [
        ("가나다", "가나다", [], []),
        ("가나다", "가너다", [1], [["나", "너"]]),
        ("가나다", "가다", [1], [["나", ""]]),
        ("가나", "가나다", [2], [["", "다"]]),
        ("가나다", "가나", [1], [["다", ""]]),
        ("가", "", [0], [["가", ""]]),
        (None, "가", [], []),
    ],
)
def test_wrong_letters_are_marked(label, text, wrong, confusions, tmp_path, png):
    (row,) = rows_of(written(tmp_path, ("a.png", png, Reading(text, 0.5), label)))
    assert (row["wrong"], row["confusions"]) == (wrong, confusions)


def test_a_page_that_cannot_be_written_says_so(tmp_path, png):
    (tmp_path / "file").touch()
    page = ReadingsPage(tmp_path / "file" / "readings.html")
    page.add("a.png", png, Reading("가", 0.9), None)
    with pytest.raises(HanlineError, match="output="):
        page.write()


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_the_commands_write_the_page(name, folder, words, checkpoint, command, tmp_path):
    done = command(
        name, "input=pictures", f"checkpoint={checkpoint}", "output=out", "page=true", "parts=true"
    )
    assert done.status == 0, done.err
    assert "out/readings.html" in done.out.replace("\\", "/")
    page = Page((tmp_path / "out" / "readings.html").read_text(encoding="utf-8"))
    rows = rows_of(page)
    assert [row["text"] for row in rows] == [row["label"] for row in rows] == words
    assert all(row["image"].startswith("data:image/jpeg;base64,") for row in rows)
    assert all(len(row["parts"]) == len(row["text"]) for row in rows)
