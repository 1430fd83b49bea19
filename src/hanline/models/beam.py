"""Search for the best text: by the image, a language model, and words that are known.

The search follows several texts at once and drops the worst after each step. The one for CTC is
the prefix beam search of Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition
using Bi-Directional Recurrent DNNs", 2014.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hanline.models.stage import Letter
from hanline.text.charset import Charset
from hanline.text.language_model import BEGIN, END, LanguageModel

# Scores of the language model that are kept, a hundred bytes each.
_KEPT_SCORES = 500_000
# A node of words: the next nodes by character. The key "" says that a word ends here.
_Node = Mapping[str, Any]
# Where a text is: the context of the language model, the place in the favored words, what they have
# given for a word that has not ended, and the place in the lexicon.
State = tuple[int, _Node | None, float, _Node | None]


@dataclass(frozen=True)
class Beam:
    """How a beam search decides.

    Attributes:
        width: the texts that are followed at once.
        candidates: the characters that are tried at a step, the most probable ones.
        sure: a line is read greedily if every step is at least as sure, 0 to 1.
        best: how many texts are returned.
        model: a language model; None for none.
        weight: of the logarithm of its probability. That of the image's has 1.
        length_bonus: added for each character; a language model prefers short texts.
        words: words that are favored, without spaces.
        word_bonus: added for each character of a favored word.
        lexicon: if there are any, the only words that a text may have.
    """

    width: int = 16
    candidates: int = 8
    sure: float = 0.98
    best: int = 1
    model: LanguageModel | None = None
    weight: float = 0.0
    length_bonus: float = 0.0
    words: Sequence[str] = ()
    word_bonus: float = 0.0
    lexicon: Sequence[str] = ()


@dataclass(frozen=True)
class Hypothesis:
    """A text that an image may have.

    Attributes:
        text: the text.
        confidence: the product of its characters' probabilities by the image alone, 0 to 1.
        score: by which texts are sorted: a logarithm, with all bonuses.
        letters: its characters; empty except for the best text of a line.
    """

    text: str
    confidence: float
    score: float = 0.0
    letters: list[Letter] = field(default_factory=list)


class Prior:
    """Knowledge of texts before an image is seen.

    Args:
        beam: the settings.
        charset: the characters of the recognizer.
    """

    def __init__(self, beam: Beam, charset: Charset) -> None:
        self.beam = beam
        self.charset = charset
        self._words = _tree(beam.words)
        self._lexicon = _tree(beam.lexicon)
        self._symbols = (
            np.array(beam.model.symbols(charset.characters), np.uint64) if beam.model else None
        )
        self._scores: dict[tuple[int, int], float] = {}

    def start(self) -> State:
        """Return the state of an empty text."""
        return BEGIN, self._words or None, 0.0, self._lexicon or None

    def allowed(self) -> np.ndarray | None:
        """Return which characters may occur at all, bool (charset,); None for all."""
        if not self.beam.lexicon:
            return None
        known = set(" ".join(self.beam.lexicon)) | {" "}
        return np.array([character in known for character in self.charset.characters])

    def prepare(self, states: Iterable[State], characters: Sequence[int]) -> None:
        """Look up all scores of the language model that a step may need, at once."""
        model = self.beam.model
        if model is None or self._symbols is None:
            return
        symbols = {int(self._symbols[c]) for c in characters} | {END}
        if len(self._scores) > _KEPT_SCORES:
            self._scores.clear()
        contexts = {state[0] for state in states}
        wanted = [(c, s) for c in contexts for s in symbols if (c, s) not in self._scores]
        if wanted:
            found = model.score(*np.array(wanted, np.uint64).T)
            self._scores.update(zip(wanted, found.tolist(), strict=True))

    def extend(self, state: State, number: int) -> tuple[float, State] | None:
        """Return what a text gains by one more character, and its state then.

        Args:
            state: of the text, among those of the last :meth:`prepare`.
            number: the character's place in the charset.

        Returns:
            None if no word of the lexicon goes on so.
        """
        context, node, pending, place = state
        character = self.charset.characters[number]
        if place is not None:
            place = self._in_lexicon(place, character)
            if place is None:
                return None
        gained = self.beam.length_bonus
        if self.beam.model is not None and self._symbols is not None:
            symbol = int(self._symbols[number])
            gained += self.beam.weight * self._scores[context, symbol]
            context = self.beam.model.after(context, symbol)
        if self._words:
            following = node.get(character) if node is not None else None
            if following is not None:
                gained += self.beam.word_bonus
                # A word that has ended keeps its bonus, whatever follows: in Korean, particles do.
                pending = 0.0 if "" in following else pending + self.beam.word_bonus
                node = following
            else:
                gained -= pending
                # A word begins at the begin of the line or after a sign or a space.
                node, pending = (None if character.isalnum() else self._words), 0.0
        return gained, (context, node, pending, place)

    def end(self, state: State) -> float | None:
        """Return what a text gains by its end; None if it ends within a word of the lexicon."""
        context, _, pending, place = state
        if place is not None and "" not in place and place is not self._lexicon:
            return None
        if self.beam.model is None:
            return -pending
        return self.beam.weight * self._scores[context, END] - pending

    def _in_lexicon(self, place: _Node, character: str) -> _Node | None:
        following: _Node | None = place.get(character)
        if following is None and character == " " and "" in place:
            return self._lexicon
        return following


@dataclass
class _Prefix:
    """Texts of CTC with one beginning: how probable they are, with a blank last or without."""

    prior: float
    state: State
    blank: float = -np.inf
    other: float = -np.inf

    @property
    def image(self) -> float:
        return float(np.logaddexp(self.blank, self.other))


def search_ctc(log_probabilities: np.ndarray, prior: Prior) -> list[tuple[list[int], float]]:
    """Search the best texts of a line of CTC.

    Args:
        log_probabilities: float (T, 1 + charset); class 0 is the blank.
        prior: knowledge of texts.

    Returns:
        The best texts as classes, and the logarithms of what all their paths and the prior give,
        the best first; none if no text is allowed.
    """
    beam = prior.beam
    allowed = prior.allowed()
    if allowed is not None:
        barred = np.concatenate([[False], ~allowed])
        log_probabilities = np.where(barred, -np.inf, log_probabilities)
    number = min(beam.candidates + 1, log_probabilities.shape[1])
    tops = np.argpartition(-log_probabilities, number - 1, axis=1)[:, :number]
    # A character less probable than this at a step is not followed.
    floor = -np.inf if allowed is not None else _FLOOR
    prefixes: dict[tuple[int, ...], _Prefix] = {
        (): _Prefix(0.0, prior.start(), blank=0.0),
    }
    for step, top in zip(log_probabilities, tops, strict=True):
        characters = [int(c) for c in top if c and step[c] > floor]
        prior.prepare((p.state for p in prefixes.values()), [c - 1 for c in characters])
        reached: dict[tuple[int, ...], _Prefix] = {}

        def reach(text: tuple[int, ...], gained: float, state: State) -> _Prefix:
            return reached.setdefault(text, _Prefix(gained, state))  # noqa: B023

        for text, prefix in prefixes.items():
            same = reach(text, prefix.prior, prefix.state)
            same.blank = np.logaddexp(same.blank, prefix.image + step[0])
            if text:
                same.other = np.logaddexp(same.other, prefix.other + step[text[-1]])
            for character in characters:
                longer = (*text, character)
                # Equal neighbors are one character unless a blank is between them.
                source = prefix.blank if text and text[-1] == character else prefix.image
                if source == -np.inf:
                    continue
                known = reached.get(longer) or prefixes.get(longer)
                if known is not None:
                    following = reach(longer, known.prior, known.state)
                else:
                    extended = prior.extend(prefix.state, character - 1)
                    if extended is None:
                        continue
                    following = reach(longer, prefix.prior + extended[0], extended[1])
                following.other = np.logaddexp(following.other, source + step[character])
        best = sorted(reached.items(), key=lambda item: -(item[1].image + item[1].prior))
        prefixes = dict(best[: beam.width])
    prior.prepare((p.state for p in prefixes.values()), [])
    ended = [
        (list(text), prefix.image + prefix.prior + end)
        for text, prefix in prefixes.items()
        if prefix.image > -np.inf and (end := prior.end(prefix.state)) is not None
    ]
    return sorted(ended, key=lambda item: -item[1])[: beam.best]


# The logarithm of one in a hundred thousand.
_FLOOR = float(np.log(1e-5))


def align_ctc(log_probabilities: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return the best path of a text: int64 (T,), the class of each step.

    Args:
        log_probabilities: float (T, 1 + charset).
        classes: the text, of no more characters than there are steps for.
    """
    # A blank before, between and after the characters.
    labels = np.zeros(2 * len(classes) + 1, np.int64)
    labels[1::2] = classes
    emitted = log_probabilities[:, labels]
    may_skip = np.zeros(len(labels), bool)
    may_skip[2:] = (labels[2:] != 0) & (labels[2:] != labels[:-2])
    steps = np.zeros(emitted.shape, np.int64)
    total = np.full(len(labels), -np.inf)
    total[:2] = emitted[0, :2]
    for step in range(1, len(emitted)):
        ways = np.full((3, len(labels)), -np.inf)
        ways[0] = total
        ways[1, 1:] = total[:-1]
        ways[2, 2:] = np.where(may_skip[2:], total[:-2], -np.inf)
        steps[step] = ways.argmax(axis=0)
        total = ways.max(axis=0) + emitted[step]
    place = len(labels) - 1
    if place and total[place - 1] > total[place]:
        place -= 1
    path = np.zeros(len(emitted), np.int64)
    for step in range(len(emitted) - 1, -1, -1):
        path[step] = labels[place]
        place -= steps[step, place]
    return path


def _tree(words: Iterable[str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for character in word:
            node = node.setdefault(character, {})
        if word:
            node[""] = True
    return root
