"""`hanline synthesize preview`, and what synthesize asks for."""

from PIL import Image


def test_a_page_of_samples(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("synthesis.fonts=bundled", "charset=corpus", "samples=30")
    ended = command("synthesize", "preview", *arguments)
    assert ended.status == 0, ended.err
    assert "drew 30 texts into preview.png" in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]
    page = Image.open("preview.png")
    assert page.width == 1600
    # The ground of the page between the samples, and text and paper of many shades.
    colors = {color for _, color in page.getcolors(1 << 24)}
    assert (0x8A, 0x2B, 0xE2) in colors
    assert len(colors) > 50


def test_boxes_are_marked_on_a_page(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = []
    for boxes in ("true", "false"):
        arguments = ("synthesis.fonts=bundled", "charset=corpus", "samples=5", f"boxes={boxes}")
        ended = command("synthesize", "preview", *arguments)
        assert ended.status == 0, ended.err
        pages.append(Image.open("preview.png"))
    colors = [{color for _, color in page.getcolors(1 << 24)} for page in pages]
    assert pages[0].size == pages[1].size
    assert (255, 0, 0) in colors[0] - colors[1]


def test_a_set_needs_a_place(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = command("synthesize", "synthesis.fonts=bundled")
    assert ended.status == 1
    assert "Set output=FOLDER" in ended.err
    assert not list(tmp_path.iterdir())
