"""What the predictions share whose texts end in a class of their own."""

import torch
from torch import Tensor

from hanline.models.confidence import with_least
from hanline.text.charset import Charset

# The target of a step after the end of a label.
AFTER_END = -1


def end_targets(labels: list[str], charset: Charset, first: int, end: int) -> Tensor:
    """Return the classes of labels, each with its end, padded with ``AFTER_END``.

    Args:
        labels: B labels.
        charset: has all their characters.
        first: the class of the charset's first character.
        end: the class that ends a text.

    Returns:
        int64 (B, length of the longest + 1).
    """
    classes = torch.full((len(labels), max(map(len, labels)) + 1), AFTER_END)
    for row, label in zip(classes, labels, strict=True):
        row[: len(label)] = torch.tensor([charset.index[c] + first for c in label]).long()
        row[len(label)] = end
    return classes


def ended_texts(
    scores: Tensor, charset: Charset, first: int, end: int, steps: int
) -> tuple[list[str], list[float]]:
    """Decode scores (B, T, classes) to B texts and their confidences.

    A confidence is the product of the probabilities of the text's characters; an empty text has 0.

    Args:
        scores: raw, for ``steps`` steps at most.
        charset, first, end: as in :func:`end_targets`.
        steps: of the longest text and its end. The last step can only end a text.
    """
    probabilities, classes = scores.float().softmax(dim=2).max(dim=2)
    return written_texts(classes, probabilities, charset, first, end, steps)


def written_texts(
    classes: Tensor, probabilities: Tensor, charset: Charset, first: int, end: int, steps: int
) -> tuple[list[str], list[float]]:
    """Write texts of the class of each step and its probability, (B, T) each.

    The other arguments and the result are those of :func:`ended_texts`.
    """
    going = (classes == end).cumsum(dim=1) == 0
    going[:, steps - 1 :] = False
    confidences = probabilities.where(going, 1.0).prod(dim=1)
    # An empty text has no character, and so no confidence.
    confidences = confidences.where(going[:, 0], 0.0)
    texts = [
        "".join(charset.characters[c - first] for c in line if c >= first)
        for line in (
            row[keep].tolist() for row, keep in zip(classes.cpu(), going.cpu(), strict=True)
        )
    ]
    least = probabilities.where(going & (classes >= first), 1.0).amin(dim=1)
    return texts, with_least(texts, confidences.tolist(), least.tolist())
