from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage


class CRNN(Stage):
    """Extract features with the convolutions of CRNN, as its paper has them.

    From Shi et al., "An End-to-End Trainable Neural Network for Image-based Sequence Recognition",
    TPAMI 2017. T is width/4 + 1. VGG has DTRB's variant, with other pooling and norms.

    Args:
        in_channels: channels of the images.
        out_channels: D, the width of the last layers; the first have an eighth of it, rounded down.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels < 8:
            raise HanlineError(
                f"model.feature_extraction.out_channels={out_channels}: expected at least 8"
            )
        self.out_channels = out_channels
        eighth, quarter, half = out_channels // 8, out_channels // 4, out_channels // 2
        self.layers = nn.Sequential(
            *_convolution(in_channels, eighth),
            nn.MaxPool2d(2),
            *_convolution(eighth, quarter),
            nn.MaxPool2d(2),
            *_convolution(quarter, half, norm=True),
            *_convolution(half, half),
            nn.MaxPool2d(2, (2, 1), (0, 1)),
            *_convolution(half, out_channels, norm=True),
            *_convolution(out_channels, out_channels),
            nn.MaxPool2d(2, (2, 1), (0, 1)),
            nn.Conv2d(out_channels, out_channels, 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features.mean(dim=2).transpose(1, 2)


def _convolution(in_channels: int, out_channels: int, norm: bool = False) -> list[nn.Module]:
    """Return a 3 x 3 convolution, a normalization if it is asked for, and ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not norm)
    norms = [nn.BatchNorm2d(out_channels)] if norm else []
    return [convolution, *norms, nn.ReLU(inplace=True)]
