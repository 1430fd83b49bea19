from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hanline.models.precision import lstms_need_float32
from hanline.models.stage import Stage


class BiLSTM(Stage):
    """Model the sequence with bidirectional LSTMs, each followed by a linear layer.

    From Shi et al., "An End-to-End Trainable Neural Network for Image-based Sequence Recognition",
    TPAMI 2017, as DTRB has it (there, two layers).

    Args:
        in_channels: D, the width of the features.
        hidden_size: the state of either direction.
        out_channels: D', the width of each linear layer's output.
        layers: the number of LSTMs, one after another.
        last_linear: whether a linear layer follows the last LSTM too, as in DTRB. In the paper the
            classes do: then D' is two states.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_size: int,
        out_channels: int,
        layers: int,
        last_linear: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels if last_linear else 2 * hidden_size
        widths = [in_channels] + [out_channels] * (layers - 1)
        self.lstms = nn.ModuleList(
            nn.LSTM(width, hidden_size, bidirectional=True, batch_first=True) for width in widths
        )
        self.linears = nn.ModuleList(nn.Linear(2 * hidden_size, out_channels) for _ in widths)
        if not last_linear:
            self.linears[-1] = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        for lstm, linear in zip(self.lstms, self.linears, strict=True):
            # An LSTM's states lie in memory step by step. In that order the layer is one product.
            # In the other order torch copies its weights for each image.
            features = linear(_states(lstm, features).transpose(0, 1)).transpose(0, 1)
        return features

    def forward_all(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the output of ``forward`` for features (B, T, D) of several T.

        A processor spends most of a step on fetching the weights, so the lines of all inputs take
        a step together. Shorter lines are padded. Each direction begins at an end of its line and
        never meets the padding.
        """
        if torch.is_grad_enabled() or len(inputs) == 1 or inputs[0].device.type != "cpu":
            return super().forward_all(inputs)
        features = list(inputs)
        for lstm, linear in zip(self.lstms, self.linears, strict=True):
            assert isinstance(lstm, nn.LSTM)
            there = _one_direction(lstm, features, 0)
            back = _one_direction(lstm, [some.flip(1) for some in features], 1)
            pairs = zip(there, back, strict=True)
            states = [
                torch.cat([first, second.flip(1)], 2).flatten(0, 1) for first, second in pairs
            ]
            steps = linear(torch.cat(states)).split([len(some) for some in states])
            features = [
                some.view(*before.shape[:2], -1)
                for some, before in zip(steps, features, strict=True)
            ]
        return features


def _states(lstm: nn.Module, features: Tensor) -> Tensor:
    """Map features (B, T, D) to the states of both directions (B, T, 2 · hidden_size)."""
    if lstms_need_float32(features.device.type):
        with torch.autocast(features.device.type, enabled=False):
            states: Tensor = lstm(features.float())[0]
    else:
        states = lstm(features)[0]
    return states


def _one_direction(lstm: nn.LSTM, inputs: Sequence[Tensor], direction: int) -> list[Tensor]:
    """Return the states of one direction of an LSTM for each of several inputs (B, T, D)."""
    lines, steps = sum(map(len, inputs)), max(some.shape[1] for some in inputs)
    filled = inputs[0].new_zeros(lines, steps, inputs[0].shape[2])
    pieces = filled.split([len(some) for some in inputs])
    for piece, some in zip(pieces, inputs, strict=True):
        piece[:, : some.shape[1]] = some
    start = filled.new_zeros(1, lines, lstm.hidden_size)
    weights = tuple(lstm.all_weights[direction])
    rest = (weights, True, 1, 0.0, False, False, True)
    if lstms_need_float32(filled.device.type):
        with torch.autocast(filled.device.type, enabled=False):
            states = torch.lstm(filled.float(), (start.float(), start.float()), *rest)[0]
    else:
        states = torch.lstm(filled, (start, start), *rest)[0]
    pieces = states.split([len(some) for some in inputs])
    return [piece[:, : some.shape[1]] for piece, some in zip(pieces, inputs, strict=True)]
