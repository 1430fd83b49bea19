"""Write `svtr_reference.json` from the authors' own code.

    git clone https://github.com/Topdu/OpenOCR
    PYTHONPATH=tests python -m support.make_svtr_reference OpenOCR

OpenOCR is under the Apache License 2.0. Nothing of it is kept but names, shapes and digests.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from support.svtr import FILE, VARIANTS, formula_images, formula_weights

VALUES = 16


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    network = import_module("openrec.modeling.encoders.svtrnet").SVTRNet
    cases = {name: _case(network, *numbers) for name, numbers in VARIANTS.items()}
    FILE.write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n", encoding="utf-8")


def _case(
    network: Any, channels: list[int], layers: list[int], heads: list[int], local: int, width: int
) -> dict[str, Any]:
    model = network(
        img_size=[32, 100],
        out_char_num=25,
        out_channels=width,
        embed_dim=channels,
        depth=layers,
        num_heads=heads,
        mixer=["Local"] * local + ["Global"] * (sum(layers) - local),
        prenorm=False,
    ).eval()
    # The masks of its local layers are buffers that follow from the sizes.
    shapes = {k: [*t.shape] for k, t in model.state_dict().items() if not k.endswith(".mask")}
    model.load_state_dict(formula_weights(shapes), strict=False)
    with torch.inference_mode():
        output = model(formula_images())
    flat = output.double().flatten()
    index = [*range(0, flat.numel(), flat.numel() // VALUES)][:VALUES]
    return {
        "shapes": shapes,
        "features": {
            "shape": [*output.shape],
            "sum": flat.sum().item(),
            "abs_sum": flat.abs().sum().item(),
            "index": index,
            "values": flat[index].tolist(),
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
