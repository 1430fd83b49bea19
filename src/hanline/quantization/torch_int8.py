"""Reading in 8 bits: a trained recognizer whose convolutions and classes are products of integers.

What each convolution gives is kept in 8 bits between the least and the most that it gave on images
that were measured before (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018). Norms are folded into the convolutions before them,
which also add what passes around them and cut negative values: nothing of that is a pass over the
features of its own.
"""

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hanline.errors import HanlineError
from hanline.models.precision import X86
from hanline.models.recognizer import Recognizer
from hanline.models.stage import Stage

Ranges = Mapping[str, tuple[float, float]]
"""The least and the most of each tensor that is kept in 8 bits, by name."""

_CANNOT = "this recognizer cannot read in 8 bits"
_HEAD = "prediction"
# The largest of int8, and the largest of which two products with uint8 fit into 16 bits.
_LARGEST_WEIGHTS = (127, 64)


def unsupported_reason(recognizer: Recognizer) -> str | None:
    """Return why a recognizer cannot read in 8 bits, or None."""
    if recognizer.prediction.score_layer is None:
        return "its prediction has no single layer that gives the scores"
    if any(True for _ in recognizer.transformation.parameters()):
        return "its transformation is learned"
    return None


def has_int8() -> bool:
    """Return whether torch can multiply 8-bit numbers on this processor."""
    return largest_weight() is not None


def unavailable_reason(model: object, device: torch.device) -> str | None:
    """Return why a model cannot be read with in 8 bits on a device of this machine, or None."""
    if not isinstance(model, Recognizer):
        return "its runtime has its own precision: export it with format.int8=true"
    if device.type != "cpu":
        return f"it is for processors, and the device is {device}"
    if not has_int8():
        return "this processor, or this torch on it, has no 8-bit products"
    if problem := unsupported_reason(model):
        return problem
    if model.ranges is None:
        return (
            "the file lacks the bounds of the features: write one with hanline export "
            "checkpoint=… format=safetensors format.int8=true dataset=…"
        )
    return None


def has_fast_int8() -> bool:
    """Return whether 8-bit numbers are the fastest to read in on this processor.

    On x86 they are, with VNNI or without: ``python benchmarks/reading_speed.py --models
    none_vgg_bilstm_ctc`` on one core of an AMD Zen 3, which has AVX2 alone, gave 15.0 images a
    second in float32 and 27.6 in 8 bits, and 4.9 and 15.7 with ``ONEDNN_MAX_CPU_ISA=SSE41``, with
    other work beside it. On ARM it has not been measured, so 8 bits are taken there only where
    they are asked for.
    """
    return X86 and has_int8()


@cache
def largest_weight() -> int | None:
    """Return the largest int8 weight that this processor sums exactly; None if it has no products.

    Without VNNI, oneDNN adds two products of uint8 and int8 in 16 bits and cuts off what they do
    not hold: 255 · 127 · 2 is too much for them, 255 · 64 · 2 is not. No flag of the processor says
    which way oneDNN takes, since ``ONEDNN_MAX_CPU_ISA`` limits it further: so it is tried.
    """
    for largest in _LARGEST_WEIGHTS:
        try:
            if all(_sums_exactly(largest, size) for size in (1, 3)):
                return largest
        except (AttributeError, RuntimeError):  # this torch has no oneDNN, or none of its products
            return None
    return None


@torch.no_grad()
def calibrate(recognizer: Recognizer, batches: Iterable[Tensor]) -> dict[str, tuple[float, float]]:
    """Return the bounds of a recognizer's features, from those on some images.

    Args:
        recognizer: ready to read, on the CPU.
        batches: images (B, C, H, W), uint8, as many as show all that it will meet.

    Raises:
        HanlineError: it cannot be read with in 8 bits.
    """
    problem = unsupported_reason(recognizer)
    if problem:
        raise HanlineError(f"{_CANNOT}: {problem}")
    observer = _Observer(_Plan(recognizer.feature_extraction))
    for images in batches:
        pixels = images.float().div_(127.5).sub_(1)
        features = observer.run(recognizer.transformation(pixels))
        modeled = recognizer.sequence_modeling(features.contiguous())
        observer.seen.setdefault(_HEAD, _Seen()).add(modeled)
    if not observer.seen:
        raise HanlineError("there is no image to measure the bounds of the features on")
    return {name: seen.bounds() for name, seen in observer.seen.items()}


def quantize(recognizer: Recognizer) -> Recognizer:
    """Return a recognizer that reads in 8 bits; it cannot be trained.

    Args:
        recognizer: ready to read, on the CPU, with the ``ranges`` of :func:`calibrate`; it is
            left unchanged.

    Raises:
        HanlineError: the ranges are not those of this recognizer.
    """
    ranges = recognizer.ranges or {}
    reading = copy.deepcopy(recognizer).eval()
    plan = _Plan(reading.feature_extraction)
    missing = {node.name for node in plan.kept} | {_HEAD}
    missing -= ranges.keys()
    if missing:
        raise HanlineError(
            f"the ranges for 8 bits lack {', '.join(sorted(missing)[:3])}"
            f"{' …' if len(missing) > 3 else ''}: they are of another model, or of another version"
        )
    reading.feature_extraction = _EightBitFeatures(plan, ranges, reading.feature_extraction)
    layer = str(reading.prediction.score_layer)
    linear = cast(nn.Linear, getattr(reading.prediction, layer))
    setattr(reading.prediction, layer, _EightBitLinear(linear, ranges[_HEAD]))
    return reading


@dataclass(frozen=True)
class _Scale:
    """How numbers are written in 8 bits: ``(number - zero) * step``."""

    step: float
    zero: int

    @staticmethod
    def of(least: float, most: float) -> "_Scale":
        # Zero is written exactly, since convolutions pad with it.
        least, most = min(least, 0.0), max(most, 0.0)
        step = max((most - least) / 255, 1e-8)
        return _Scale(step, round(-least / step))

    def write(self, values: Tensor) -> Tensor:
        return values.float().div(self.step).add_(self.zero).round_().clamp_(0, 255).to(torch.uint8)

    def read(self, numbers: Tensor) -> Tensor:
        return numbers.float().sub_(self.zero).mul_(self.step)


@dataclass(frozen=True)
class _Group:
    """A convolution and the operations fused into it.

    Attributes:
        convolution: its node.
        norm: the normalization folded into it.
        addend: the node whose value is added to what it gives.
        relu: whether negative numbers become 0 at last.
        output: the node whose value all of this gives.
    """

    convolution: fx.Node
    norm: nn.BatchNorm2d | None
    addend: fx.Node | None
    relu: bool
    output: fx.Node


class _Plan:
    """The operations in their order, and which values are kept in 8 bits."""

    def __init__(self, features: nn.Module) -> None:
        try:
            self.traced = fx.symbolic_trace(features.eval())
        except Exception as error:  # whatever a forward pass does with stand-ins for tensors
            raise HanlineError(f"{_CANNOT}: torch.fx cannot trace its features: {error}") from error
        self.modules = dict(self.traced.named_modules())
        self.nodes = list(self.traced.graph.nodes)
        for node in self.nodes:
            module = self.module(node)
            if node.op == "get_attr":
                raise HanlineError(f"{_CANNOT}: its features use the weight {node.target} directly")
            if isinstance(module, nn.Conv2d) and (
                module.padding_mode != "zeros" or isinstance(module.padding, str)
            ):
                raise HanlineError(f"{_CANNOT}: {node.target} does not pad with a number of zeros")
        self.groups: dict[fx.Node, _Group] = {}
        taken: set[fx.Node] = set()
        for node in self.nodes:
            if self._is(node, nn.Conv2d):
                group = self._group(node, taken)
                self.groups[group.output] = group
        # The nodes inside a group are run at the place of its output.
        self.within: dict[fx.Node, fx.Node] = {}
        for group in self.groups.values():
            node = group.convolution
            while node is not group.output:
                self.within[node] = group.output
                node = next(iter(node.users))
        convolutions = {group.convolution for group in self.groups.values()}
        addends = {group.addend for group in self.groups.values()}
        self.kept: set[fx.Node] = set()
        for node in reversed(self.nodes):
            pooled = {user for user in node.users if self._is(user, nn.MaxPool2d)}
            if node in addends or convolutions & node.users.keys() or pooled & self.kept:
                self.kept.add(node)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def needs_later(self, node: fx.Node, step: fx.Node) -> bool:
        """Whether a node's value is needed after a step."""
        users = (self.within.get(user, user) for user in node.users)
        return max(map(self.nodes.index, users)) > self.nodes.index(step)

    def _is(self, node: fx.Node, *kinds: type) -> bool:
        return isinstance(self.module(node), kinds)

    def _group(self, convolution: fx.Node, taken: set[fx.Node]) -> _Group:
        """Return the convolution and what follows it, if nothing else needs the values between."""
        norm, addend, relu, last = None, None, False, convolution
        following = _only_user(last)
        if following and self._is(following, nn.BatchNorm2d):
            norm, last = cast(nn.BatchNorm2d, self.module(following)), following
            following = _only_user(last)
        if following and following not in taken and following.target in _ADDITIONS:
            others = [node for node in following.args if node is not last]
            if len(others) == 1 and isinstance(others[0], fx.Node) and not following.kwargs:
                taken.add(following)
                addend, last = others[0], following
                following = _only_user(last)
        if following and (self._is(following, nn.ReLU) or following.target in _RELUS):
            relu, last = True, following
        return _Group(convolution, norm, addend, relu, last)


_ADDITIONS = {operator.add, operator.iadd, torch.add}
_RELUS = {F.relu, torch.relu}


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


# A node, those whose values it takes, and what it makes of them.
_Step = tuple[fx.Node, list[fx.Node], Callable[..., Tensor]]


class _EightBitFeatures(Stage):
    """A feature extraction in 8 bits: float images (B, C, H, W) → float features (B, T, D)."""

    def __init__(self, plan: _Plan, ranges: Ranges, features: Stage) -> None:
        super().__init__()
        self.out_channels = features.out_channels
        self.scales: dict[fx.Node, _Scale] = {}
        for node in plan.nodes:
            if node in plan.kept:
                pools = isinstance(plan.module(node), nn.MaxPool2d)
                source = node.all_input_nodes[0] if pools else node
                self.scales[node] = self.scales.get(source) or _Scale.of(*ranges[node.name])
        self.steps = [self._step(node, plan) for node in plan.nodes if node not in plan.within]
        last_users = {source: node for node, sources, _ in self.steps for source in sources}
        # What no later step takes is let go of.
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

    def _step(self, node: fx.Node, plan: _Plan) -> _Step:
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


def _pooling(module: nn.MaxPool2d) -> Callable[[Tensor], Tensor]:
    """Pooling of uint8 (B, C, H, W), which torch's usual one only does to small images."""

    def two(value: int | tuple[int, ...]) -> list[int]:
        return [value, value] if isinstance(value, int) else list(value)

    numbers = [two(n) for n in (module.kernel_size, module.stride, module.padding, module.dilation)]
    return lambda image: torch.ops.quantized.max_pool2d(image, *numbers, module.ceil_mode)


def _convolution(
    group: _Group, plan: _Plan, scales: Mapping[fx.Node, _Scale]
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
    numbers, steps = _rows_in_eight_bits(weight)
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    padding = cast(list[int], list(module.padding))
    place = (list(module.stride), padding, list(module.dilation), module.groups)
    packed = torch.ops.onednn.qconv_prepack(numbers, steps, before.step, before.zero, *place, None)
    bias = None if bias is None else bias.detach().float()
    # What nothing else needs in 8 bits is given in full.
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


class _EightBitLinear(nn.Module):
    """A linear layer in 8 bits: float (…, D) → float (…, classes)."""

    def __init__(self, linear: nn.Linear, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.scale = _Scale.of(*bounds)
        numbers, self.steps = _rows_in_eight_bits(linear.weight)
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


def _rows_in_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights as int8, and the step of each output."""
    largest = largest_weight()
    assert largest is not None, "whoever quantizes has asked has_int8"
    weight = weight.detach().float()
    steps = weight.flatten(1).abs().amax(dim=1).clamp_min(1e-12) / largest
    shape = (-1,) + (1,) * (weight.dim() - 1)
    return (weight / steps.view(shape)).round().to(torch.int8), steps


def _sums_exactly(weight: int, size: int) -> bool:
    """Return whether a convolution and a linear layer of the largest numbers give their sums."""
    width, steps, zeros = 16, torch.ones(16), torch.zeros(16, dtype=torch.int32)
    image = torch.full((1, width, size, size), 255, dtype=torch.uint8)
    image = image.contiguous(memory_format=torch.channels_last)
    weights = torch.full((width, width, size, size), weight, dtype=torch.int8)
    place = ([1, 1], [0, 0], [1, 1], 1)
    packed = torch.ops.onednn.qconv_prepack(weights, steps, 1.0, 0, *place, None)
    first = (image, 1.0, 0, packed, steps, zeros, None)
    convolved = torch.ops.onednn.qconv2d_pointwise(
        *first, *place, 1.0, 0, torch.float32, "none", [], ""
    )
    packed = torch.ops.onednn.qlinear_prepack(weights.flatten(1), None)
    first = (image.flatten(1), 1.0, 0, packed, steps, zeros, None)
    multiplied = torch.ops.onednn.qlinear_pointwise(*first, 1.0, 0, torch.float32, "none", [], "")
    expected = 255 * weight * width * size**2
    return bool((convolved == expected).all() and (multiplied == expected).all())


class _Observer(fx.Interpreter):
    """Runs a plan's graph in full numbers and looks at what will be kept in 8 bits."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__(plan.traced)
        self.plan = plan
        self.seen: dict[str, _Seen] = {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node in self.plan.kept:
            self.seen.setdefault(node.name, _Seen()).add(value)
        return value


class _Seen:
    """The values of a tensor: their bounds, and some of them."""

    def __init__(self) -> None:
        self.least = self.most = 0.0
        self.some: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        self.least = min(self.least, values.min().item())
        self.most = max(self.most, values.max().item())
        every = values.flatten()
        self.some.append(every[:: max(1, len(every) // _SOME)].clone())

    def bounds(self) -> tuple[float, float]:
        """Those between which values in 8 bits differ least from what they were.

        The outermost values are so rare that cutting them costs less than coarser steps for all.
        """
        some = torch.cat(self.some)

        def error(share: float) -> float:
            scale = _Scale.of(share * self.least, share * self.most)
            return (scale.read(scale.write(some)) - some).square().mean().item()

        share = min(_SHARES, key=error)
        return share * self.least, share * self.most


_SOME = 20_000
_SHARES = [1 - i / 20 for i in range(15)]
