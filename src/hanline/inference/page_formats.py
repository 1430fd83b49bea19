"""Readings as ALTO or hOCR, the files in which libraries and archives keep what was read."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from hanline import __version__
from hanline.errors import HanlineError
from hanline.inference.parts import Part, Parts
from hanline.inference.reader import Reading
from hanline.system import files

_ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
_XHTML = "http://www.w3.org/1999/xhtml"
# What XML 1.0 cannot hold.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class PageFormat(ABC):
    """Files of readings with places. Images that could not be read are left out.

    Args:
        folder: where the files will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def add(self, path: str, reading: Reading) -> None:
        """Add a reading with parts.

        Args:
            path: the image's, relative, for display.
            reading: what was read in it.

        Raises:
            HanlineError: it cannot be written.
        """

    @abstractmethod
    def close(self) -> Path:
        """Write the rest. Return the file, or the folder of several."""


class Alto(PageFormat):
    """ALTO 4: a file for each image, ``alto/<path>.xml``."""

    def add(self, path: str, reading: Reading) -> None:
        if reading.parts:
            names = [_plain_name(part) for part in path.split("/")]
            file = self.folder.joinpath("alto", *names[:-1], f"{names[-1]}.xml")
            _write(file, alto(path, reading.parts))

    def close(self) -> Path:
        return self.folder / "alto"


class Hocr(PageFormat):
    """hOCR 1.2: one file, ``readings.hocr``, with a page for each image."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._pages: list[Element] = []

    def add(self, path: str, reading: Reading) -> None:
        if reading.parts:
            self._pages.append(_hocr_page(path, reading.parts, len(self._pages) + 1))

    def close(self) -> Path:
        file = self.folder / "readings.hocr"
        _write(file, _hocr(self._pages))
        return file


PAGE_FORMATS: dict[str, type[PageFormat]] = {"alto": Alto, "hocr": Hocr}


def alto(path: str, parts: Parts) -> Element:
    """Return the ALTO of one line, which is the whole of its image."""
    width, height = parts.size
    whole = {"HPOS": "0", "VPOS": "0", "WIDTH": str(width), "HEIGHT": str(height)}
    root = Element("alto", xmlns=_ALTO)
    description = SubElement(root, "Description")
    SubElement(description, "MeasurementUnit").text = "pixel"
    source = SubElement(description, "sourceImageInformation")
    SubElement(source, "fileName").text = _legal(path)
    software = SubElement(SubElement(description, "Processing", ID="reading"), "processingSoftware")
    SubElement(software, "softwareName").text = "Hanline"
    SubElement(software, "softwareVersion").text = __version__
    page = SubElement(
        SubElement(root, "Layout"),
        "Page",
        {"ID": "page", "PHYSICAL_IMG_NR": "1", "WIDTH": str(width), "HEIGHT": str(height)},
    )
    block = SubElement(SubElement(page, "PrintSpace", whole), "TextBlock", {"ID": "block", **whole})
    line = SubElement(block, "TextLine", {"ID": "line", **whole})
    before: Part | None = None
    for number, (word, characters) in enumerate(zip(parts.words, parts.letters, strict=True), 1):
        if before:
            space = max(word.left - before.right, 0.0)
            SubElement(
                line,
                "SP",
                {"HPOS": _pixels(before.right), "VPOS": "0", "WIDTH": _pixels(space)},
            )
        name = f"word_{number}"
        string = SubElement(line, "String", {"ID": name, **_place(word, height)})
        string.set("WC", f"{word.confidence:.4f}")
        for place, character in enumerate(characters, 1):
            glyph = SubElement(
                string, "Glyph", {"ID": f"{name}_{place}", **_place(character, height)}
            )
            glyph.set("GC", f"{character.confidence:.4f}")
            for text, confidence in character.alternatives:
                SubElement(glyph, "Variant", {"CONTENT": _legal(text), "VC": f"{confidence:.4f}"})
        before = word
    return root


def _hocr(pages: Sequence[Element]) -> Element:
    root = Element("html", xmlns=_XHTML, lang="ko")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "title").text = "Readings"
    for name, content in (
        ("ocr-system", f"Hanline {__version__}"),
        ("ocr-capabilities", "ocr_page ocr_line ocrx_word"),
    ):
        SubElement(head, "meta", name=name, content=content)
    SubElement(root, "body").extend(pages)
    return root


def _hocr_page(path: str, parts: Parts, number: int) -> Element:
    width, height = parts.size
    quoted = _legal(path).replace("\\", "\\\\").replace('"', '\\"')
    page = Element(
        "div",
        {
            "class": "ocr_page",
            "id": f"page_{number}",
            "title": f'image "{quoted}"; bbox 0 0 {width} {height}',
        },
    )
    line = SubElement(
        page,
        "span",
        {"class": "ocr_line", "id": f"line_{number}", "title": f"bbox 0 0 {width} {height}"},
    )
    for place, (word, characters) in enumerate(zip(parts.words, parts.letters, strict=True), 1):
        sure = " ".join(str(round(100 * character.confidence)) for character in characters)
        box = f"bbox {round(word.left)} 0 {round(word.right)} {height}"
        part = SubElement(
            line,
            "span",
            {
                "class": "ocrx_word",
                "id": f"word_{number}_{place}",
                "title": f"{box}; x_wconf {round(100 * word.confidence)}; x_confs {sure}",
            },
        )
        part.text, part.tail = _legal(word.text), " "
    return page


def _place(part: Part, height: int) -> dict[str, str]:
    return {
        "CONTENT": _legal(part.text),
        "HPOS": _pixels(part.left),
        "VPOS": "0",
        "WIDTH": _pixels(part.right - part.left),
        "HEIGHT": str(height),
    }


def _pixels(value: float) -> str:
    return f"{value:.2f}"


def _legal(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _plain_name(name: str) -> str:
    # A name of two dots is a folder above; Windows refuses other signs in names.
    return re.sub(r'[<>:"\\|?*\x00-\x1f]', "_", name) if name.strip(".") else "_"


def _write(file: Path, root: Element) -> None:
    content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(file, content + b"\n")
    except OSError as error:
        raise HanlineError(
            f"output={file}: expected a place to write to, but {error.strerror}. Make room, or "
            "name another folder"
        ) from error
