from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage
from hanline.models.transformer_parts import EncoderLayer, GridPositions, start_small

# What the layers' normalizations add to the variance, as the authors have it.
_EPS = 1e-6


class SVTR(Stage):
    """Extract features by attention, first to the neighborhood, then to the whole image.

    Two convolutions make a vector of each 4×4 pixels. Three groups of layers follow. Between two
    groups a convolution halves the height. Local layers look at a window, global layers at the
    image. In the end the mean over the height is taken: a time step is 4 pixels wide. From Du et
    al., "SVTR: Scene Text Recognition with a Single Visual Model", IJCAI 2022, without the
    rectification.

    Args:
        in_channels: channels of the images.
        image_height, image_width: their size in pixels. If the width is None, images may have any,
            and the positions of columns are sine waves. Otherwise they are learned.
        channels: the width of each of the three groups of layers.
        layers: the number of layers in each group.
        heads: the attention heads in each group, divisors of ``channels``.
        local_layers: how many layers look at a window, from the first.
        window: its height and width in places of 4×4 pixels; odd numbers.
        mlp_ratio: the hidden width of each layer's network as a multiple of its width.
        out_channels: D.
        dropout: the share of the features that a training step sets to 0.
        drop_path: the share of the images for which a training step leaves out a branch of the last
            layer. It grows in a line from 0 in the first layer.

    Raises:
        HanlineError: a list does not have three numbers, or a window's size is even.
    """

    def __init__(
        self,
        in_channels: int,
        image_height: int,
        image_width: int | None,
        channels: Sequence[int],
        layers: Sequence[int],
        heads: Sequence[int],
        local_layers: int,
        window: Sequence[int],
        mlp_ratio: float,
        out_channels: int,
        dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        _check(channels, layers, heads, window)
        self.out_channels = out_channels
        self.any_width = image_width is None
        self.image_size = (image_height, image_width)
        self.window = (window[0], window[1])
        self.patches = nn.Sequential(
            *halving(in_channels, channels[0] // 2), *halving(channels[0] // 2, channels[0])
        )
        columns = None if image_width is None else _quarter(image_width)
        self.positions = GridPositions(channels[0], _quarter(image_height), columns)
        firsts = [*accumulate(layers, initial=0)]
        # How many layers of each group are local.
        self.local = [local_layers - first for first in firsts[:-1]]
        step = drop_path / max(1, firsts[-1] - 1)
        self.groups = nn.ModuleList(
            nn.ModuleList(
                EncoderLayer(width, count, mlp_ratio, drop_path=step * (first + i), eps=_EPS)
                for i in range(depth)
            )
            for width, count, depth, first in zip(channels, heads, layers, firsts, strict=False)
        )
        self.merges = nn.ModuleList(HeightMerge(*widths) for widths in pairwise(channels))
        self.norm = nn.LayerNorm(channels[-1], _EPS)
        self.output = nn.Linear(channels[-1], out_channels, bias=False)
        self.activation = nn.Hardswish()
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Start linear layers with small weights, convolutions as the authors do."""
        start_small(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        height, width = self.image_size
        if images.shape[2] != height or (width is not None and images.shape[3] != width):
            raise HanlineError(
                f"SVTR: expected images of {height}×{width or 'any'} pixels, got "
                f"{images.shape[2]}×{images.shape[3]}. With image.width=null it takes any width"
            )
        grid: Tensor = self.patches(images)
        rows, columns = grid.shape[2], grid.shape[3]
        features = self.positions(grid.flatten(2).transpose(1, 2))
        for number, (group, local) in enumerate(zip(self.groups, self.local, strict=True)):
            if number > 0:
                features = self.merges[number - 1](features, rows, columns)
                rows = (rows + 1) // 2
            mask = _near(rows, columns, self.window, features) if local > 0 else None
            assert isinstance(group, nn.ModuleList)
            for i, layer in enumerate(group):
                features = layer(features, mask if i < local else None)
        features = self.norm(features).unflatten(1, (rows, columns)).mean(dim=1)
        combined: Tensor = self.dropout(self.activation(self.output(features)))
        return combined


class HeightMerge(nn.Module):
    """Halve the number of rows of a grid, or divide it by another number, and change its width."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride=(stride, 1), padding=1)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, features: Tensor, rows: int, columns: int) -> Tensor:
        """Map features (B, rows · columns, C) to the same with fewer rows, rounded up, and C'."""
        grid = features.transpose(1, 2).unflatten(2, (rows, columns))
        merged: Tensor = self.norm(self.convolution(grid).flatten(2).transpose(1, 2))
        return merged


def halving(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Return layers that halve the height and the width of an image, rounded up."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.GELU()]


def _quarter(pixels: int) -> int:
    return (pixels + 3) // 4


def _near(rows: int, columns: int, window: tuple[int, int], like: Tensor) -> Tensor:
    """Return which places lie in the window around a place: bool (places, places)."""
    row = torch.arange(rows, device=like.device)
    column = torch.arange(columns, device=like.device)
    same_rows = (row.unsqueeze(1) - row).abs() <= window[0] // 2
    same_columns = (column.unsqueeze(1) - column).abs() <= window[1] // 2
    near = same_rows[:, None, :, None] & same_columns[None, :, None, :]
    return near.reshape(rows * columns, rows * columns)


def _check(
    channels: Sequence[int], layers: Sequence[int], heads: Sequence[int], window: Sequence[int]
) -> None:
    for name, numbers in (("channels", channels), ("layers", layers), ("heads", heads)):
        if len(numbers) != 3:
            raise HanlineError(
                f"model.feature_extraction.{name}={list(numbers)}: expected three numbers, one for "
                "each group of layers"
            )
    if len(window) != 2 or any(size < 1 or size % 2 == 0 for size in window):
        raise HanlineError(
            f"model.feature_extraction.window={list(window)}: expected a height and a width, odd"
        )
