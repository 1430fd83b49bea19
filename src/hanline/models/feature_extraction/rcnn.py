import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage


class RCNN(Stage):
    """Extract features with gated recurrent convolutions.

    From Wang and Hu, "Gated Recurrent Convolution Neural Network for OCR", NIPS 2017, as DTRB has
    them. T is width/4 + 1.

    Args:
        in_channels: channels of the images.
        out_channels: D, the width of the last layer; the first have an eighth of it, rounded down.
        iterations: how many times each recurrent convolution runs over its own output.
    """

    def __init__(self, in_channels: int, out_channels: int, iterations: int) -> None:
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
            GatedRecurrentConvolution(eighth, eighth, iterations),
            nn.MaxPool2d(2),
            GatedRecurrentConvolution(eighth, quarter, iterations),
            nn.MaxPool2d(2, stride=(2, 1), padding=(0, 1)),
            GatedRecurrentConvolution(quarter, half, iterations),
            nn.MaxPool2d(2, stride=(2, 1), padding=(0, 1)),
            nn.Conv2d(half, out_channels, 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features.mean(dim=2).transpose(1, 2)


class GatedRecurrentConvolution(nn.Module):
    """Convolve an input, then its own output several times through a gate; H and W stay.

    The feed-forward terms are the same in each iteration and are computed once.
    """

    def __init__(self, in_channels: int, out_channels: int, iterations: int) -> None:
        super().__init__()
        self.feed = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.feed_gate = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.recurrent = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.recurrent_gate = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.iterations = nn.ModuleList(GatedIteration(out_channels) for _ in range(iterations))

    def forward(self, inputs: Tensor) -> Tensor:
        feed = self.feed(inputs)
        feed_gate = self.feed_gate(inputs)
        state = F.relu(self.norm(feed))
        for iteration in self.iterations:
            state = iteration(feed, feed_gate, self.recurrent(state), self.recurrent_gate(state))
        return state


class GatedIteration(nn.Module):
    """Hold the normalizations of one iteration; all iterations share the convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_feed = nn.BatchNorm2d(channels)
        self.norm_feed_gate = nn.BatchNorm2d(channels)
        self.norm_recurrent = nn.BatchNorm2d(channels)
        self.norm_recurrent_gate = nn.BatchNorm2d(channels)
        self.norm_gated = nn.BatchNorm2d(channels)

    def forward(
        self, feed: Tensor, feed_gate: Tensor, recurrent: Tensor, recurrent_gate: Tensor
    ) -> Tensor:
        gate = (self.norm_feed_gate(feed_gate) + self.norm_recurrent_gate(recurrent_gate)).sigmoid()
        gated = self.norm_gated(self.norm_recurrent(recurrent) * gate)
        return F.relu(self.norm_feed(feed) + gated)
