"""The character error rate."""

from collections.abc import Mapping, Sequence

from hanline.metrics.base import Metric, Readings


class CER(Metric):
    """Edits (Levenshtein) per 100 characters of the labels; it can exceed 100 %."""

    name = "cer"
    title = "CER"
    direction = "min"
    sums = ("distance", "characters")

    def add(self, readings: Readings) -> Sequence[int]:
        """Return the edits, and the characters of the labels."""
        return int(readings.distances.sum()), sum(map(len, readings.labels))

    def value(self, sums: Mapping[str, int]) -> float:
        """Return the error rate in percent; labels without characters count as one character."""
        return 100 * sums["distance"] / max(1, sums["characters"])
