"""Cleaning: from a headline as a site writes it to the text that training reads."""

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, NamedTuple

from hanline.errors import HanlineError

_WHITE_SPACE = re.compile(r"\s+")
# Only with the semicolon: HTML also reads `&lt` and `&reg` without one, and then the
# headline "S&LTE" loses letters.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BREAKING_TAG = re.compile(
    r"<!--.*?-->|</?(?:br|p|div|li|ul|ol|h[1-6]|hr|tr|td|table)\b[^<>]*>", re.IGNORECASE | re.DOTALL
)
# By name, so that <KBS 뉴스> is a part to drop by its own rule and no tag.
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|big|del|em|font|i|img|ins|mark|q|s|small|span|strike|strong|sub|sup|u|wbr)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_PARENTHESES = re.compile("[(（][^()（）]*[)）]")
_SQUARE_BRACKETS = re.compile(r"[\[［【][^\[\]［］【】]*[\]］】]")
_ANGLE_BRACKETS = re.compile("[<＜][^<>＜＞]*[>＞]")
_STRAIGHT = str.maketrans({**dict.fromkeys("“”„‟″＂〝〞", '"'), **dict.fromkeys("‘’‚‛′＇`´", "'")})
_ELLIPSIS = re.compile(r"(?:\.{2,}|[‥…⋯]+|[·・ㆍ∙⋅‧]{2,})(?:[.‥…⋯]*)")
# Unicode's characters with Emoji_Presentation, those that a variation selector makes emoji, and
# what joins them. The arrows, stars and hearts of print are emoji only with a selector.
_EMOJI = re.compile(
    "[\U0001f000-\U0001f0ff\U0001f18e\U0001f191-\U0001f19a\U0001f1e6-\U0001f1ff\U0001f200-\U0001faff"
    "\u231a\u231b\u23e9-\u23f3\u25fd\u25fe\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26aa\u26ab"
    "\u26bd\u26be\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2-\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728"
    "\u274c\u274e\u2753-\u2755\u2757\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50\u2b55"
    "\U000e0020-\U000e007f]"
    "|[^\\w\\s#*]\ufe0f|[\ufe0e\ufe0f\u20e3\u200d]"
)
# The replacement character, halves of surrogate pairs, private use, and no characters at all.
_BROKEN = re.compile(
    "[\ufffd\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff]"
)
# What UTF-8 or EUC-KR looks like once it was read as Latin-1 or Windows-1252: »ï¼ºÀüÀÚ.
_WESTERN = re.compile("[À-ÿ][\u0080-\u00ffŒœŠšŸŽžƒˆ˜–—‘-„†-•…‰‹›€™]{3}")
_HANGUL = re.compile("[가-힣]")
_BLANK = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")  # drawn as nothing, yet no white space


class Cleaned(NamedTuple):
    """A cleaned headline.

    Attributes:
        text: The text after cleaning.
        dropped: The reason to drop the headline, or None to keep it.
    """

    text: str
    dropped: str | None


@dataclass(frozen=True)
class HeadlineCleaning:
    """The rules that turn a headline as a site writes it into text. Each can be switched off.

    The rules run in the order of the attributes. With the defaults, a cleaned headline does not
    change under :func:`hanline.text.normalization.normalize`, so that training reads what was
    crawled.

    Attributes:
        entities: Decode ``&quot;``, ``&#x3D;`` and the like, also if encoded twice.
        tags: Drop HTML tags and keep the text between them.
        broken_encodings: What to do about bytes that were read in the wrong encoding. Unless this
            is ``keep``, a headline is always dropped if all of it was read so.
        parentheses: Drop ``(…)`` with its content, also in full width.
        square_brackets: Drop ``[…]`` with its content, also in full width, and ``【…】``.
        angle_brackets: Drop ``<…>`` with its content, also in full width.
        quotes: ``straight`` gives ``"`` and ``'``, ``curly`` gives ``“ ” ‘ ’`` in pairs.
        ellipses: Make ``..``, ``...``, ``···`` and longer runs one ``…``.
        emoji: Drop pictographs. Marks that headlines are printed with (▲ ★ ♥ → ※) stay.
        control_characters: Drop control and format characters, for example zero-width spaces.
        nfc: Write Hangul as syllables, not as letters in a row (Unicode's NFC).
        white_space: Make each run of white space one space, and the ends none. If off, line ends
            still become spaces: a headline is one line.
        charset: The characters inside for ``outside_charset``. If None, every character is.
        outside_charset: What to do about the other characters.
        max_length: Drop a headline that has more characters than this as the site writes it.

    Raises:
        HanlineError: A rule has a value that it does not know.
    """

    entities: bool = True
    tags: bool = True
    broken_encodings: Literal["drop_headline", "drop_character", "keep"] = "drop_headline"
    parentheses: bool = True
    square_brackets: bool = True
    angle_brackets: bool = True
    quotes: Literal["straight", "curly", "keep"] = "straight"
    ellipses: bool = True
    emoji: bool = True
    control_characters: bool = True
    nfc: bool = True
    white_space: bool = True
    charset: frozenset[str] | None = None
    outside_charset: Literal["drop_headline", "drop_character", "keep"] = "keep"
    max_length: int = 1000

    def __post_init__(self) -> None:
        characters = ("drop_headline", "drop_character", "keep")
        for rule, value, values in (
            ("broken_encodings", self.broken_encodings, characters),
            ("quotes", self.quotes, ("straight", "curly", "keep")),
            ("outside_charset", self.outside_charset, characters),
        ):
            if value not in values:
                raise HanlineError(
                    f"CLEAN_{rule.upper()}={value}: expected {', '.join(values)}. "
                    "Change the setting."
                )
        if self.max_length < 1:
            raise HanlineError(
                f"CLEAN_MAX_LENGTH={self.max_length}: expected at least 1. Change the setting."
            )

    def __call__(self, headline: str) -> Cleaned:
        """Clean one headline."""
        # First of all: the time of some rules grows with the square of the length.
        if len(headline) > self.max_length:
            return Cleaned(headline[:100], f"longer than {self.max_length} characters")
        text = self._decoded(headline)
        if self.broken_encodings != "keep":
            if _misread(text) or (
                self.broken_encodings == "drop_headline" and _BROKEN.search(text)
            ):
                return Cleaned(text, "broken encoding")
            text = _BROKEN.sub("", text)
        text = self._spaced(self._printed(self._without_parts(text)))
        if self.charset is not None and self.outside_charset != "keep":
            outside = set(text) - self.charset - {" "}
            if outside and self.outside_charset == "drop_headline":
                return Cleaned(text, "outside the charset")
            if outside:
                text = self._spaced("".join(c for c in text if c not in outside))
        return Cleaned(text, None if text.strip() else "nothing left")

    def _decoded(self, text: str) -> str:
        if self.entities and "&" in text:
            text = _decode_entities(text)
        if self.tags and "<" in text:
            text = _INLINE_TAG.sub("", _BREAKING_TAG.sub(" ", text))
        return text

    def _without_parts(self, text: str) -> str:
        if self.parentheses:
            text = _without(_PARENTHESES, text)
        if self.square_brackets:
            text = _without(_SQUARE_BRACKETS, text)
        if self.angle_brackets:
            text = _without(_ANGLE_BRACKETS, text)
        return text

    def _printed(self, text: str) -> str:
        if self.quotes != "keep":
            text = text.translate(_STRAIGHT)
        if self.quotes == "curly":
            text = _curl(text)
        if self.ellipses:
            text = _ELLIPSIS.sub("…", text)
        if self.emoji:
            text = _EMOJI.sub("", text)
        if self.control_characters:
            text = _without_controls(text)
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def _spaced(self, text: str) -> str:
        if self.white_space:
            return _WHITE_SPACE.sub(" ", text).strip()
        return " ".join(text.splitlines())


def _decode_entities(text: str) -> str:
    for _ in range(3):  # feeds encode what a site has encoded already: &amp;quot;
        decoded = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
        if decoded == text:
            break
        text = decoded
    return text


def _misread(text: str) -> bool:
    return _WESTERN.search(text) is not None and _HANGUL.search(text) is None


def _without(brackets: re.Pattern[str], text: str) -> str:
    found = 1
    while found:  # the innermost pair first: (종합(2보))
        text, found = brackets.subn("", text)
    return text


def _curl(text: str) -> str:
    if '"' not in text and "'" not in text:
        return text
    curled = []
    double_open = single_open = False
    for i, character in enumerate(text):
        if character == '"':
            curled.append("”" if double_open else "“")
            double_open = not double_open
        elif character == "'":
            around = text[max(0, i - 1) : i] + text[i + 1 : i + 2]
            inside_word = len(around) == 2 and around.isascii() and around.isalnum()
            last = "'" not in text[i + 1 :]
            if single_open and (last or not inside_word):
                curled.append("’")
                single_open = False
            elif inside_word or last:  # K's, '24
                curled.append("’")
            else:
                curled.append("‘")
                single_open = True
        else:
            curled.append(character)
    return "".join(curled)


def _without_controls(text: str) -> str:
    text = _BLANK.sub(" ", text)
    if text.isprintable():
        return text
    kept = []
    for character in text:
        if unicodedata.category(character) not in ("Cc", "Cf"):
            kept.append(character)
        elif character.isspace():  # a tab or a line end
            kept.append(" ")
    return "".join(kept)
