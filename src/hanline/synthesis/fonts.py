"""Fonts: which ones there are, and which texts each of them can draw."""

import hashlib
import importlib.util
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import overload

from fontTools.pens.boundsPen import BoundsPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.sfnt import readTTCHeader
from PIL import ImageFont

from hanline.errors import HanlineError

logger = logging.getLogger(__name__)

AUTO = "auto"
BUNDLED = "bundled"
SYSTEM = "system"


def find_fonts(
    source: str | Sequence[str],
    characters: str,
    min_coverage: float,
    without: Sequence[str] = (),
) -> "FontSet":
    """Find the fonts to draw with.

    Args:
        source: ``system`` takes the fonts that the system has installed; ``bundled`` those that
            come with Python packages; ``auto`` the system's, or the bundled ones where the system
            has none that is fit; anything else is a font file or folder, or the file name of one
            of the system's. Of a list of these, each has the same share of the texts.
        characters: what is to be drawn.
        min_coverage: the share of ``characters``, from 0 to 1, that a font must have. A font file
            that ``source`` names is taken whatever it has.
        without: patterns of file names that are not taken, except a font file that ``source``
            names.

    Returns:
        The fonts, ordered by file name. Of the faces of a collection (.ttc) that are one family
        in several regions, only the Korean one is in it.

    Raises:
        HanlineError: a named file or folder does not exist, or no font is fit.
    """
    if not 0 <= min_coverage <= 1:
        raise HanlineError(
            f"synthesis.min_font_coverage is {min_coverage}: it must lie between 0 and 1"
        )
    search = _Search(frozenset(characters), min_coverage, without)
    names = [_found(name) for name in ([source] if isinstance(source, str) else source)]
    # A file that is named is not one of a folder's, wherever in the list they stand.
    files_first = sorted(range(len(names)), key=lambda i: not Path(names[i]).expanduser().is_file())
    found = {i: search.look_for(names[i]) for i in files_first}
    groups = [found[i] for i in range(len(names)) if found[i]]
    if search.left_out:
        logger.info("synthesis.exclude_fonts leaves out %s", ", ".join(search.left_out))
    if not groups:
        raise HanlineError(
            f"found no font to draw with: {search}. Install a Korean font (Debian and Ubuntu: "
            "apt install fonts-noto-cjk), set synthesis.fonts to 'bundled' or to a list of font "
            "files and folders, or lower synthesis.min_font_coverage"
        )
    return FontSet(*groups)


@dataclass(frozen=True)
class Font:
    """One face of a font file.

    It pickles as its path and index alone, so that it costs next to nothing to send to a worker.

    Attributes:
        path: the file.
        index: which face of the file; 0 except in a collection.
    """

    path: Path
    index: int = 0

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path.name}#{self.index}" if self.index else self.path.name

    @cached_property
    def characters(self) -> frozenset[str]:
        """The characters that it draws: those with a glyph of their own that leaves ink.

        White space needs no ink. Read from the file when first asked for.
        """
        with TTFont(self.path, fontNumber=self.index, lazy=True) as font:
            return frozenset(_drawn_characters(font))

    def can_draw(self, text: str) -> bool:
        """Whether it draws every character of the text, none of them as an empty box."""
        return self.characters.issuperset(text)

    def digest(self) -> str:
        """A hash of the file's content and the index."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(str(self.index).encode())
        return digest.hexdigest()

    def load(self, size: int) -> ImageFont.FreeTypeFont:
        """The font, ready to draw. Each process keeps those that it used last.

        Args:
            size: pixels per em.

        Raises:
            HanlineError: the file cannot be read.
        """
        return _load(self.path, self.index, size)

    def __reduce__(self) -> tuple[type["Font"], tuple[Path, int]]:
        return Font, (self.path, self.index)


def _drawn_characters(font: TTFont) -> Iterator[str]:
    short = _short_glyphs(font)
    cmap = font.getBestCmap()  # without what the font maps to its .notdef
    if short is None or cmap is None:
        return
    uses = Counter(cmap.values())
    glyphs = font.getGlyphSet()
    for code_point, glyph in cmap.items():
        character = chr(code_point)
        if not character.isspace():
            if uses[glyph] > _USES_OF_A_STAND_IN:
                continue
            if glyph in short:
                pen = BoundsPen(glyphs)
                glyphs[glyph].draw(pen)
                if pen.bounds is None:
                    continue
        yield character


# Some fonts map all that they lack to one box or blank that is not their .notdef. No letter stands
# for so many code points.
_USES_OF_A_STAND_IN = 16


def _short_glyphs(font: TTFont) -> set[str] | None:
    """The glyphs whose outline may be empty, by its bytes; None where the font has no outlines.

    Drawing every outline would take seconds a font; only the few short ones can be empty.
    """
    longest_empty = 12
    order = font.getGlyphOrder()
    for table in ("CFF ", "CFF2"):
        if table in font:
            outlines = font[table].cff.topDictIndex[0].CharStrings
            return {glyph for glyph in order if len(outlines[glyph].bytecode) <= longest_empty}
    if "glyf" in font:
        starts = font["loca"]
        return {
            glyph for i, glyph in enumerate(order) if starts[i + 1] - starts[i] <= longest_empty
        }
    return None


# A Korean face takes about a megabyte in each size.
@lru_cache(maxsize=192)
def _load(path: Path, index: int, size: int) -> ImageFont.FreeTypeFont:
    try:
        # The basic layout draws alike on every machine; Raqm is not on all of them.
        return ImageFont.truetype(path, size, index, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise HanlineError(f"cannot read the font file {path}: {error}") from error


class FontSet(Sequence[Font]):
    """Fonts, and quick answers to which of them can draw a text.

    Args:
        groups: fonts that share the texts among them; each group has as many texts as each other.
    """

    def __init__(self, *groups: Iterable[Font]) -> None:
        self.groups = [sorted(group, key=_by_name) for group in groups]
        self._fonts = sorted((font for group in self.groups for font in group), key=_by_name)
        # For each character the fonts that have it, a bit a font; for each such mask the fonts,
        # and those of each group.
        self._owners: dict[str, int] = {}
        self._members: dict[int, list[Font]] = {}
        self._grouped: dict[int, list[list[Font]]] = {}

    def able(self, text: str) -> list[Font]:
        """The fonts that draw the whole text, in the set's order."""
        mask = self._mask(text)
        if mask not in self._members:
            self._members[mask] = [font for i, font in enumerate(self._fonts) if mask >> i & 1]
        return self._members[mask]

    def choose(self, text: str, number: int) -> Font | None:
        """A font that draws the whole text, by a random number; None where there is none."""
        mask = self._mask(text)
        if mask not in self._grouped:
            able = set(self.able(text))
            able_groups = ([font for font in group if font in able] for group in self.groups)
            self._grouped[mask] = [group for group in able_groups if group]
        groups = self._grouped[mask]
        if not groups:
            return None
        rest, group = divmod(number, len(groups))
        return groups[group][rest % len(groups[group])]

    def can_draw(self, text: str) -> bool:
        """Whether some single font draws the whole text."""
        return self._mask(text) != 0

    def _mask(self, text: str) -> int:
        mask = (1 << len(self._fonts)) - 1
        for character in text:
            owners = self._owners.get(character)
            if owners is None:
                owners = sum((character in font.characters) << i for i, font in enumerate(self))
                self._owners[character] = owners
            mask &= owners
        return mask

    def __len__(self) -> int:
        return len(self._fonts)

    @overload
    def __getitem__(self, index: int) -> Font: ...
    @overload
    def __getitem__(self, index: slice) -> list[Font]: ...
    def __getitem__(self, index: int | slice) -> Font | list[Font]:
        return self._fonts[index]

    def __repr__(self) -> str:
        return f"FontSet({', '.join(font.name for font in self)})"


def _by_name(font: Font) -> tuple[str, int, str]:
    return font.path.name, font.index, str(font.path)


class _Search:
    """Where was looked for fonts. Its ``str`` tells of it."""

    def __init__(self, wanted: frozenset[str], min_coverage: float, without: Sequence[str]) -> None:
        self.wanted = wanted
        self.min_coverage = min_coverage
        self.without = without
        self.left_out: list[str] = []
        self.places: list[Path] = []
        self.files: set[Path] = set()
        self.nearest: tuple[float, str] = (0, "")

    def look_for(self, name: str) -> list[Font]:
        """The fonts that one of the sources of :func:`find_fonts` gives."""
        if name == SYSTEM:
            return self._fit(system_folders())
        if name == BUNDLED:
            return self._fit(bundled_files())
        if name == AUTO:
            found = self._fit(system_folders())
            if not found:
                logger.info("no font of the system is fit: the bundled ones draw (%s)", self)
                found = self._fit(bundled_files())
            return found
        place = Path(name).expanduser()
        if place.is_file():
            self.places.append(place)
            return list(self._fonts_in(place))
        if place.is_dir():
            return self._fit([place])
        raise HanlineError(
            f"synthesis.fonts names {name!r}, and there is no such file or folder; it takes "
            "'auto', 'system', 'bundled', a font file or folder, the file name of a font of the "
            "system, or a list of these"
        )

    def _fit(self, places: Iterable[Path]) -> list[Font]:
        """The fonts of folders and files that have enough of the wanted characters."""
        found = []
        for place in places:
            self.places.append(place)
            for font in self._fonts_in(place):
                if any(font.path.match(pattern) for pattern in self.without):
                    self.left_out.append(font.name)
                    continue
                coverage = len(font.characters & self.wanted) / max(1, len(self.wanted))
                self.nearest = max(self.nearest, (coverage, font.name))
                if coverage >= self.min_coverage:
                    found.append(font)
        return found

    def _fonts_in(self, place: Path) -> Iterator[Font]:
        if place.is_file():
            files = [place]
        else:
            files = sorted(path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES)
        for path in files:
            # A system links some of its fonts into several folders.
            file = path.resolve()
            if file not in self.files and file.is_file():
                self.files.add(file)
                yield from _read(path)

    def __str__(self) -> str:
        places = ", ".join(map(str, self.places)) or "nowhere"
        told = (
            f"looked in {places} for fonts with {self.min_coverage:.0%} of the "
            f"{len(self.wanted)} characters and saw {len(self.files)} font files"
        )
        coverage, name = self.nearest
        if self.left_out:
            without = list(self.without)
            told += f", {len(self.left_out)} fonts left out by synthesis.exclude_fonts={without}"
        return f"{told}, of which {name} has the most ({coverage:.1%})" if name else told


_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")


def _found(name: str) -> str:
    """The path of a font of the system whose file name is given; anything else as it is."""
    if Path(name).suffix.lower() in _SUFFIXES and not Path(name).expanduser().exists():
        for folder in system_folders():
            for path in sorted(folder.rglob("*")):
                # As file names are compared on Windows and macOS.
                if path.name.casefold() == name.casefold() and path.is_file():
                    return str(path)
    return name


def _read(path: Path) -> list[Font]:
    """The faces of a file that is whole; none, and a warning, where it is damaged."""
    try:
        faces = _faces(path)
        for face in faces:
            # What the one library can read may still be broken for the other.
            face.load(16).getbbox(min(face.characters, default=" "))
    except Exception as error:  # a damaged font raises whatever its reader stumbles over
        logger.warning("the font file %s is damaged and left out: %s", path, error)
        return []
    return faces


def _faces(path: Path) -> list[Font]:
    with path.open("rb") as file:
        if file.read(4) != b"ttcf":
            return [Font(path)]
        count = readTTCHeader(file).numFonts
    families: dict[tuple[str, str], Font] = {}
    for index in range(count):
        face = Font(path, index)
        with TTFont(path, fontNumber=index, lazy=True) as font:
            family, region, style = _family(font)
        if (family, style) not in families or region in _KOREAN:
            families[family, style] = face
    return list(families.values())


def _family(font: TTFont) -> tuple[str, str, str]:
    """Family without region, region or '', and style, as the font names them."""
    names = font["name"]
    family = names.getDebugName(16) or names.getDebugName(1) or ""
    style = names.getDebugName(17) or names.getDebugName(2) or ""
    stem, _, last = family.rpartition(" ")
    return (stem, last, style) if last in _REGIONS else (family, "", style)


_KOREAN = {"KR", "K"}
_REGIONS = _KOREAN | {"JP", "J", "SC", "CN", "TC", "TW", "HK", "HC"}


def bundled_files() -> list[Path]:
    """The Korean fonts that come with Python packages: Noto Sans and Serif KR, Source Han Sans."""
    places = [("pylopdf_fonts_ko", "*.otf"), ("trdg", "fonts/cn/SourceHanSans-Normal.ttf")]
    files = []
    for package, pattern in places:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or []:
            files += sorted(Path(folder).glob(pattern))
    return files


def system_folders() -> list[Path]:
    """The folders in which this system keeps fonts, for all and for this user; those that exist."""
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
        folders = [
            Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts",
            local / "Microsoft" / "Windows" / "Fonts",
        ]
    elif sys.platform == "darwin":
        folders = [
            Path("/System/Library/Fonts"),
            Path("/Library/Fonts"),
            home / "Library" / "Fonts",
        ]
    else:
        shared = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
        own = os.environ.get("XDG_DATA_HOME", str(home / ".local" / "share"))
        folders = [Path(data) / "fonts" for data in [*shared, own] if data] + [home / ".fonts"]
    return [folder for folder in folders if folder.is_dir()]
