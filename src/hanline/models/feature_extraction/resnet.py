import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage


class ResNet(Stage):
    """Extract features with a residual network of 29 convolutions.

    From Cheng et al., "Focusing Attention: Towards Accurate Text Recognition in Natural Images",
    ICCV 2017, as DTRB has it. T is width/4 + 1.

    Args:
        in_channels: channels of the images.
        out_channels: D, the width of the last two stages; the stem has an eighth of it,
            rounded down.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels < 16:
            raise HanlineError(
                f"model.feature_extraction.out_channels={out_channels}: expected at least 16"
            )
        self.out_channels = out_channels
        eighth, quarter, half = out_channels // 8, out_channels // 4, out_channels // 2
        # Every pooling halves the height. Only the first two halve the width, which is the text's.
        self.layers = nn.Sequential(
            convolution(in_channels, eighth // 2),
            convolution(eighth // 2, eighth),
            nn.MaxPool2d(2),
            residual_stage(eighth, quarter, blocks=1),
            nn.MaxPool2d(2),
            residual_stage(quarter, half, blocks=2),
            nn.MaxPool2d(2, stride=(2, 1), padding=(0, 1)),
            residual_stage(half, out_channels, blocks=5),
            nn.Sequential(
                *residual_blocks(out_channels, out_channels, blocks=3),
                convolution(out_channels, out_channels, 2, stride=(2, 1), padding=(0, 1)),
                convolution(out_channels, out_channels, 2, padding=0),
            ),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features.mean(dim=2).transpose(1, 2)


def residual_stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    """Return residual blocks and the convolution that follows them."""
    return nn.Sequential(
        *residual_blocks(in_channels, out_channels, blocks),
        convolution(out_channels, out_channels),
    )


def residual_blocks(in_channels: int, out_channels: int, blocks: int) -> list["ResidualBlock"]:
    """Return blocks of which the first changes the number of channels."""
    widths = [in_channels] + [out_channels] * (blocks - 1)
    return [ResidualBlock(width, out_channels) for width in widths]


class ResidualBlock(nn.Module):
    """Add the input, projected if the width changes, to two convolutions of it."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )
        )

    def forward(self, inputs: Tensor) -> Tensor:
        residual = F.relu(self.norm1(self.conv1(inputs)), inplace=True)
        residual = self.norm2(self.conv2(residual))
        return F.relu(residual + self.shortcut(inputs), inplace=True)


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 1,
) -> nn.Sequential:
    """Return a convolution, its normalization and its activation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
