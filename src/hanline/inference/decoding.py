"""How a reader chooses texts: the choices of ``conf/decoding/``."""

from pathlib import Path

from hanline.errors import HanlineError
from hanline.models.beam import Beam
from hanline.text.corpus import read_headlines
from hanline.text.language_model import load_language_model


def greedy() -> None:
    """Return no search: each step writes its most probable character."""


def beam(
    language_model: str | None = None,
    weight: float = 0.3,
    length_bonus: float = 0.5,
    words: str | None = None,
    word_bonus: float = 1.0,
    lexicon: str | None = None,
    width: int = 16,
    candidates: int = 8,
    sure: float = 0.98,
    best: int = 1,
) -> Beam:
    """Return a beam search.

    Args:
        language_model: a file of ``hanline language-model``; None for none.
        weight: of the language model's logarithms; 0 or more.
        length_bonus: added for each character, if there is a language model.
        words: a text file of favored words; None for none.
        word_bonus: added for each character of such a word.
        lexicon: a text file of the only words; None for all.
        width, candidates, best: see :class:`hanline.models.beam.Beam`; at least 1.
        sure: 0 to 1.

    Raises:
        HanlineError: a file is missing or damaged, or a number is out of its bounds.
    """
    for key, number in (("width", width), ("candidates", candidates), ("best", best)):
        if not 1 <= number <= _MOST:
            raise HanlineError(
                f"decoding.{key}={number}: expected a whole number from 1 to {_MOST}. Set it so"
            )
    if not 0 <= sure <= 1:
        raise HanlineError(f"decoding.sure={sure}: expected a number from 0 to 1. Set it so")
    for key, value in (("weight", weight), ("word_bonus", word_bonus)):
        if not 0 <= value < float("inf"):
            raise HanlineError(f"decoding.{key}={value}: expected 0 or more. Set it so")
    if best > width:
        raise HanlineError(
            f"decoding.best={best}: expected at most decoding.width={width}. Raise the width"
        )
    model = load_language_model(Path(language_model)) if language_model else None
    return Beam(
        width=width,
        candidates=candidates,
        sure=sure,
        best=best,
        model=model,
        weight=weight,
        length_bonus=length_bonus if model else 0.0,
        words=_words("words", words),
        word_bonus=word_bonus,
        lexicon=_words("lexicon", lexicon),
    )


# Of texts that are followed, and of characters that are tried.
_MOST = 1000


def _words(key: str, file: str | None) -> tuple[str, ...]:
    if file is None:
        return ()
    if not Path(file).is_file():
        raise HanlineError(
            f"decoding.{key}={file}: expected a text file with a word a line. Name one"
        )
    words = tuple(dict.fromkeys(read_headlines([file])))
    if not words:
        raise HanlineError(f"decoding.{key}={file}: expected words in the file. Write one a line")
    return words
