"""Bends of a line of text: each column moved up or down, and made smaller."""

from dataclasses import dataclass

import numpy as np

from hanline.synthesis.outlines import Outlines


@dataclass(frozen=True)
class Bend:
    """A shift and a scale for each column of a picture.

    Attributes:
        shift: float (W,), how far it is moved down, in pixels.
        shrink: float (W,) or a number, the height that it is given, 1 being its own.
        middle: the row that ``shrink`` leaves where it is.
    """

    shift: np.ndarray
    shrink: np.ndarray | float
    middle: float

    def picture(self, ink: np.ndarray) -> np.ndarray:
        """Return the ink bent: float32 (H, W) for float32 (H, W). What comes in is 0."""
        height = ink.shape[0]
        target = np.arange(height, dtype=np.float32)[:, None]
        source = (target - self.middle - self.shift) / self.shrink + self.middle
        below = np.floor(source).astype(np.intp)
        share = source - below
        inside = (below >= 0) & (below < height - 1)
        below = below.clip(0, height - 2)
        columns = np.arange(ink.shape[1])
        moved = ink[below, columns] * (1 - share) + ink[below + 1, columns] * share
        moved *= inside
        return moved.astype(np.float32)

    def outlines(self, letters: Outlines) -> Outlines:
        """Return letters of the picture, bent with it."""

        def rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            column = np.floor(x).astype(np.intp).clip(0, len(self.shift) - 1)
            shrink = self.shrink[column] if isinstance(self.shrink, np.ndarray) else self.shrink
            # picture() counts rows from the middle of the first one.
            middle = self.middle + 0.5
            bent: np.ndarray = (y - middle) * shrink + middle + self.shift[column]
            return bent

        return letters.bent(rows)


def shifted(ink: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Return a picture (H, W) moved by whole pixels; what comes in is 0."""
    moved = np.zeros_like(ink)
    height, width = ink.shape
    moved[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = ink[
        max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
    ]
    return moved
