"""Groups of parameters, each with its own settings for the optimizer."""

from typing import Any, Literal

from torch import nn

# Which parameters weight_decay applies to.
Decay = Literal["all", "weights"]


def parameter_groups(module: nn.Module, decay: Decay) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimizer.

    Args:
        module: its trainable parameters are grouped.
        decay: ``all`` for one group; ``weights`` for two, of which the second has the biases and
            the normalizations' scales (all tensors with fewer than 2 dimensions), without decay.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if decay == "all":
        return [{"params": parameters}]
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
