"""The layers of a recognizer in 8 bits: convolutions with all that is fused into them, classes."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hanline.models.stage import Stage
from hanline.quantization.int8_graph import Group, Plan
from hanline.quantization.int8_products import Scale, rows_in_eight_bits

Ranges = Mapping[str, tuple[float, float]]
"""The least and the most of each tensor that is kept in 8 bits, by name."""
# A node, those whose values it takes, and what it makes of them.
_Step = tuple[fx.Node, list[fx.Node], Callable[..., Tensor]]


class EightBitFeatures(Stage):
    """A feature extraction in 8 bits: float images (B, C, H, W) → float features (B, T, D)."""

    def __init__(self, plan: Plan, ranges: Ranges, features: Stage) -> None:
        super().__init__()
        self.out_channels = features.out_channels
        self.scales: dict[fx.Node, Scale] = {}
        for node in plan.nodes:
            if node in plan.kept:
                pools = isinstance(plan.module(node), nn.MaxPool2d)
                source = node.all_input_nodes[0] if pools else node
                self.scales[node] = self.scales.get(source) or Scale.of(*ranges[node.name])
        self.steps = [self._step(node, plan) for node in plan.nodes if node not in plan.within]
        last_users = {source: node for node, sources, _ in self.steps for source in sources}
        # Values that no later step takes are freed.
        self.spent: dict[fx.Node, list[fx.Node]] = {}
        for source, node in last_users.items():
            self.spent.setdefault(node, []).append(source)

    def forward(self, images: Tensor) -> Tensor:
        values: dict[fx.Node, Tensor] = {}
        value = images
        for node, sources, work in self.steps:
            value = work(*(values[source] for source in sources)) if sources else images
            scale = self.scales.get(node)
            values[node] = scale.write(value) if scale and value.dtype != torch.uint8 else value
            for source in self.spent.get(node, ()):
                del values[source]
        return value

    def _step(self, node: fx.Node, plan: Plan) -> _Step:
        group = plan.groups.get(node)
        if group:
            (image,) = group.convolution.all_input_nodes
            sources = [image] + ([group.addend] if group.addend else [])
            return node, sources, _convolution(group, plan, self.scales)
        module = plan.module(node)
        if isinstance(module, nn.MaxPool2d) and node in self.scales:
            return node, node.all_input_nodes, _pooling(module)
        if isinstance(module, nn.Identity):
            return node, node.all_input_nodes, module

        def work(*values: Tensor) -> Any:
            # A value may be a size, which has no type.
            full = {
                source: self.scales[source].read(value)
                if getattr(value, "dtype", None) == torch.uint8
                else value
                for source, value in zip(node.all_input_nodes, values, strict=True)
            }
            arguments = cast(tuple[Any, ...], fx.map_arg(node.args, full.__getitem__))
            named = cast(dict[str, Any], fx.map_arg(node.kwargs, full.__getitem__))
            if node.op == "output":
                return arguments[0]
            if node.op == "call_method":
                return getattr(arguments[0], str(node.target))(*arguments[1:], **named)
            return cast(Callable[..., Any], module or node.target)(*arguments, **named)

        return node, node.all_input_nodes, work


class EightBitLinear(nn.Module):
    """A linear layer in 8 bits: float (…, D) → float (…, classes)."""

    def __init__(self, linear: nn.Linear, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.scale = Scale.of(*bounds)
        numbers, self.steps = rows_in_eight_bits(linear.weight)
        self.zeros = torch.zeros(len(self.steps), dtype=torch.int32)
        self.packed = torch.ops.onednn.qlinear_prepack(numbers, None)
        self.bias = linear.bias.detach().float()

    def forward(self, values: Tensor) -> Tensor:
        scores: Tensor = torch.ops.onednn.qlinear_pointwise(
            self.scale.write(values),
            self.scale.step,
            self.scale.zero,
            self.packed,
            self.steps,
            self.zeros,
            self.bias,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return scores


def _pooling(module: nn.MaxPool2d) -> Callable[[Tensor], Tensor]:
    """Pooling of uint8 (B, C, H, W), which torch's usual one only does to small images."""

    def two(value: int | tuple[int, ...]) -> list[int]:
        return [value, value] if isinstance(value, int) else list(value)

    numbers = [two(n) for n in (module.kernel_size, module.stride, module.padding, module.dilation)]
    return lambda image: torch.ops.quantized.max_pool2d(image, *numbers, module.ceil_mode)


def _convolution(
    group: Group, plan: Plan, scales: Mapping[fx.Node, Scale]
) -> Callable[..., Tensor]:
    """Run a group: an image (B, C, H, W) and its addend → the same, as uint8."""
    module = cast(nn.Conv2d, plan.module(group.convolution))
    weight, bias = module.weight, module.bias
    norm = group.norm
    if norm is not None:
        weight, bias = fuse_conv_bn_weights(
            weight,
            bias,
            cast(Tensor, norm.running_mean),
            cast(Tensor, norm.running_var),
            norm.eps,
            norm.weight,
            norm.bias,
        )
    (source,) = group.convolution.all_input_nodes
    before, after = scales[source], scales.get(group.output)
    numbers, steps = rows_in_eight_bits(weight)
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    padding = cast(list[int], list(module.padding))
    place = (list(module.stride), padding, list(module.dilation), module.groups)
    packed = torch.ops.onednn.qconv_prepack(numbers, steps, before.step, before.zero, *place, None)
    bias = None if bias is None else bias.detach().float()
    # A value that no other operation needs in 8 bits stays in float32.
    given = (after.step, after.zero, torch.uint8) if after else (1.0, 0, torch.float32)
    relu = "relu" if group.relu else "none"
    added = scales[group.addend] if group.addend else None
    # The sum is written where the addend was.
    copied = group.addend is not None and plan.needs_later(group.addend, group.output)

    def convolve(image: Tensor, *addends: Tensor) -> Tensor:
        first = (image, before.step, before.zero, packed, steps, zeros)
        if not added:
            return torch.ops.onednn.qconv2d_pointwise(*first, bias, *place, *given, relu, [], "")
        # To a sum in full precision, only an addend in full precision is added, in its own memory.
        scale = (added.step, added.zero) if after else (1.0, 0)
        (addend,) = addends if after else map(added.read, addends)
        addend = addend.clone() if copied and after else addend
        return torch.ops.onednn.qconv2d_pointwise(
            *first, addend, bias, *place, *given, *scale, "sum", 1.0, relu, [], ""
        )

    return convolve
