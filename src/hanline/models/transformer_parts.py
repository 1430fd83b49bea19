"""What the stages with attention are made of: positions, attention, and one layer of both."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError


class EncoderLayer(nn.Module):
    """Add attention, then a small network for each place, to the input (B, N, width).

    Each normalizes what it takes (pre-norm). From Vaswani et al., "Attention Is All You Need",
    NIPS 2017; the order of the norms from Xiong et al., "On Layer Normalization in the Transformer
    Architecture", ICML 2020.

    Args:
        width: of the input and the output.
        heads: the number of attention heads, a divisor of ``width``.
        mlp_ratio: the small network's hidden width as a multiple of ``width``.
        dropout: the share of the values of both branches that a training step sets to 0.
        drop_path: the share of the images for which a training step leaves a branch out.
        eps: added to the variance by the normalizations.
        qkv_bias: whether queries, keys and values have a bias.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        eps: float = 1e-5,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = SelfAttention(width, heads, qkv_bias)
        self.mlp_norm = nn.LayerNorm(width, eps)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map features (B, N, width) to the same shape. ``mask`` as in :class:`SelfAttention`."""
        attended = self.dropout(self.attention(self.attention_norm(features), mask))
        features = features + self.drop_path(attended)
        refined = self.dropout(self.mlp(self.mlp_norm(features)))
        result: Tensor = features + self.drop_path(refined)
        return result


class SelfAttention(nn.Module):
    """Let each place of (B, N, width) look at the others.

    Args:
        width: of the input and the output.
        heads: the number of attention heads.
        bias: whether queries, keys and values have a bias.

    Raises:
        HanlineError: ``width`` is not a multiple of ``heads``.
    """

    def __init__(self, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads = heads
        # Queries, keys and values, in one product.
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.output = nn.Linear(width, width)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map features (B, N, width) to the same shape.

        Args:
            features: (B, N, width).
            mask: bool (N, N): whether a place (row) may look at another (column). None: at all.
        """
        batch, places, width = features.shape
        parts = self.qkv(features).view(batch, places, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(queries, keys, values, mask)
        output: Tensor = self.output(attended.transpose(1, 2).reshape(batch, places, width))
        return output


class CrossAttention(nn.Module):
    """Let each place of (B, M, width) look at the places of another sequence (B, N, width).

    What the other sequence gives, its keys and values, can be computed once and looked at often.

    Args:
        width: of the input and the output.
        heads: the number of attention heads.
        dropout: the share of the weights that a training step sets to 0.

    Raises:
        HanlineError: ``width`` is not a multiple of ``heads``.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        # Keys and values, in one product.
        self.kv = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def looked_at(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, N, width) to their keys and values, (B, heads, N, width / heads)."""
        batch, places, width = features.shape
        parts = self.kv(features).view(batch, places, 2, self.heads, width // self.heads)
        keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        return keys, values

    def forward(
        self, places: Tensor, looked_at: tuple[Tensor, Tensor], mask: Tensor | None = None
    ) -> Tensor:
        """Map places (B, M, width) to the same shape.

        Args:
            places: (B, M, width).
            looked_at: a result of :meth:`looked_at`.
            mask: bool, broadcast to (B, heads, M, N): whether a place may look there. None: at all.
        """
        batch, count, width = places.shape
        queries = self.query(places).view(batch, count, self.heads, width // self.heads)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(
            queries.transpose(1, 2), *looked_at, mask, dropout_p=dropout
        )
        output: Tensor = self.output(attended.transpose(1, 2).reshape(batch, count, width))
        return output


def check_heads(width: int, heads: int) -> None:
    """Refuse a number of attention heads that does not divide the width of the features.

    Raises:
        HanlineError: it does not.
    """
    if heads < 1 or width % heads:
        raise HanlineError(
            f"heads={heads}: expected a divisor of the width of the features, {width}. Change "
            "either"
        )


class DropPath(nn.Module):
    """Leave a branch out for some images of a training batch.

    From Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.

    Args:
        share: of the images, 0 or more and less than 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return branch
        kept = branch.new_empty(branch.shape[0], *[1] * (branch.ndim - 1))
        return branch * kept.bernoulli_(1 - self.share).div_(1 - self.share)


class GridPositions(nn.Module):
    """Add to each place of a grid (B, rows · columns, width) its position.

    If the number of columns is known, each place has a learned vector. If not, each row has a
    learned vector, and each column sine waves, so that an image may be of any width.

    Args:
        width: of the vectors.
        rows, columns: of the grid. ``columns`` is None if it follows the image.
    """

    def __init__(self, width: int, rows: int, columns: int | None) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.learned = nn.Parameter(torch.empty(1, rows * (columns or 1), width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with small vectors."""
        nn.init.trunc_normal_(self.learned, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        if self.columns is not None:
            return features + self.learned
        batch, places, width = features.shape
        columns = places // self.rows
        grid = features.view(batch, self.rows, columns, width)
        waves = sinusoids(columns, width, features)
        return (grid + self.learned.unsqueeze(2) + waves).flatten(1, 2)


def sinusoids(steps: int, width: int, like: Tensor) -> Tensor:
    """Return sine and cosine waves (steps, width) on the device and of the type of ``like``.

    Their wavelengths go from 2π steps to 20,000π, as in Vaswani et al., NIPS 2017.
    """
    count = (width + 1) // 2
    exponents = torch.arange(count, device=like.device, dtype=torch.float32) / count
    frequencies = torch.exp(exponents * -math.log(10_000))
    angles = torch.arange(steps, device=like.device, dtype=torch.float32).unsqueeze(1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width].to(like.dtype)


def start_small(module: nn.Module) -> None:
    """Fill each linear layer as transformers are started: normal, 0.02 wide, without bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
