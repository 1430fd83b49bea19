from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.rows import Rows, RowsToSteps
from hanline.models.stage import Stage
from hanline.models.transformer_parts import EncoderLayer, GridPositions, start_small

# What the normalizations add to the variance, as in the authors' code.
_EPS = 1e-6


class ViT(Stage):
    """Extract features of patches by attention to the whole image.

    From Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021. Without a class token it is
    as Bautista and Atienza, "Scene Text Recognition with Permuted Autoregressive Sequence Models",
    ECCV 2022, take it for text.

    Args:
        in_channels: channels of the images.
        image_height, image_width: their size in pixels. If the width is None, images may have any,
            and the positions of columns are sine waves. Otherwise they are learned. An image whose
            width is not a multiple of the patch's is continued with its last column.
        patch: the height and the width of a patch in pixels. The height divides the image's.
        out_channels: D, the width of the layers.
        layers: the number of layers.
        heads: attention heads of each layer, a divisor of ``out_channels``.
        mlp_ratio: the hidden width of each layer's network as a multiple of ``out_channels``.
        dropout: the share of values that a training step sets to 0.
        rows: what becomes of the rows of patches, see :class:`hanline.models.rows.RowsToSteps`.
        class_token: whether a learned token beside the patches takes part in the attention. It is
            left out of the features.

    Raises:
        HanlineError: the patch's height does not divide the image's, or ``rows`` is another word.
    """

    def __init__(
        self,
        in_channels: int,
        image_height: int,
        image_width: int | None,
        patch: Sequence[int],
        out_channels: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
        dropout: float,
        rows: Rows,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        if len(patch) != 2 or min(patch) < 1 or image_height % patch[0]:
            raise HanlineError(
                f"model.feature_extraction.patch={list(patch)}: expected a height and a width, of "
                f"which the height divides image.height={image_height}"
            )
        self.steps = RowsToSteps(rows, out_channels)
        self.along_line = self.steps.along_line
        self.out_channels = out_channels
        self.any_width = image_width is None
        self.image_size = (image_height, image_width)
        # Columns that are added before patches are cut, so that the last is whole.
        self.more_columns = patch[1] - 1
        self.patches = nn.Conv2d(
            in_channels, out_channels, (patch[0], patch[1]), (patch[0], patch[1])
        )
        columns = None if image_width is None else -(-image_width // patch[1])
        self.positions = GridPositions(out_channels, image_height // patch[0], columns)
        # Its position is a part of it.
        self.token = nn.Parameter(torch.zeros(1, 1, out_channels)) if class_token else None
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(out_channels, heads, mlp_ratio, dropout, eps=_EPS) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(out_channels, _EPS)

    def reset_parameters(self) -> None:
        """Start linear layers with small weights, the patches with the scale of the pixels."""
        start_small(self)
        nn.init.xavier_uniform_(self.patches.weight.flatten(1))
        if self.token is not None:
            nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        height, width = self.image_size
        if images.shape[2] != height or (width is not None and images.shape[3] != width):
            raise HanlineError(
                f"ViT: expected images of {height}×{width or 'any'} pixels, got "
                f"{images.shape[2]}×{images.shape[3]}. With image.width=null it takes any width"
            )
        if self.more_columns:
            images = F.pad(images, (0, self.more_columns, 0, 0), mode="replicate")
        grid: Tensor = self.patches(images)
        rows, columns = grid.shape[2], grid.shape[3]
        features = self.positions(grid.flatten(2).transpose(1, 2))
        if self.token is not None:
            features = torch.cat([self.token.expand(len(images), -1, -1), features], dim=1)
        features = self.dropout(features)
        for layer in self.layers:
            features = layer(features)
        features = self.norm(features)
        if self.token is not None:
            features = features[:, 1:]
        steps: Tensor = self.steps(features, rows, columns)
        return steps
