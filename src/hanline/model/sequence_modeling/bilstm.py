from torch import Tensor, nn

from hanline.model.stage import Stage


class BiLSTM(Stage):
    """Bidirectional LSTMs, each followed by a linear layer.

    From Shi et al., "An End-to-End Trainable Neural Network for Image-based Sequence Recognition",
    TPAMI 2017, as DTRB has it (there, two layers).

    Args:
        in_channels: D, the width of the features.
        hidden_size: the state of either direction.
        out_channels: D', what each linear layer gives.
        layers: how many LSTMs stand one after another.
    """

    def __init__(self, in_channels: int, hidden_size: int, out_channels: int, layers: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        widths = [in_channels] + [out_channels] * (layers - 1)
        self.lstms = nn.ModuleList(
            nn.LSTM(width, hidden_size, bidirectional=True, batch_first=True) for width in widths
        )
        self.linears = nn.ModuleList(nn.Linear(2 * hidden_size, out_channels) for _ in widths)

    def forward(self, features: Tensor) -> Tensor:
        for lstm, linear in zip(self.lstms, self.linears, strict=True):
            # An LSTM's states lie in memory step by step. Taken so, the layer is one product; else
            # torch would copy its weights for each image.
            features = linear(lstm(features)[0].transpose(0, 1)).transpose(0, 1)
        return features
