"""Whether labels fit what a model reads, or those of the lines before or after."""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

# A gt.txt whose labels are shifted is so by a line, seldom by two.
_SHIFTS = (-2, -1, 1, 2)
# The similarity (1-NED, 0 to 1) from which readings are those of the shifted labels.
_FITS = 0.5
# How much better the shifted labels must fit than their own.
_CLEARLY = 0.25
# Fewer samples say nothing.
FEWEST = 5


def misfit(labels: Sequence[str], texts: Sequence[str]) -> str:
    """Return how the labels do not fit the readings; empty if they do, or if nothing is known.

    A model that cannot read the pictures at all says nothing about their labels.

    Args:
        labels: N labels, in the order of their file.
        texts: what was read, N.
    """
    if len(labels) < FEWEST:
        return ""
    own = _similarity(labels, texts)
    by_shift = {
        shift: _similarity(labels[max(0, shift) :], texts[max(0, -shift) :]) for shift in _SHIFTS
    }
    shift, best = max(by_shift.items(), key=lambda item: item[1])
    if best < _FITS or best - own < _CLEARLY:
        return ""
    lines = "a line" if abs(shift) == 1 else f"{abs(shift)} lines"
    which = "after" if shift > 0 else "before"
    return (
        f"the labels are shifted by {lines}: the reading of a picture fits the label {lines} "
        f"{which} its own (similarity {best:.2f}; with its own {own:.2f})"
    )


def _similarity(labels: Sequence[str], texts: Sequence[str]) -> float:
    pairs = list(zip(labels, texts, strict=False))
    return sum(Levenshtein.normalized_similarity(*pair) for pair in pairs) / max(1, len(pairs))
