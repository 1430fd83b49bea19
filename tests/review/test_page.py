"""The page in a browser: drop, correct, kill, go on, export, train on the export."""

import base64
import io
import shutil
import time

import pytest

from hanline.data.lmdb_store import LMDBStore

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("fastapi", reason="needs hanline[review]")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # A container's root has no sandbox of its own.
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a server's page in a window of its own."""
    contexts = []

    def open_page(server, locale="en-US", **options):
        context = browser.new_context(locale=locale, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        # A page that asks elsewhere is not one that needs no network.
        page.on(
            "request",
            lambda r: r.url.startswith((server.base, "blob:")) or page.problems.append(r.url),
        )
        page.goto(server.address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def drop(page, pictures):
    """Drop files on the page, as a file manager does."""
    content = [(name, base64.b64encode(data).decode()) for name, data in pictures]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


@pytest.fixture
def pictures(words, picture):
    def bytes_of(word):
        content = io.BytesIO()
        picture(word).save(content, "PNG")
        return content.getvalue()

    return [(f"{i}.png", bytes_of(word)) for i, word in enumerate(words)]


def wait_for(page, expression):
    # wait_for_function needs eval in the page, which its policy forbids.
    end = time.monotonic() + 60
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def decided(page, count):
    wait_for(page, f"document.querySelector('#counts').textContent.includes('{count} decided')")


def test_from_dropping_to_training(serve, visit, pictures, command, tmp_path):
    server = serve("validation=0.3")
    page = visit(server)
    drop(page, [*pictures, ("notes.png", b"no image")])
    wait_for(page, "document.querySelector('#counts').textContent.startsWith('10 lines · 10 read')")
    assert "notes.png" in page.inner_text("#alert")
    assert server.token not in page.url
    # The least sure line is first, and the field has the focus: no mouse is needed.
    wait_for(page, "document.activeElement.id === 'text'")
    sure = page.eval_on_selector_all(
        "#list button span:last-child", "all => all.map(one => parseFloat(one.textContent))"
    )
    assert sure == sorted(sure)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Control+A")
    page.keyboard.type("고친 글")
    page.keyboard.press("Enter")
    decided(page, 1)
    assert page.inner_text("#status") == "Accepted: 고친 글"
    page.keyboard.press("F2")
    decided(page, 2)
    page.keyboard.press("F4")
    decided(page, 3)
    page.keyboard.press("F8")
    decided(page, 2)
    for count in (3, 4, 5, 6):
        page.keyboard.press("Enter")
        decided(page, count)
    server.kill()
    page.keyboard.press("Enter")
    page.wait_for_selector("#alert:not([hidden])")
    assert "does not answer" in page.inner_text("#alert")
    assert not page.problems
    page = visit(serve("validation=0.3"))
    decided(page, 6)
    wait_for(page, "document.activeElement.id === 'text'")
    page.select_option("#form", "lmdb")
    page.click("#export")
    wait_for(page, "document.querySelector('#status').textContent.startsWith('Written')")
    assert not page.problems
    place = tmp_path / "review" / "exports" / "lmdb_001"
    labels = set()
    for part in ("train", "validation"):
        store = LMDBStore(place / part)
        labels.update(store.known_labels(range(len(store))))
    assert len(labels) == 5
    assert "고친 글" in labels
    trained = command(
        *("train", "experiment=adapt", "data=lmdb", f"data.train.dir={place / 'train'}"),
        f"data.validation.dir={place / 'validation'}",
        *("trainer=cpu", "trainer.max_steps=1", "trainer.val_check_interval=1", "logger=none"),
        *("data.batch_size=2", "data.num_workers=0", "hydra.run.dir=run"),
    )
    assert trained.status == 0, trained.err
    assert (tmp_path / "run" / "last.ckpt").is_file()


def test_two_windows_do_not_replace_each_other_silently(serve, visit, folder):
    server = serve(f"input={folder}")
    one, other = visit(server), visit(server)
    for page in (one, other):
        wait_for(page, "document.querySelector('#counts').textContent.includes('10 read')")
        page.click("#list button >> nth=0")
    assert one.inner_text("#name") == other.inner_text("#name")
    one.fill("#text", "하나")
    one.press("#text", "Enter")
    decided(one, 1)
    other.fill("#text", "둘")
    other.press("#text", "Enter")
    other.wait_for_selector("#alert:not([hidden])")
    assert "«하나»" in other.inner_text("#alert")
    assert other.input_value("#text") == "둘"
    other.press("#text", "Enter")
    wait_for(other, "document.querySelector('#status').textContent === 'Accepted: 둘'")
    # The first window cannot take back what the second has decided.
    one.press("#text", "F8")
    one.wait_for_selector("#alert:not([hidden])")
    assert "«둘»" in one.inner_text("#alert")


def test_tab_goes_to_the_doubtful_letters_and_then_on(
    serve, visit, folder, make_recognizer, save_checkpoint, tmp_path
):
    # A recognizer that has learned nothing doubts every letter.
    untrained = save_checkpoint(make_recognizer(), tmp_path / "untrained.ckpt")
    page = visit(serve(f"input={folder}", reader=untrained))
    wait_for(page, "document.querySelector('#counts').textContent.includes('10 read')")
    found = page.evaluate("[...items.values()].find(i => i.letters.length)?.id")
    assert found
    page.click(f"#list button[data-id='{found}']")
    page.fill("#text", page.evaluate("items.get(current).text"))
    page.keyboard.press("Tab")
    assert page.inner_text("#letter").startswith("«")
    selected = "t => t.value.slice(t.selectionStart, t.selectionEnd)"
    assert page.eval_on_selector("#text", selected) == page.evaluate(
        "items.get(current).letters[0].text"
    )
    assert page.is_visible("#mark")
    assert page.locator("#alternatives button").count() == 2
    other = page.inner_text("#alternatives button >> nth=0")[0]
    page.click("#alternatives button >> nth=0")
    assert page.input_value("#text").startswith(other)
    # Nobody is caught in the field: Tab leaves it where no letter is left.
    page.keyboard.press("Escape")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id !== 'text'"):
            break
    assert page.evaluate("document.activeElement.id !== 'text'")


def test_the_language_and_the_colors_follow_the_browser(serve, visit, folder):
    server = serve(f"input={folder}")
    korean = visit(server, locale="ko-KR", color_scheme="dark")
    english = visit(server, color_scheme="light")
    for page in (korean, english):
        wait_for(page, "document.querySelector('#list button')")
    assert korean.inner_text("#undo").startswith("실행 취소")
    assert english.inner_text("#undo").startswith("Undo")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert korean.evaluate(ground) != english.evaluate(ground)
    korean.click("#language")
    assert korean.inner_text("#undo").startswith("Undo")
    assert korean.get_attribute("html", "lang") == "en"
    assert {*english.evaluate("Object.keys(TEXTS.en)")} == {
        *english.evaluate("Object.keys(TEXTS.ko)")
    }


def test_a_screen_reader_hears_what_everything_is(serve, visit, folder):
    page = visit(serve(f"input={folder}"))
    wait_for(page, "document.querySelector('#counts').textContent.includes('10 read')")
    assert page.get_by_role("textbox", name="Text of the line").count() == 1
    for name in ("Accept", "Not legible", "Not a line", "Undo", "Export as"):
        role = "combobox" if name == "Export as" else "button"
        assert page.get_by_role(role, name=name).count() == 1
    assert page.get_by_role("img", name="Picture of the line").count() == 1
    assert page.locator("#status[role=status]").count() == 1
    assert page.locator("#alert[role=alert]").count() == 1
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), select')]"
        ".filter(one => !one.textContent.trim() && !one.labels?.length).length"
    )
    assert unnamed == 0
