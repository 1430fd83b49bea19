from torch import Tensor, nn

from hanline.models.stage import Stage
from hanline.models.transformer_parts import EncoderLayer, sinusoids, start_small


class Transformer(Stage):
    """Model the sequence with self-attention.

    Each step looks at the whole line, of any length. From Vaswani et al., "Attention Is All You
    Need", NIPS 2017, with pre-norm layers and sine waves as positions.

    Args:
        in_channels: D, the width of the features.
        out_channels: D', the width of the layers.
        layers: the number of layers.
        heads: attention heads of each layer, a divisor of ``out_channels``.
        mlp_ratio: the hidden width of each layer's network as a multiple of ``out_channels``.
        dropout: the share of values that a training step sets to 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.input = nn.Linear(in_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(out_channels, heads, mlp_ratio, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(out_channels)

    def reset_parameters(self) -> None:
        """Start the layers with small weights. The input's keep the scale of the features."""
        nn.init.xavier_uniform_(self.input.weight)
        start_small(self.layers)

    def forward(self, features: Tensor) -> Tensor:
        features = self.input(features)
        steps, width = features.shape[1], features.shape[2]
        features = self.dropout(features + sinusoids(steps, width, features))
        for layer in self.layers:
            features = layer(features)
        normalized: Tensor = self.norm(features)
        return normalized
