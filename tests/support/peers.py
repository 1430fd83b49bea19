"""Models of baudm/parseq and OpenOCR with weights and images from formulas, and what they give.

`peers_reference.json` holds digests of the outputs of github.com/baudm/parseq and
github.com/Topdu/OpenOCR, and the names and shapes of their tensors. `make_peers_reference.py`
writes it beside checkouts of both.
"""

import math
from pathlib import Path

import torch

from support.svtr import formula_weights

FILE = Path(__file__).parent / "peers_reference.json"
# Height and width of the images of each case.
PARSEQ = {"parseq-tiny": (32, 128), "parseq": (32, 128), "vitstr": (32, 128)}
PARSEQ |= {"crnn": (32, 128), "trba": (32, 128)}
OPENOCR = {"svtr_tiny": (32, 100), "svtrv2_tiny": (32, 144), "svtrv2_base": (32, 144)}
LABELS = ["Parity", "of2labels!"]


def images(case: str) -> torch.Tensor:
    """Return two RGB images of a case's size, in [−1, 1]."""
    shape = (2, 3, *(PARSEQ | OPENOCR)[case])
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(0.011 * i + 0.5 * torch.cos(0.003 * i)).reshape(shape).float()


def weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Return a tensor for each of a peer's names, of these shapes."""
    state = formula_weights(shapes)
    bias = "Prediction.generator.bias"
    if bias in state:
        # Its last class, padding, is never trained to be written, and Hanline has none.
        state[bias][-1] = -10
    return state
