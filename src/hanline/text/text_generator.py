"""Texts without end: runs of a corpus's words, among them what a corpus has too little of."""

import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from hanline.errors import HanlineError
from hanline.text.charset import Charset

KINDS = ("corpus", "random", "numbers", "latin")
# As often as English has them, roughly, but none so rare that it would not be learned.
_SMALL = "eeeeetttaaaooiiinnnsssrrrhhlldduccmmffppggwwyybbvvkkxjqz"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZAAEEIIOSTNCPMKLGD"
# Four of them are empty: most numbers have no unit.
_UNITS = [
    "", "", "", "",
    "%", "%", "억", "조", "원", "만", "명", "배", "년", "월", "일", "시", "대", "위", "호", "개",
    "km", "kg", "㎡", "℃", "%p", "달러", "P", "호선", "세", "차", "m", "G", "GB",
]  # fmt: skip
_PAIRS = [
    (pair[0], pair[1])
    for pair in ("''", '""', "“”", "‘’", "()", "[]", "<>", "《》", "「」", "『』", "〈〉")
]
_BETWEEN = tuple("·,.…?!:/-~%&→ㆍ↑↓;|")


class TextGenerator:
    """A text for every number, the same for the same seed.

    A corpus has some syllables thousands of times and most of them never; a recognizer that must
    read names must have seen all. So some of the words are made up.

    Args:
        words: the words of the corpus, in its order.
        charset: the characters that a text may have.
        can_draw: whether some font draws a text.
        weights: how much of the words is of each of :data:`KINDS`, in any measure: ``corpus``,
            ``random`` (syllables, Hanja and signs of the charset, all alike often), ``numbers``
            (with their signs and units), ``latin`` (letters, as names and abbreviations have them).
        min_words, max_words: how many words a text has, as
            :class:`~hanline.text.corpus.Texts` has it.
        max_length: the most characters in a text.
        seed: decides everything.

    Raises:
        HanlineError: a weight is unknown or negative, or nothing of a kind can be rendered.
    """

    def __init__(
        self,
        words: Sequence[str],
        charset: Charset,
        can_draw: Callable[[str], bool],
        weights: Mapping[str, float],
        min_words: int,
        max_words: int,
        max_length: int,
        seed: int,
    ) -> None:
        if set(weights) != set(KINDS) or min(weights.values()) < 0 or not any(weights.values()):
            raise HanlineError(
                f"data.train.texts is {dict(weights)}: it takes a weight of at least 0 for each of "
                f"{', '.join(KINDS)}, not all of them 0"
            )
        drawable = [c for c in charset.characters if not c.isspace() and can_draw(c)]
        self.words = [word for word in words if len(word) <= max_length]
        self.weights = [weights[kind] for kind in KINDS]
        self.min_words = min_words
        self.max_words = max_words
        self.max_length = max_length
        self.seed = seed
        self.can_draw = can_draw
        self._syllables = [c for c in drawable if "가" <= c <= "힣"]
        self._hanja = [c for c in drawable if unicodedata.name(c, "").startswith("CJK UNIFIED")]
        self._latin = [c for c in drawable if c.isascii() and c.isalpha()]
        self._digits = [c for c in drawable if c.isascii() and c.isdigit()]
        classed = {*self._syllables, *self._hanja, *self._latin, *self._digits}
        self._signs = [c for c in drawable if c not in classed]
        self._known = set(drawable)
        if weights["corpus"] and not self.words:
            raise HanlineError(
                f"data.train.texts.corpus is {weights['corpus']}, but the corpus has no word of at "
                f"most {max_length} characters: set it to 0, or max_label_length higher"
            )
        for kind, members in (
            ("random", self._syllables or self._signs),
            ("numbers", self._digits),
            ("latin", self._latin),
        ):
            if weights[kind] and not members:
                raise HanlineError(
                    f"data.train.texts.{kind} is {weights[kind]}, but no font draws such "
                    "characters of the charset: set it to 0"
                )

    def text(self, number: int) -> str:
        """Return the text of a number."""
        rng = random.Random(f"text {self.seed} {number}")
        while True:
            text = self._one(rng)
            if text and self.can_draw(text):
                return text

    def _one(self, rng: random.Random) -> str:
        count = rng.randint(self.min_words, self.max_words)
        start = rng.randrange(len(self.words) or 1)
        words: list[str] = []
        for position in range(start, start + count):
            (kind,) = rng.choices(KINDS, self.weights)
            if kind == "corpus":
                word = self.words[position % len(self.words)]
            else:
                word = self._made(kind, rng)
            if word:
                words.append(word)
        while words and len(" ".join(words)) > self.max_length:
            words.pop()
        return " ".join(words)

    def _made(self, kind: str, rng: random.Random) -> str:
        word = {"random": self._random, "numbers": self._number, "latin": self._name}[kind](rng)
        return "".join(c for c in word if c in self._known)

    def _random(self, rng: random.Random) -> str:
        length = rng.choice((1, 2, 2, 3, 3, 4, 5, 6))
        letters = rng.choices(self._syllables or self._signs, k=length)
        if self._hanja and rng.random() < 0.15:
            letters[rng.randrange(length)] = rng.choice(self._hanja)
        return _enclosed("".join(letters), self._signs, rng)

    def _number(self, rng: random.Random) -> str:
        whole = rng.randrange(10 ** rng.randint(1, 5))
        forms = (
            str(whole),
            str(whole),
            f"{whole:,}",
            f"{whole * 13:,}",
            f"{rng.uniform(0, 200):.{rng.randint(1, 2)}f}",
            f"{rng.randrange(1900, 2100)}",
            f"{rng.randrange(1, 13)}.{rng.randrange(1, 32)}",
            f"{rng.randrange(24)}:{rng.randrange(60):02}",
            f"{rng.randrange(1, 100)}-{rng.randrange(1, 100)}",
            f"{rng.randrange(1, 100)}~{rng.randrange(1, 100)}",
            f"{rng.randrange(1, 20)}/{rng.randrange(2, 100)}",
            f"0{rng.randrange(10)}-{rng.randrange(1000, 10000)}",
        )
        number = rng.choice(("", "", "", "", "+", "-", "$", "€", "₩", "No.", "#")) + rng.choice(
            forms
        )
        return _enclosed(number + rng.choice(_UNITS), self._signs, rng)

    def _name(self, rng: random.Random) -> str:
        shape = rng.random()
        if shape < 0.4:
            word = "".join(rng.choices(_CAPITALS, k=rng.randint(1, 5)))
        elif shape < 0.75:
            word = "".join(rng.choices(_SMALL, k=rng.randint(2, 9)))
            word = word.capitalize() if rng.random() < 0.6 else word
        elif shape < 0.9:
            word = "".join(rng.choices(_CAPITALS + _SMALL, k=rng.randint(2, 7)))
        else:
            word = "".join(rng.choices(_CAPITALS, k=2)) + str(rng.randrange(1000))
        if self._syllables and rng.random() < 0.3:
            word += "".join(rng.choices(self._syllables, k=rng.randint(1, 3)))
        return _enclosed(word, self._signs, rng)


def _enclosed(word: str, signs: Sequence[str], rng: random.Random) -> str:
    """Return a word with the signs that may be around one."""
    chance = rng.random()
    if chance < 0.12:
        before, after = rng.choice(_PAIRS)
        return before + word + after
    if chance < 0.2:
        before, after = rng.choice(_PAIRS)
        return rng.choice((before + word, word + after))
    if chance < 0.34:
        return word + rng.choice(_BETWEEN)
    if chance < 0.4:
        return word + rng.choice(("…", "…", "·", "/", "-", "→", "?", "!")) + word[:2]
    if chance < 0.43 and signs:
        return rng.choice((rng.choice(signs) + word, word + rng.choice(signs)))
    return word
