"""Several fonts, and which of them have all characters of a text."""

from collections.abc import Iterable, Sequence
from typing import overload

from hanline.synthesis.fonts.font import Font


class FontSet(Sequence[Font]):
    """Fonts, with quick answers to which of them have all characters of a text.

    Args:
        groups: each group has an equal share of the texts; so has each font of a group.
    """

    def __init__(self, *groups: Iterable[Font]) -> None:
        self.groups = [sorted(group, key=_by_name) for group in groups]
        self._fonts = sorted((font for group in self.groups for font in group), key=_by_name)
        # For each character a mask with a bit for each font that has it; for each mask the fonts,
        # and those of each group.
        self._owners: dict[str, int] = {}
        self._members: dict[int, list[Font]] = {}
        self._grouped: dict[int, list[list[Font]]] = {}

    def covering(self, text: str) -> list[Font]:
        """Return the fonts that have the whole text, in the set's order."""
        mask = self._mask(text)
        if mask not in self._members:
            self._members[mask] = [font for i, font in enumerate(self._fonts) if mask >> i & 1]
        return self._members[mask]

    def choose(self, text: str, number: int) -> Font | None:
        """Return a font that has the whole text, by a random number; None if there is none."""
        mask = self._mask(text)
        if mask not in self._grouped:
            covering = set(self.covering(text))
            groups = ([font for font in group if font in covering] for group in self.groups)
            self._grouped[mask] = [group for group in groups if group]
        choices = self._grouped[mask]
        if not choices:
            return None
        rest, group = divmod(number, len(choices))
        return choices[group][rest % len(choices[group])]

    def can_draw(self, text: str) -> bool:
        """Return whether one font has the whole text."""
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
