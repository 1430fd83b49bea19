"""The page of readings in a real Chromium: what it shows, chooses and sorts, without stutter."""

import io
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from hanline.inference.parts import Part, Parts
from hanline.inference.reader import Reading
from hanline.inference.readings_page import ReadingsPage

LINES = 5000


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page of 5,000 lines: in two sets, one in ten wrong, the one before the last unreadable."""
    pictures = []
    for shade in (60, 200):
        content = io.BytesIO()
        Image.new("L", (300, 32), shade).save(content, "PNG")
        pictures.append(content.getvalue())
    page = ReadingsPage(tmp_path_factory.mktemp("page") / "readings.html")
    random = np.random.default_rng(1)
    for number in range(LINES):
        # Some lines are so long that they wrap.
        label = "가나다 <b>&" + " 라마바사" * (40 if number % 7 == 0 else 1) + f" {number}"
        text = label.replace("나", "너") if number % 10 == 3 else label
        sure = round(float(random.uniform(0.2, 1)), 6) if number != 1234 else 0.001
        parts = Parts(tuple(Part(c, 0, 1, sure, (("각", 0.05), ("간", 0.01))) for c in text))
        reading = Reading(text, sure, "", parts, ((text[:3], sure / 2),) if number < 5 else ())
        if number == LINES - 2:
            reading = Reading(problem="no image <i>")
        page.add(f"set{number % 2}/{number}.png", pictures[number % 2], reading, label)
    page.write()
    return page.path


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, page_file):
    context = browser.new_context(viewport={"width": 900, "height": 700})
    opened = context.new_page()
    problems = []
    requests = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(page_file.as_uri())
    yield opened
    assert not problems
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]
    context.close()


def texts(page):
    return page.eval_on_selector_all("article .text", "all => all.map((e) => e.textContent)")


def settled(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def overlaps(page):
    """Return whether rows that are shown lie on one another, or leave gaps."""
    boxes = page.eval_on_selector_all(
        "article", "all => all.map((e) => [e.getBoundingClientRect().top, e.offsetHeight])"
    )
    boxes.sort()
    return [(one, other) for one, other in pairwise(boxes) if abs(one[0] + one[1] - other[0]) > 1]


def test_few_rows_are_elements_wherever_one_looks(page):
    assert page.text_content("#count") == f"{LINES} of {LINES} lines"
    for share in (0, 0.3, 0.31, 0.8, 1, 0.5, 0):
        page.evaluate("share => scrollTo(0, share * document.body.scrollHeight)", share)
        settled(page)
        settled(page)
        count = page.locator("article").count()
        assert 3 < count < 60
        assert not overlaps(page)
        shown = page.eval_on_selector_all(
            "article",
            "all => all.filter((e) => e.getBoundingClientRect().top < innerHeight"
            " && e.getBoundingClientRect().bottom > 0).length",
        )
        assert shown >= 2
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    settled(page)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    settled(page)
    assert any(text.endswith(f" {LINES - 1}") for text in texts(page))


def test_every_line_is_met_once_on_the_way_down(page):
    page.select_option("#show", "wrong")
    met = set()
    for _ in range(400):
        met |= {text.split()[-1] for text in texts(page)}
        before = page.evaluate("scrollY")
        page.evaluate("scrollBy(0, innerHeight)")
        settled(page)
        if page.evaluate("scrollY") == before:
            break
    assert len(met) == LINES // 10


def test_rows_are_chosen_and_sorted(page):
    page.select_option("#show", "wrong")
    assert page.text_content("#count") == f"{LINES // 10} of {LINES} lines"
    first = page.locator("article").first
    assert first.locator("mark").all_text_contents() == ["너"]
    assert "나" in first.locator(".label").text_content()
    page.select_option("#show", "unread")
    assert "no image <i>" in page.locator("article .problem").text_content()
    page.select_option("#show", "all")
    page.select_option("#order", "doubt")
    settled(page)
    # What could not be read has no confidence at all.
    assert texts(page)[0].endswith(" 1234")
    page.select_option("#order", "sure")
    settled(page)
    assert not texts(page)[0].endswith(" 1234")
    page.select_option("#order", "given")
    page.select_option("#confusion", "나 → 너")
    assert page.text_content("#count") == f"{LINES // 10} of {LINES} lines"
    page.select_option("#confusion", "")
    page.select_option("#set", "set1")
    assert page.text_content("#count") == f"{LINES // 2} of {LINES} lines"
    page.select_option("#set", "*")
    page.fill("#search", " 4321")
    assert page.text_content("#count") == f"1 of {LINES} lines"


def test_a_letter_shows_its_alternatives_and_its_doubt(page):
    letter = page.locator("article .text span").first
    assert letter.text_content() == "가"
    assert [line.split()[0] for line in letter.get_attribute("title").split("\n")] == [
        "가",
        "각",
        "간",
    ]
    color = letter.evaluate("e => getComputedStyle(e).backgroundColor")
    assert color.startswith("rgba(255, 120, 0, 0.")
    assert page.locator("article .other").first.text_content().startswith("가나다")


def test_rows_stay_in_place_when_the_window_becomes_narrower(page):
    page.evaluate("scrollTo(0, 20000)")
    settled(page)
    page.set_viewport_size({"width": 400, "height": 700})
    settled(page)
    settled(page)
    assert not overlaps(page)
    assert page.locator("article").count() > 2
