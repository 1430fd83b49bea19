"""Punctuation that readers write in different ways, folded to one before they are compared."""

from hanline.text.normalization import normalize

# Characters that mean the same and often look the same.
_ALIKE = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "ㆍ": "·", "…": "..."})


def fold_punctuation(text: str) -> str:
    """Return a text with one spelling of punctuation that means the same.

    Quotes become straight, an ellipsis three full stops, the araea of a list a middle dot, and any
    white space one space.
    """
    return normalize(text.translate(_ALIKE))
