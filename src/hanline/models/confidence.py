"""How sure a reading is: the product of its probabilities, and the chance that it is right."""

import math
from dataclasses import dataclass

import numpy as np

# A probability this near to 0 or 1 is as good as certain.
_NEAREST = 1e-7


class Confidence(float):
    """The product of a text's probabilities.

    Attributes:
        least: the probability of its least sure character; the product if it has none.
    """

    least: float

    # Copies and pickles hand in the product alone, and put the least in themselves.
    def __new__(cls, product: float, least: float = math.nan) -> "Confidence":
        """Return a product that knows its least sure character."""
        made = super().__new__(cls, product)
        made.least = least
        return made


@dataclass(frozen=True)
class ConfidenceScale:
    """How the least sure character says that a line is right.

    A logistic function of the character's log odds, as in Platt, "Probabilistic Outputs for Support
    Vector Machines", 1999. The least sure character predicts this better than the product does,
    since a long line is not wrong more often because many characters are nearly sure.

    Attributes:
        slope: by which the log odds are multiplied; more than 0, so that the order of lines stays.
        offset: added then.
    """

    slope: float
    offset: float

    def chance(self, least: float) -> float:
        """Return the chance that a line is right, 0 to 1."""
        return 1 / (1 + math.exp(-(self.slope * float(log_odds(least)) + self.offset)))


def log_odds(probability: float | np.ndarray) -> np.ndarray:
    """Return the log odds of probabilities, at most 16 either way."""
    sure = np.clip(np.asarray(probability, np.float64), _NEAREST, 1 - _NEAREST)
    odds: np.ndarray = np.log(sure / (1 - sure))
    return odds


def least_of_runs(classes: np.ndarray, probabilities: np.ndarray, blank: int) -> np.ndarray:
    """Return the probability of the least sure character of each line of CTC.

    A character is as sure as its surest step.

    Args:
        classes: int64 (B, T), the class of each step.
        probabilities: float32 (B, T), theirs.
        blank: the class between characters.

    Returns:
        float32 (B,): 1 where a line has no character.
    """
    begins = np.ones(classes.shape, bool)
    begins[:, 1:] = classes[:, 1:] != classes[:, :-1]
    runs = np.flatnonzero(begins)
    peaks = np.maximum.reduceat(probabilities.reshape(-1), runs)
    written = classes.reshape(-1)[runs] != blank
    least = np.ones(len(classes), np.float32)
    np.minimum.at(least, runs[written] // classes.shape[1], peaks[written])
    return least


def with_least(texts: list[str], products: list[float], least: list[float]) -> list[float]:
    """Return the confidences of texts, from the products and their least sure characters."""
    return [
        Confidence(product, sure if text else product)
        for text, product, sure in zip(texts, products, least, strict=True)
    ]
