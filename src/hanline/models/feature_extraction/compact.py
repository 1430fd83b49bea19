from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage


class Compact(Stage):
    """Extract features with a small residual network that trains in minutes on a processor.

    The first convolution halves the image. A usual network spends half of its work there, on few
    channels. After the second stage only the height is halved: a time step is 4 pixels wide.

    Args:
        in_channels: channels of the images.
        channels: the width of the stem and of each stage; the last is D.
        blocks: residual blocks in each stage, one number fewer than ``channels``.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        if len(blocks) != len(channels) - 1:
            raise HanlineError(
                f"model.feature_extraction.blocks={list(blocks)}: expected {len(channels) - 1} "
                "numbers, one for each entry of channels after the first"
            )
        self.out_channels = channels[-1]
        layers: list[nn.Module] = [normalized_convolution(in_channels, channels[0], stride=2)]
        stride: int | tuple[int, int] = 2
        for (before, width), count in zip(pairwise(channels), blocks, strict=True):
            layers.append(normalized_convolution(before, width, stride))
            layers += [Residual(width) for _ in range(count)]
            stride = (2, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features.mean(dim=2).transpose(1, 2)


class Residual(nn.Module):
    """Add the input to two convolutions of it; the shape (B, C, H, W) stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            normalized_convolution(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return F.relu(inputs + self.inner(inputs), inplace=True)


def normalized_convolution(
    in_channels: int, out_channels: int, stride: int | tuple[int, int] = 1
) -> nn.Sequential:
    """Return a 3 x 3 convolution, batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
