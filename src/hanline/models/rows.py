"""From the rows and columns of a grid of features to the steps of a sequence."""

from typing import Literal, get_args

from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.transformer_parts import EncoderLayer, start_small

Rows = Literal["mean", "keep", "rearrange"]
"""What becomes of the rows: see :class:`RowsToSteps`."""

# Features of each attention head of the rearranging, as the authors have it.
_HEAD = 32


class RowsToSteps(nn.Module):
    """Make a sequence (B, T, D) of a grid of features (B, rows · columns, D).

    Args:
        rows: ``mean`` for one step for each column, the mean over its rows; ``rearrange`` for one
            step for each column, to which attention moves what belongs there; ``keep`` for one step
            for each place, row by row, which only a prediction with attention can read.
        width: D.

    Raises:
        HanlineError: ``rows`` is another word.

    Attributes:
        along_line: whether the steps follow one another along the line.
    """

    def __init__(self, rows: Rows, width: int) -> None:
        super().__init__()
        if rows not in get_args(Rows):
            raise HanlineError(
                f"model.feature_extraction.rows={rows}: expected mean, keep or rearrange"
            )
        self.along_line = rows != "keep"
        self.rearranged = Rearrange(width) if rows == "rearrange" else None

    def forward(self, features: Tensor, rows: int, columns: int) -> Tensor:
        """Map features (B, rows · columns, D) to (B, T, D)."""
        if self.rearranged is not None:
            steps: Tensor = self.rearranged(features, rows, columns)
            return steps
        if self.along_line:
            return features.unflatten(1, (rows, columns)).mean(dim=1)
        return features


class Rearrange(nn.Module):
    """Move features along each row, then choose from the rows of each column.

    So a character of a slanted or curved text comes to the step where CTC expects it. From Du et
    al., "SVTRv2: CTC Beats Encoder-Decoder Models in Scene Text Recognition", ICCV 2025.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.along_rows = EncoderLayer(width, max(1, width // _HEAD), 4, qkv_bias=False)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        # One query for all columns, as a layer: the score of a place is one product.
        self.query = nn.Linear(width, 1, bias=False)

    def reset_parameters(self) -> None:
        """Start with small weights."""
        start_small(self)

    def forward(self, features: Tensor, rows: int, columns: int) -> Tensor:
        """Map features (B, rows · columns, D) to (B, columns, D)."""
        lines = features.unflatten(1, (rows, columns)).flatten(0, 1)
        grid = self.along_rows(lines).unflatten(0, (-1, rows))
        weights = self.query(self.keys(grid)).softmax(dim=1)
        steps: Tensor = (weights * self.values(grid)).sum(dim=1)
        return steps
