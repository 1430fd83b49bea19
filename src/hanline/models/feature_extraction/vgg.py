from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage


class VGG(Stage):
    """Extract features with the convolutions of CRNN.

    From Shi et al., "An End-to-End Trainable Neural Network for Image-based Sequence Recognition",
    TPAMI 2017, as DTRB has them. T is width/4 − 1.

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
            nn.Conv2d(in_channels, eighth, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(eighth, quarter, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(quarter, half, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((2, 1)),
            nn.Conv2d(half, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d((2, 1)),
            nn.Conv2d(out_channels, out_channels, 2),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features.mean(dim=2).transpose(1, 2)
