"""How readings are judged against labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from hanline.text.normalization import normalize

# Signs that mean the same and often look the same.
_ALIKE = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "ㆍ": "·", "…": "..."})


def uniform(text: str) -> str:
    """A text for comparing readers that write the same signs in different ways.

    Quotes are straight, ellipses three full stops, the araea in a list a middle dot, white space
    one space.
    """
    return normalize(text.translate(_ALIKE))


MILLION = 1_000_000


@dataclass(frozen=True)
class Comparison:
    """Sums over pairs of a label and what was read; sums of several comparisons add up.

    Attributes:
        samples: pairs.
        correct: pairs that are equal.
        similarity: sum of 1 − distance / length of the longer, 0 where either is empty: the
            normalised edit distance of ICDAR 2019. In millionths, so that no order of adding
            changes the sum.
        distance: sum of the edit distances, in characters.
        characters: sum of the labels' lengths.
    """

    samples: int
    correct: int
    similarity: int
    distance: int
    characters: int

    @classmethod
    def of(cls, labels: Sequence[str], texts: Sequence[str]) -> "Comparison":
        if len(labels) != len(texts):
            raise ValueError(f"{len(labels)} labels, but {len(texts)} readings")
        is_wrong = list(map(ne, labels, texts))
        wrong = list(compress(labels, is_wrong)), list(compress(texts, is_wrong))
        distances = cpdist(*wrong, scorer=Levenshtein.distance, dtype=np.int32)
        lengths = [np.fromiter(map(len, side), np.int32, len(side)) for side in wrong]
        correct = len(labels) - len(distances)
        both_empty = labels.count("") - wrong[0].count("")
        alike = np.rint(MILLION * (1 - distances / np.maximum(*lengths)))
        similarity = MILLION * (correct - both_empty) + int(alike.sum())
        characters = sum(map(len, labels))
        return cls(len(labels), correct, similarity, int(distances.sum()), characters)

    @property
    def accuracy(self) -> float:
        """Readings that are exactly right, in percent."""
        return 100 * self.correct / self.samples

    @property
    def norm_ed(self) -> float:
        """Mean normalised edit distance (1 is equal), in percent."""
        return 100 * self.similarity / MILLION / self.samples

    @property
    def cer(self) -> float:
        """Character error rate: edits for a hundred characters of the labels."""
        return 100 * self.distance / max(1, self.characters)
