"""Readings as ALTO and hOCR."""

from xml.etree import ElementTree

import pytest

from hanline.inference.page_formats import Alto, Hocr
from hanline.inference.parts import Part, Parts
from hanline.inference.reader import Reading

ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"
XHTML = "{http://www.w3.org/1999/xhtml}"


def number(element, key):
    return float(element.get(key))


@pytest.mark.parametrize("kind", ["alto", "hocr"])
def test_predict_writes_every_word_of_every_image(
    kind, folder, words, checkpoint, command, tmp_path
):
    done = command(
        "predict", "input=pictures", f"checkpoint={checkpoint}", "output=out", f"page_format={kind}"
    )
    assert done.status == 0, done.err
    out = tmp_path / "out"
    if kind == "alto":
        names = sorted(path.name for path in (tmp_path / "pictures").rglob("*.png"))
        files = sorted((out / "alto").rglob("*.xml"))
        assert [file.name for file in files] == [f"{name}.xml" for name in names]
        roots = [ElementTree.parse(file).getroot() for file in files]
        read = [[w.get("CONTENT") for w in root.iter(f"{ALTO}String")] for root in roots]
        assert sorted(read) == sorted(word.split() for word in words)
    else:
        root = ElementTree.parse(out / "readings.hocr").getroot()
        pages = [e for e in root.iter(f"{XHTML}div") if e.get("class") == "ocr_page"]
        read = [
            [e.text for e in page.iter(f"{XHTML}span") if e.get("class") == "ocrx_word"]
            for page in pages
        ]
        assert read == [word.split() for word in words]


def reading():
    characters = (
        Part("가", 1, 20, 0.9, (("각", 0.05), ("<", 0.01))),
        Part(" ", 20, 26, 0.9),
        Part("&", 26, 40, 0.5, (("\x07", 0.2),)),
        Part("나", 40, 60.5, 0.8),
    )
    return Reading("가 &나", 0.3, "", Parts(characters, size=(64, 32)))


def test_alto_has_the_places_in_order_and_inside_the_page(tmp_path):
    page_format = Alto(tmp_path)
    page_format.add('..\\a"<.png', reading())
    page_format.add("b/../../c.png", reading())
    page_format.add("no.png", Reading(problem="no image"))
    folder = page_format.close()
    files = sorted(folder.rglob("*.xml"))
    assert len(files) == 2
    assert not [*tmp_path.parent.glob("*.xml")]
    root = ElementTree.parse(files[0]).getroot()
    assert [child.tag for child in root] == [f"{ALTO}Description", f"{ALTO}Layout"]
    (page,) = root.iter(f"{ALTO}Page")
    assert (page.get("WIDTH"), page.get("HEIGHT")) == ("64", "32")
    (line,) = root.iter(f"{ALTO}TextLine")
    assert [child.tag.removeprefix(ALTO) for child in line] == ["String", "SP", "String"]
    strings = [*line.iter(f"{ALTO}String")]
    assert [string.get("CONTENT") for string in strings] == ["가", "&나"]
    for string in strings:
        assert 0 <= number(string, "HPOS") <= number(string, "HPOS") + number(string, "WIDTH") <= 64
        glyphs = [*string.iter(f"{ALTO}Glyph")]
        assert "".join(glyph.get("CONTENT") for glyph in glyphs) == string.get("CONTENT")
        assert all(0 <= number(glyph, "GC") <= 1 for glyph in glyphs)
    names = [element.get("ID") for element in root.iter() if element.get("ID")]
    assert len(set(names)) == len(names)
    # What XML cannot hold is replaced.
    assert [v.get("CONTENT") for v in root.iter(f"{ALTO}Variant")] == ["각", "<", "\ufffd"]


def test_hocr_names_images_and_boxes(tmp_path):
    page_format = Hocr(tmp_path)
    page_format.add('a"<&.png', reading())
    root = ElementTree.parse(page_format.close()).getroot()
    (page,) = root.iter(f"{XHTML}div")
    assert page.get("title") == 'image "a\\"<&.png"; bbox 0 0 64 32'
    first, second = (e for e in root.iter(f"{XHTML}span") if e.get("class") == "ocrx_word")
    assert (first.text, second.text) == ("가", "&나")
    assert second.get("title") == "bbox 26 0 60 32; x_wconf 40; x_confs 50 80"
    assert "".join(page.itertext()).split() == ["가", "&나"]
