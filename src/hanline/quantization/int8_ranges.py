"""The bounds of the values that are kept in 8 bits, measured on images."""

from typing import Any

import torch
from torch import Tensor, fx

from hanline.quantization.int8_graph import Plan
from hanline.quantization.int8_products import Scale

# The number of values of a tensor that are compared, and the shares of its bounds that are tried.
_SAMPLE = 20_000
_SHARES = [1 - i / 20 for i in range(15)]


class Observer(fx.Interpreter):
    """Runs a plan's graph in full numbers and looks at what will be kept in 8 bits."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.traced)
        self.plan = plan
        self.seen: dict[str, SeenValues] = {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node in self.plan.kept:
            self.seen.setdefault(node.name, SeenValues()).add(value)
        return value


class SeenValues:
    """The values of a tensor: their bounds, and some of them."""

    def __init__(self) -> None:
        self.least = self.most = 0.0
        self.some: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        self.least = min(self.least, values.min().item())
        self.most = max(self.most, values.max().item())
        every = values.flatten()
        self.some.append(every[:: max(1, len(every) // _SAMPLE)].clone())

    def bounds(self) -> tuple[float, float]:
        """Those between which values in 8 bits differ least from what they were.

        The outermost values are so rare that cutting them costs less than coarser steps for all.
        """
        some = torch.cat(self.some)

        def error(share: float) -> float:
            scale = Scale.of(share * self.least, share * self.most)
            return (scale.read(scale.write(some)) - some).square().mean().item()

        share = min(_SHARES, key=error)
        return share * self.least, share * self.most
