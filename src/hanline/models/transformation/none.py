from torch import Tensor

from hanline.models.stage import Stage


class NoTransformation(Stage):
    """Return the images unchanged.

    Args:
        in_channels: channels of the images.
        image_height, image_width: their size in pixels; unused.
    """

    def __init__(self, in_channels: int, image_height: int, image_width: int | None) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, images: Tensor) -> Tensor:
        return images
