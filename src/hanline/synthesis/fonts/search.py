"""Finds the fonts that synthesis.fonts names."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fontTools.ttLib import TTFont
from fontTools.ttLib.sfnt import readTTCHeader

from hanline.errors import HanlineError
from hanline.synthesis.fonts import places
from hanline.synthesis.fonts.font import Font
from hanline.synthesis.fonts.font_set import FontSet

logger = logging.getLogger(__name__)

AUTO = "auto"
BUNDLED = "bundled"
SYSTEM = "system"
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_KOREAN = {"KR", "K"}
_REGIONS = _KOREAN | {"JP", "J", "SC", "CN", "TC", "TW", "HK", "HC"}


def find_fonts(
    source: str | Sequence[str],
    characters: str,
    min_coverage: float,
    without: Sequence[str] = (),
) -> FontSet:
    """Find the fonts to draw with.

    Args:
        source: ``system``: the installed fonts. ``bundled``: those in Python packages. ``auto``:
            the system's, or the bundled ones if none of the system's has enough characters. Else a
            font file or folder, or the file name of a system font. Each item of a list has an
            equal share of the texts.
        characters: those of the charset.
        min_coverage: the share of ``characters``, 0 to 1, that a font must have. A font file that
            ``source`` names may have fewer.
        without: patterns of file names to leave out, except a font file that ``source`` names.

    Returns:
        The fonts, ordered by file name. If a collection (.ttc) has one family for several regions,
        only the Korean face is taken.

    Raises:
        HanlineError: a named file or folder does not exist, or no font has enough characters.
    """
    if not 0 <= min_coverage <= 1:
        raise HanlineError(
            f"synthesis.min_font_coverage={min_coverage}: expected a number from 0 to 1"
        )
    search = _Search(frozenset(characters), min_coverage, without)
    names = [_found(name) for name in ([source] if isinstance(source, str) else source)]
    # A file that is named is not one of a folder's, in any order of the list.
    files_first = sorted(range(len(names)), key=lambda i: not Path(names[i]).expanduser().is_file())
    found = {i: search.look_for(names[i]) for i in files_first}
    groups = [found[i] for i in range(len(names)) if found[i]]
    if search.left_out:
        logger.info("synthesis.exclude_fonts leaves out %s", ", ".join(search.left_out))
    if not groups:
        raise HanlineError(
            f"synthesis.fonts={source}: expected fonts for the charset; found none: {search}. "
            "Install a Korean font (Debian and Ubuntu: apt install fonts-noto-cjk), set "
            "synthesis.fonts=bundled or to a list of font files and folders, or lower "
            "synthesis.min_font_coverage"
        )
    return FontSet(*groups)


class _Search:
    """A search for fonts. Its ``str`` says where it looked and what it saw."""

    def __init__(self, wanted: frozenset[str], min_coverage: float, without: Sequence[str]) -> None:
        self.wanted = wanted
        self.min_coverage = min_coverage
        self.without = without
        self.left_out: list[str] = []
        self.searched: list[Path] = []
        self.files: set[Path] = set()
        self.nearest: tuple[float, str] = (0, "")

    def look_for(self, name: str) -> list[Font]:
        """Return the fonts of one source of :func:`find_fonts`."""
        if name == SYSTEM:
            return self._fit(places.system_folders())
        if name == BUNDLED:
            return self._fit(places.bundled_files())
        if name == AUTO:
            found = self._fit(places.system_folders())
            if not found:
                logger.info(
                    "no system font has enough characters: using the bundled ones (%s)", self
                )
                found = self._fit(places.bundled_files())
            return found
        place = Path(name).expanduser()
        if place.is_file():
            self.searched.append(place)
            return list(self._fonts_in(place))
        if place.is_dir():
            return self._fit([place])
        raise HanlineError(
            f"synthesis.fonts={name}: expected auto, system, bundled, a font file or folder that "
            "exists, the file name of a system font, or a list of these"
        )

    def _fit(self, paths: Iterable[Path]) -> list[Font]:
        """Return the fonts of folders and files that have enough of the wanted characters."""
        found = []
        for place in paths:
            self.searched.append(place)
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
            # Systems link some fonts into several folders.
            file = path.resolve()
            if file not in self.files and file.is_file():
                self.files.add(file)
                yield from _read(path)

    def __str__(self) -> str:
        searched = ", ".join(map(str, self.searched)) or "nowhere"
        seen = (
            f"looked in {searched} for fonts with {self.min_coverage:.0%} of the "
            f"{len(self.wanted)} characters and saw {len(self.files)} font files"
        )
        coverage, name = self.nearest
        if self.left_out:
            without = list(self.without)
            seen += f", {len(self.left_out)} fonts left out by synthesis.exclude_fonts={without}"
        return f"{seen}, of which {name} has the most ({coverage:.1%})" if name else seen


def _found(name: str) -> str:
    """Return the path of a system font for its file name; anything else unchanged."""
    if Path(name).suffix.lower() in _SUFFIXES and not Path(name).expanduser().exists():
        for folder in places.system_folders():
            for path in sorted(folder.rglob("*")):
                # As file names are compared on Windows and macOS.
                if path.name.casefold() == name.casefold() and path.is_file():
                    return str(path)
    return name


def _read(path: Path) -> list[Font]:
    """Return the faces of a file; none, and log a warning, if it is damaged."""
    try:
        faces = _faces(path)
        for face in faces:
            # A file that one library can read may still be broken for the other.
            face.load(16).getbbox(min(face.characters, default=" "))
    except Exception as error:  # a damaged font can raise anything in its reader
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
    """Return the family without its region, the region or '', and the style."""
    names = font["name"]
    family = names.getDebugName(16) or names.getDebugName(1) or ""
    style = names.getDebugName(17) or names.getDebugName(2) or ""
    stem, _, last = family.rpartition(" ")
    return (stem, last, style) if last in _REGIONS else (family, "", style)
