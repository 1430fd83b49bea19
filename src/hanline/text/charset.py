"""Charsets: the characters that a recognizer can read, in the order of its classes."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from hanline.errors import HanlineError
from hanline.text.corpus import read_headlines

_NAMED = Path(str(resources.files("hanline.text"))) / "charsets"


class Charset:
    """An ordered list of unique characters.

    The order decides the classes of a trained model, so a charset travels in every checkpoint.

    Raises:
        HanlineError: the characters repeat, are none, or are no NFC characters.
    """

    def __init__(self, characters: str) -> None:
        if not characters:
            raise HanlineError("the charset is empty: it needs at least one character")
        repeated = [c for c, count in Counter(characters).items() if count > 1]
        if repeated:
            raise HanlineError(f"the charset holds {''.join(repeated)!r} more than once")
        for character in characters:
            if unicodedata.normalize("NFC", character) != character:
                raise HanlineError(
                    f"the charset holds {character!r} (U+{ord(character):04X}), which no label can "
                    "contain: text is kept in Unicode's NFC form, which writes it differently"
                )
        self.characters = characters
        self.index = {character: i for i, character in enumerate(characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: str) -> bool:
        return character in self.index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Charset) and self.characters == other.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"Charset({len(self)} characters: {self.characters[:20]!r}…)"

    def covers(self, text: str) -> bool:
        """Return whether every character of the text is in the charset."""
        return self.index.keys() >= set(text)


def named_charset(name: str) -> Charset:
    """Load a charset that comes with Hanline, such as ``korean``.

    Raises:
        HanlineError: there is none of that name; the message lists those there are.
    """
    if name not in charset_names():
        raise HanlineError(
            f"there is no charset named {name!r}; there are: {', '.join(charset_names())}. "
            "For one of your own: charset=file charset.path=PATH"
        )
    return charset_file(_NAMED / f"{name}.txt")


def charset_names() -> list[str]:
    """Return the names of the charsets that come with Hanline, sorted."""
    return sorted(path.stem for path in _NAMED.glob("*.txt"))


def charset_file(path: str | Path) -> Charset:
    """Read a charset from a UTF-8 file: every character but line ends counts, in the file's order.

    Raises:
        HanlineError: the file cannot be read, or its characters make no charset.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HanlineError(f"cannot read the charset file {path}: {error}") from error
    try:
        return Charset("".join(text.splitlines()))
    except HanlineError as error:
        raise HanlineError(f"{path}: {error}") from error


def corpus_charset(files: Sequence[str]) -> Charset:
    """Return the characters that occur in a corpus, in Unicode's order.

    Args:
        files: the corpus, as :func:`hanline.text.corpus.read_headlines` takes it.
    """
    return Charset("".join(sorted({c for headline in read_headlines(files) for c in headline})))
