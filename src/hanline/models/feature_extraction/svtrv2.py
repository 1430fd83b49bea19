from collections.abc import Sequence
from itertools import accumulate, pairwise

from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.feature_extraction.svtr import HeightMerge, halving
from hanline.models.rows import Rows, RowsToSteps
from hanline.models.stage import Stage
from hanline.models.transformer_parts import DropPath, SelfAttention, start_small

# What the layers' normalizations add to the variance, as the authors have it.
_EPS = 1e-6
# Convolutions of each local layer, one after another, and the size of their kernels.
_CONVOLUTIONS, _KERNEL = 2, 3


class SVTRv2(Stage):
    """Extract features by convolutions first, then by attention to the whole image.

    Two convolutions make a vector of each 4×4 pixels. Three groups of layers follow. The first
    layers look around by convolutions, so that no positions are needed and images may have any
    size; the others look at the whole image. The height is halved after the second group. A time
    step is 4 pixels wide. From Du et al., "SVTRv2: CTC Beats Encoder-Decoder Models in Scene Text
    Recognition", ICCV 2025.

    Args:
        in_channels: channels of the images.
        channels: the width of each of the three groups of layers; the last is D.
        layers: the number of layers in each group.
        heads: the attention heads in each group, divisors of ``channels``. The convolutions have as
            many groups of channels.
        local_layers: how many layers look around by convolutions, from the first.
        mlp_ratio: the hidden width of each layer's network as a multiple of its width.
        rows: what becomes of the rows of places, see :class:`hanline.models.rows.RowsToSteps`.
        drop_path: the share of the images for which a training step leaves out a branch of the last
            layer. It grows in a line from 0 in the first layer.

    Raises:
        HanlineError: a list does not have three numbers, or ``rows`` is another word.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        layers: Sequence[int],
        heads: Sequence[int],
        local_layers: int,
        mlp_ratio: float,
        rows: Rows,
        drop_path: float,
    ) -> None:
        super().__init__()
        for name, numbers in (("channels", channels), ("layers", layers), ("heads", heads)):
            if len(numbers) != 3:
                raise HanlineError(
                    f"model.feature_extraction.{name}={list(numbers)}: expected three numbers, one "
                    "for each group of layers"
                )
        self.out_channels = channels[-1]
        self.patches = nn.Sequential(
            *halving(in_channels, channels[0] // 2), *halving(channels[0] // 2, channels[0])
        )
        firsts = [*accumulate(layers, initial=0)]
        step = drop_path / max(1, firsts[-1] - 1)
        self.groups = nn.ModuleList(
            nn.ModuleList(
                Layer(width, count, mlp_ratio, step * (first + i), first + i < local_layers)
                for i in range(depth)
            )
            for width, count, depth, first in zip(channels, heads, layers, firsts, strict=False)
        )
        self.merges = nn.ModuleList(
            HeightMerge(*widths, stride)
            for widths, stride in zip(pairwise(channels), (1, 2), strict=True)
        )
        self.steps = RowsToSteps(rows, channels[-1])
        self.along_line = self.steps.along_line

    def reset_parameters(self) -> None:
        """Start linear layers with small weights, convolutions as the authors do."""
        start_small(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        grid: Tensor = self.patches(images)
        rows, columns = grid.shape[2], grid.shape[3]
        features = grid.flatten(2).transpose(1, 2)
        for number, group in enumerate(self.groups):
            assert isinstance(group, nn.ModuleList)
            for layer in group:
                features = layer(features, rows, columns)
            if number < len(self.merges):
                merge = self.merges[number]
                features = merge(features, rows, columns)
                rows = -(-rows // (number + 1))
        steps: Tensor = self.steps(features, rows, columns)
        return steps


class Layer(nn.Module):
    """Add what lies around, then a small network of each place; normalize after each (post-norm).

    Args:
        width: of the input and the output.
        heads: the number of attention heads, or of groups of channels.
        mlp_ratio: the small network's hidden width as a multiple of ``width``.
        drop_path: the share of the images for which a training step leaves a branch out.
        local: look around by convolutions rather than at the whole image by attention.
    """

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, drop_path: float, local: bool
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.attention = None if local else SelfAttention(width, heads)
        self.convolutions = (
            nn.Sequential(
                *(
                    nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=heads)
                    for _ in range(_CONVOLUTIONS)
                )
            )
            if local
            else None
        )
        self.mixer_norm = nn.LayerNorm(width, _EPS)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width, _EPS)
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor, rows: int, columns: int) -> Tensor:
        """Map features (B, rows · columns, width) to the same shape."""
        if self.attention is not None:
            mixed = self.attention(features)
        else:
            assert self.convolutions is not None
            grid = features.transpose(1, 2).unflatten(2, (rows, columns))
            mixed = self.convolutions(grid).flatten(2).transpose(1, 2)
        features = self.mixer_norm(features + self.drop_path(mixed))
        normalized: Tensor = self.mlp_norm(features + self.drop_path(self.mlp(features)))
        return normalized
