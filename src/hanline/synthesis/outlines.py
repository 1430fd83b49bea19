"""The outlines of letters: points around the ink of each one, moved as the picture is moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Outlines:
    """Points at the rim of some letters' ink, in pixels.

    Points give the exact box of a letter that was turned or bent. The four corners of the box that
    it had before would give a larger one.

    Attributes:
        x, y: float64 (P,), the points of one letter after those of another.
        starts: int (L,), where each letter's points begin.
        characters: int (L,), which character of the text each letter is.
        reach_x, reach_y: how far the ink reaches beyond the points: half a pixel and the stroke.
    """

    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    characters: np.ndarray
    reach_x: float
    reach_y: float

    def moved(self, dx: float, dy: float) -> "Outlines":
        """Return them moved to the right and down."""
        return self._at(self.x + dx, self.y + dy, self.reach_x, self.reach_y)

    def affine(self, xx: float, xy: float, yx: float, yy: float) -> "Outlines":
        """Return them with x = xx·x + xy·y and y = yx·x + yy·y."""
        return self._at(
            xx * self.x + xy * self.y,
            yx * self.x + yy * self.y,
            # Ink within an ellipse around each point: so far does its image reach.
            float(np.hypot(xx * self.reach_x, xy * self.reach_y)),
            float(np.hypot(yx * self.reach_x, yy * self.reach_y)),
        )

    def bent(self, rows: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> "Outlines":
        """Return them with y = rows(x, y), which moves each column up or down."""
        return self._at(self.x, rows(self.x, self.y), self.reach_x, self.reach_y)

    def boxes(self, count: int) -> np.ndarray:
        """Return the box of each character.

        Args:
            count: the characters of the text.

        Returns:
            float32 (count, 4): left, top, right, bottom; NaN for a character that has no points.
        """
        boxes = np.full((count, 4), np.nan, dtype=np.float32)
        if len(self.starts):
            boxes[self.characters] = np.stack(
                [
                    np.minimum.reduceat(self.x, self.starts) - self.reach_x,
                    np.minimum.reduceat(self.y, self.starts) - self.reach_y,
                    np.maximum.reduceat(self.x, self.starts) + self.reach_x,
                    np.maximum.reduceat(self.y, self.starts) + self.reach_y,
                ],
                axis=1,
            )
        return boxes

    def _at(self, x: np.ndarray, y: np.ndarray, reach_x: float, reach_y: float) -> "Outlines":
        return Outlines(x, y, self.starts, self.characters, reach_x, reach_y)


def outlines(letters: Sequence[tuple[int, np.ndarray, float, float]], stroke: float) -> Outlines:
    """Return the outlines of letters at their places.

    Args:
        letters: for each one the number of its character, the pixels of its :func:`rim`, and how
            far these are moved to the right and down, in pixels. A letter without any is left out.
        stroke: pixels that a round pen adds all around.
    """
    inked = [letter for letter in letters if len(letter[1])]
    sizes = [len(points) for _, points, _, _ in inked]
    moves = np.array([(dx, dy) for _, _, dx, dy in inked]).reshape(-1, 2)
    pixels = [points for _, points, _, _ in inked] or [np.zeros((0, 2))]
    points = np.concatenate(pixels) + np.repeat(moves + 0.5, sizes, axis=0)
    return Outlines(
        points[:, 0],
        points[:, 1],
        starts=np.cumsum([0, *sizes])[:-1],
        characters=np.array([number for number, *_ in inked], dtype=np.intp),
        reach_x=0.5 + stroke,
        reach_y=0.5 + stroke,
    )


def rim(ink: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of the ink: two of each row and two of each column.

    Args:
        ink: bool (H, W).

    Returns:
        int16 (P, 2): x and y of the pixels; (0, 2) if there is no ink.
    """
    rows = np.flatnonzero(ink.any(axis=1))
    columns = np.flatnonzero(ink.any(axis=0))
    height, width = ink.shape
    wide, high = ink[rows], ink[:, columns]
    ends = (
        np.stack([wide.argmax(axis=1), rows], axis=1),
        np.stack([width - 1 - wide[:, ::-1].argmax(axis=1), rows], axis=1),
        np.stack([columns, high.argmax(axis=0)], axis=1),
        np.stack([columns, height - 1 - high[::-1].argmax(axis=0)], axis=1),
    )
    return np.concatenate(ends).astype(np.int16)
