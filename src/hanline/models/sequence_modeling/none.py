from torch import Tensor

from hanline.models.stage import Stage


class NoSequenceModeling(Stage):
    """Return the features unchanged."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, features: Tensor) -> Tensor:
        return features
