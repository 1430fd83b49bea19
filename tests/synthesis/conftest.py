from collections.abc import Callable
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen

from hanline.synthesis.fonts import Font, FontSet, bundled_files
from hanline.text.charset import named_charset

MakeFont = Callable[..., Path]


@pytest.fixture(scope="session")
def korean() -> str:
    return named_charset("korean").characters


@pytest.fixture(scope="session")
def noto() -> FontSet:
    """Noto Sans KR and Noto Serif KR."""
    return FontSet(Font(path) for path in bundled_files() if path.name.startswith("Noto"))


@pytest.fixture(scope="session")
def sans(noto) -> Font:
    return noto[0]


@pytest.fixture
def make_font(tmp_path) -> MakeFont:
    """Makes a font file: its characters are squares, its ``blank`` ones leave no ink."""

    def make(
        name: str,
        characters: str,
        blank: str = "",
        missing: str = "",
        shared: str = "",
        family: str = "Test",
        outlines: str = "glyf",
    ) -> Path:
        glyphs = {c: f"uni{ord(c):04X}" for c in characters + blank}
        cmap = {ord(c): glyph for c, glyph in glyphs.items()}
        cmap |= {ord(c): ".notdef" for c in missing} | {ord(c): "shared" for c in shared}
        order = [".notdef", "shared", *glyphs.values()]
        empty = {glyphs[c] for c in blank}

        builder = FontBuilder(1000, isTTF=outlines == "glyf")
        builder.setupGlyphOrder(order)
        builder.setupCharacterMap(cmap)
        drawn = {}
        for glyph in order:
            pen = TTGlyphPen(None) if outlines == "glyf" else T2CharStringPen(1000, None)
            if glyph not in empty:
                pen.moveTo((100, 0))
                for corner in ((100, 700), (900, 700), (900, 0)):
                    pen.lineTo(corner)
                pen.closePath()
            drawn[glyph] = pen.glyph() if outlines == "glyf" else pen.getCharString()
        if outlines == "glyf":
            builder.setupGlyf(drawn)
        else:
            builder.setupCFF(family, {}, drawn, {})
        builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 100)))
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": family, "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        builder.save(path)
        return path

    return make
