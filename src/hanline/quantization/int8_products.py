"""The products of 8-bit integers that this processor has, and how numbers are written for them."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from hanline.models.precision import X86

# The largest of int8, and the largest of which two products with uint8 fit into 16 bits.
_LARGEST_WEIGHTS = (127, 64)


def has_int8() -> bool:
    """Return whether torch can multiply 8-bit numbers on this processor."""
    return largest_weight() is not None


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


@dataclass(frozen=True)
class Scale:
    """A scale that reads an 8-bit number as ``(number - zero) * step``."""

    step: float
    zero: int

    @staticmethod
    def of(least: float, most: float) -> "Scale":
        # Zero is written exactly, since convolutions pad with it.
        least, most = min(least, 0.0), max(most, 0.0)
        step = max((most - least) / 255, 1e-8)
        return Scale(step, round(-least / step))

    def write(self, values: Tensor) -> Tensor:
        return values.float().div(self.step).add_(self.zero).round_().clamp_(0, 255).to(torch.uint8)

    def read(self, numbers: Tensor) -> Tensor:
        return numbers.float().sub_(self.zero).mul_(self.step)


def rows_in_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights as int8, and the step of each output."""
    largest = largest_weight()
    assert largest is not None, "quantize only if has_int8()"
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
