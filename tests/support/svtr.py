"""SVTR with weights and images from formulas, and what the authors' code makes of them.

`svtr_reference.json` holds digests of the outputs of github.com/Topdu/OpenOCR, and the names and
shapes of its tensors. `make_svtr_reference.py` writes it beside a checkout.
"""

import math
from pathlib import Path

import torch

FILE = Path(__file__).parent / "svtr_reference.json"
IMAGES = (2, 3, 32, 100)
# What the constructor of the authors' SVTRNet takes for each variant of their paper's table 1.
VARIANTS = {
    "svtr_tiny": ([64, 128, 256], [3, 6, 3], [2, 4, 8], 6, 192),
    "svtr_small": ([96, 192, 256], [3, 6, 6], [3, 6, 8], 8, 192),
    "svtr_base": ([128, 256, 384], [3, 6, 9], [4, 8, 12], 8, 256),
}
# From the authors' names to Hanline's, in this order.
NAMES = {
    "pos_embed": "positions.learned",
    "patch_embed.proj.0.conv": "patches.0",
    "patch_embed.proj.0.norm": "patches.1",
    "patch_embed.proj.1.conv": "patches.3",
    "patch_embed.proj.1.norm": "patches.4",
    "blocks1": "groups.0",
    "blocks2": "groups.1",
    "blocks3": "groups.2",
    "sub_sample1.conv": "merges.0.convolution",
    "sub_sample1.norm": "merges.0.norm",
    "sub_sample2.conv": "merges.1.convolution",
    "sub_sample2.norm": "merges.1.norm",
    "norm1": "attention_norm",
    "norm2": "mlp_norm",
    "mixer.qkv": "attention.qkv",
    "mixer.proj": "attention.output",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.3",
    "last_conv": "output",
}


def formula_images() -> torch.Tensor:
    i = torch.arange(math.prod(IMAGES), dtype=torch.float64)
    return torch.sin(0.011 * i + 0.5 * torch.cos(0.003 * i)).reshape(IMAGES).float()


def formula_weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Return a tensor for each of the authors' names, of these shapes."""
    state = {}
    for k, (key, shape) in enumerate(sorted(shapes.items())):
        size = math.prod(shape)
        s = torch.sin(0.37 * torch.arange(size, dtype=torch.float64) + 1.3 * k)
        last = key.rsplit(".", 1)[-1]
        if last == "num_batches_tracked":
            value = torch.zeros(size)
        elif last == "running_var":
            value = 1 + 0.5 * s.abs()
        elif last == "pos_embed":
            value = 0.3 * s
        elif len(shape) > 1:
            value = s * math.sqrt(3 * shape[0] / size)
        elif last == "weight":
            value = 1 + 0.1 * s
        else:
            value = 0.1 * s
        state[key] = value.reshape(shape).float()
    return state


def as_stage_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the authors' tensors for :class:`hanline.models.feature_extraction.svtr.SVTR`."""
    renamed = {}
    for key, tensor in state.items():
        name = key
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        # Their last 1×1 convolution is a linear layer here.
        renamed[name] = tensor.flatten(1) if name == "output.weight" else tensor
    return renamed
