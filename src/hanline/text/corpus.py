"""Corpora: headlines from text files, and the texts to draw that are cut from them."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from hanline.errors import HanlineError
from hanline.messages import describe_counts
from hanline.text.crawled import FOLDER_VARIABLE, headlines_file
from hanline.text.normalization import normalize

EMBEDDED = "embedded"
CRAWLED = "crawled"
_EMBEDDED_FILE = Path(str(resources.files("hanline.text"))) / "corpora" / "headlines.txt"


@dataclass
class Texts:
    """The texts that a corpus gives to render.

    Attributes:
        train: the texts for training.
        validation: the texts for validation, from other headlines than those for training.
        train_words: the words that those for training are made of, in the corpus's order.
        min_words, max_words: how many words a text has.
        dropped: how many words were left out, by reason.
    """

    train: list[str]
    validation: list[str]
    train_words: list[str] = field(default_factory=list)
    min_words: int = 1
    max_words: int = 1
    dropped: Counter[str] = field(default_factory=Counter)


class Corpus:
    """Headlines, cut into the words or runs of words that are drawn.

    Args:
        files: text files of headlines, one a line; a folder means its ``*.txt``, and
            ``embedded`` for the headlines that come with Hanline.
        validation_files: headlines for validation. Without any, ``validation_share`` of the
            headlines of ``files`` is kept apart for it.
        validation_share: between 0 and 1; unused where there are ``validation_files``.
        unseen_only: leave out of validation the words that training has too, so that validation
            measures words never seen.
        min_words, max_words: a text is a run of this many words of a headline, without those that
            are dropped; of fewer only where the headline ends or ``max_length`` is reached. 1 and
            1 gives single words, each once.
        max_length: the most characters in a text.
        seed: decides the split and the runs.
    """

    def __init__(
        self,
        files: Sequence[str],
        validation_files: Sequence[str] = (),
        validation_share: float = 0.1,
        unseen_only: bool = False,
        min_words: int = 1,
        max_words: int = 1,
        max_length: int = 25,
        seed: int = 0,
    ) -> None:
        if not 0 < validation_share < 1:
            raise HanlineError(
                f"corpus.validation_share is {validation_share}: it must lie between 0 and 1"
            )
        if not 1 <= min_words <= max_words:
            raise HanlineError(
                f"corpus.min_words is {min_words} and corpus.max_words {max_words}: "
                "a text has at least one word, and no fewer at most than at least"
            )
        self.files = list(files)
        self.validation_files = list(validation_files)
        self.validation_share = validation_share
        self.unseen_only = unseen_only
        self.min_words = min_words
        self.max_words = max_words
        self.max_length = max_length
        self.seed = seed

    def texts(
        self,
        in_charset: Callable[[str], bool],
        drawable: Callable[[str], bool],
        train_count: int | None = None,
        validation_count: int | None = None,
    ) -> Texts:
        """Cut the corpus into texts.

        Args:
            in_charset: whether the charset has every character of a word.
            drawable: whether some font can draw a word.
            train_count: how many texts for training; None takes every distinct one once. More
                than there are repeats them, each in another look.
            validation_count: the same for validation, except that none is repeated.

        Raises:
            HanlineError: nothing is left, and the message has the counts by reason; a count is
                below 1; or the charset lacks the space between words.
        """
        for count in (train_count, validation_count):
            if count is not None and count < 1:
                raise HanlineError(
                    f"the corpus is to give {count} texts: ask for at least 1, or null for all"
                )
        if self.max_words > 1 and not in_charset(" "):
            raise HanlineError(
                f"corpus.max_words is {self.max_words}, but the charset has no space to stand "
                "between words: set it to 1, or take a charset with a space"
            )
        train_headlines, validation_headlines = self.split()
        dropped: Counter[str] = Counter()

        def usable(headlines: list[str]) -> list[list[str]]:
            kept = []
            for headline in headlines:
                words = []
                for word in headline.split():
                    reason = self._unfit(word, in_charset, drawable)
                    if reason:
                        dropped[reason] += 1
                    else:
                        words.append(word)
                if words:
                    kept.append(words)
            return kept

        train_lines = usable(train_headlines)
        validation_lines = usable(validation_headlines)
        if self.unseen_only:
            seen = {word for line in train_lines for word in line}
            before = sum(map(len, validation_lines))
            validation_lines = [
                unseen
                for line in validation_lines
                if (unseen := [w for w in line if w not in seen])
            ]
            dropped["validation word seen in training"] = before - sum(map(len, validation_lines))

        texts = Texts(
            train=self._cut(train_lines, train_count, repeat=True, dropped=dropped, part="train"),
            validation=self._cut(
                validation_lines, validation_count, repeat=False, dropped=dropped, part="validation"
            ),
            train_words=[word for line in train_lines for word in line],
            min_words=self.min_words,
            max_words=self.max_words,
            dropped=dropped,
        )
        for part, found in (("training", texts.train), ("validation", texts.validation)):
            if not found:
                raise HanlineError(
                    f"the corpus {', '.join(self.files)} leaves no text for {part}; "
                    f"dropped: {describe_counts(dropped)}"
                )
        return texts

    def split(self) -> tuple[list[str], list[str]]:
        """Return the headlines for training and those for validation, each once.

        Raises:
            HanlineError: as :func:`read_headlines`.
        """
        headlines = list(dict.fromkeys(read_headlines(self.files)))
        random.Random(f"split {self.seed}").shuffle(headlines)
        if self.validation_files:
            validation = list(dict.fromkeys(read_headlines(self.validation_files)))
            kept_apart = set(validation)
            return [h for h in headlines if h not in kept_apart], validation
        count = max(1, round(len(headlines) * self.validation_share))
        return headlines[count:], headlines[:count]

    def _unfit(
        self, word: str, in_charset: Callable[[str], bool], drawable: Callable[[str], bool]
    ) -> str | None:
        if len(word) > self.max_length:
            return f"longer than {self.max_length}"
        if not in_charset(word):
            return "outside the charset"
        if not drawable(word):
            return "no font draws it"
        return None

    def _cut(
        self,
        lines: list[list[str]],
        count: int | None,
        repeat: bool,
        dropped: Counter[str],
        part: str,
    ) -> list[str]:
        rng = random.Random(f"{part} {self.seed}")
        distinct: dict[str, None] = {}
        repeats = 0
        for text in self._runs(lines, rng):
            repeats += text in distinct
            distinct[text] = None
        dropped["repeated"] += repeats
        texts = list(distinct)
        if not texts or count is None:
            return texts
        if not repeat or count <= len(texts):
            return texts[:count]
        drawn: list[str] = []
        while len(drawn) < count:
            # Each time round the runs are cut again, so that a text has other words beside it.
            again = texts if self.max_words == 1 else list(self._runs(lines, rng))
            drawn += rng.sample(again, min(len(again), count - len(drawn)))
        return drawn

    def _runs(self, lines: list[list[str]], rng: random.Random) -> Iterator[str]:
        for line in rng.sample(lines, len(lines)):
            start = 0
            while start < len(line):
                words = line[start : start + rng.randint(self.min_words, self.max_words)]
                while len(" ".join(words)) > self.max_length:
                    words.pop()
                yield " ".join(words)
                start += len(words)


def read_headlines(files: Sequence[str]) -> Iterator[str]:
    """Read headlines, one a line, normalized; empty lines are skipped.

    Args:
        files: text files (UTF-8, with or without BOM), folders of ``*.txt``, or ``embedded``.

    Raises:
        HanlineError: a file is missing, is not UTF-8, or there are none.
    """
    if not files:
        raise HanlineError("the corpus names no files: set corpus.files to a list of text files")
    for name in files:
        for path in _text_files(name):
            try:
                with path.open(encoding="utf-8-sig") as lines:
                    for line in lines:
                        if headline := normalize(line):
                            yield headline
            except OSError as error:
                raise HanlineError(f"cannot read the corpus file {path}: {error}") from error
            except UnicodeDecodeError as error:
                raise HanlineError(
                    f"the corpus file {path} is not UTF-8 ({error}): save it as UTF-8, for example "
                    "with iconv -f cp949 -t utf-8"
                ) from error


def _text_files(name: str) -> list[Path]:
    if name == EMBEDDED:
        return [_EMBEDDED_FILE]
    if name == CRAWLED:
        if not headlines_file().is_file():
            raise HanlineError(
                f"corpus.files=crawled: expected crawled headlines in {headlines_file()}. Run the "
                f"crawler (docs/guides/crawl.md), or set {FOLDER_VARIABLE} to its output folder."
            )
        return [headlines_file()]
    path = Path(name)
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.txt"))
    if not found:
        raise HanlineError(f"the corpus folder {path} holds no .txt file")
    return found
