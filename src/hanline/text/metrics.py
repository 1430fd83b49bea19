"""How readings are judged against labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from hanline.text.cleaning import normalize

# Signs that mean the same and often look the same.
_ALIKE = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "ㆍ": "·", "…": "..."})


def uniform(text: str) -> str:
    """A text for comparing readers that write the same signs in different ways.

    Quotes are straight, ellipses three full stops, the araea in a list a middle dot, white space
    one space.
    """
    return normalize(text.translate(_ALIKE))


@dataclass(frozen=True)
class Comparison:
    """Sums over pairs of a label and what was read; sums of several comparisons add up.

    Attributes:
        samples: pairs.
        correct: pairs that are equal.
        similarity: sum of 1 − distance / length of the longer, 0 where either is empty: the
            normalised edit distance of ICDAR 2019.
        distance: sum of the edit distances, in characters.
        characters: sum of the labels' lengths.
    """

    samples: int
    correct: int
    similarity: float
    distance: int
    characters: int

    @classmethod
    def of(cls, labels: Sequence[str], texts: Sequence[str]) -> "Comparison":
        correct = distance = 0
        similarity = 0.0
        for label, text in zip(labels, texts, strict=True):
            if label == text:
                correct += 1
                similarity += bool(label)
                continue
            edits = Levenshtein.distance(label, text)
            distance += edits
            if label and text:
                similarity += 1 - edits / max(len(label), len(text))
        return cls(len(labels), correct, similarity, distance, sum(map(len, labels)))

    @property
    def accuracy(self) -> float:
        """Readings that are exactly right, in percent."""
        return 100 * self.correct / self.samples

    @property
    def norm_ed(self) -> float:
        """Mean normalised edit distance (1 is equal), in percent."""
        return 100 * self.similarity / self.samples

    @property
    def cer(self) -> float:
        """Character error rate: edits for a hundred characters of the labels."""
        return 100 * self.distance / max(1, self.characters)
