import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage
from hanline.models.transformer_parts import SelfAttention, sinusoids, start_small


class Conformer(Stage):
    """Model the sequence with self-attention over the line and convolutions between neighbors.

    From Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition",
    Interspeech 2020, with sine waves as positions in place of relative ones.

    Args:
        in_channels: D, the width of the features.
        out_channels: D', the width of the layers.
        layers: the number of layers.
        heads: attention heads of each layer, a divisor of ``out_channels``.
        mlp_ratio: the hidden width of each layer's networks as a multiple of ``out_channels``.
        kernel: the steps that a convolution looks at; an odd number.
        dropout: the share of values that a training step sets to 0.

    Raises:
        HanlineError: the kernel is even, or ``heads`` does not divide ``out_channels``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise HanlineError(
                f"model.sequence_modeling.kernel={kernel}: expected an odd number of steps"
            )
        self.out_channels = out_channels
        self.input = nn.Linear(in_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            ConformerLayer(out_channels, heads, mlp_ratio, kernel, dropout) for _ in range(layers)
        )

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
        return features


class ConformerLayer(nn.Module):
    """Half a network, attention, a convolution, and the other half; each added to its input.

    Args:
        width: of the input and the output.
        heads: the number of attention heads.
        mlp_ratio: the networks' hidden width as a multiple of ``width``.
        kernel: the steps that the convolution looks at.
        dropout: the share of values that a training step sets to 0.
    """

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.before = _network(width, hidden, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.near_norm = nn.LayerNorm(width)
        # Half of what it gives says how much of the other half goes on.
        self.gated = nn.Linear(width, 2 * width)
        self.near = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.batch_norm = nn.BatchNorm1d(width)
        self.chosen = nn.Linear(width, width)
        self.after = _network(width, hidden, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, width) to the same shape."""
        features = features + 0.5 * self.before(features)
        features = features + self.dropout(self.attention(self.attention_norm(features)))
        gated = F.glu(self.gated(self.near_norm(features)), dim=2).transpose(1, 2)
        near = F.silu(self.batch_norm(self.near(gated))).transpose(1, 2)
        features = features + self.dropout(self.chosen(near))
        normalized: Tensor = self.norm(features + 0.5 * self.after(features))
        return normalized


def _network(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """Return a small network of each step: pre-norm, with SiLU."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, width),
        nn.Dropout(dropout),
    )
