"""The similarity that is written 1-N.E.D. or NED elsewhere."""

from collections.abc import Mapping, Sequence

import numpy as np

from hanline.metrics.base import Metric, Readings, ratio

# Similarities are summed as whole numbers of this part, so that no order of adding changes a sum.
MILLION = 1_000_000


class EditSimilarity(Metric):
    """The mean of 1 − distance / length of the longer text, in percent; 100 % is equal.

    ICDAR 2019's "1-N.E.D." (Zhang et al., "ICDAR 2019 Robust Reading Challenge on Reading Chinese
    Text on Signboard"). DTRB calls it ``norm_ED``. Where the label or the reading is empty it is 0.
    """

    name = "edit_similarity"
    title = "1-NED"
    direction = "max"
    sums = ("similarity_millionths", "samples")

    def add(self, readings: Readings) -> Sequence[int]:
        """Return the sum of similarities in millionths, and the number of readings."""
        labels, texts = readings.wrong
        lengths = [np.fromiter(map(len, side), np.int32, len(side)) for side in (labels, texts)]
        partly = np.rint(MILLION * (1 - readings.distances / np.maximum(*lengths)))
        both_empty = readings.labels.count("") - labels.count("")
        equal = len(readings) - len(labels) - both_empty
        return MILLION * equal + int(partly.sum()), len(readings)

    def value(self, sums: Mapping[str, int]) -> float:
        """Return the similarity in percent."""
        return 100 * ratio(sums["similarity_millionths"] / MILLION, sums["samples"])
