"""Write `peers_reference.json` from the peers' own code.

    git clone https://github.com/baudm/parseq
    git clone https://github.com/Topdu/OpenOCR
    pip install timm nltk
    PYTHONPATH=tests python -m support.make_peers_reference parseq OpenOCR

Both are under the Apache License 2.0. Nothing of them is kept but names, shapes and digests.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from support.peers import FILE, LABELS, OPENOCR, PARSEQ, images, weights

VALUES = 16
# Widths, layers, and the layers that look around by convolutions, of each SVTRv2.
SVTRV2 = {
    "svtrv2_tiny": ([64, 128, 256], [3, 6, 3], 6),
    "svtrv2_base": ([128, 256, 384], [6, 6, 6], 8),
}


def main(parseq: Path, openocr: Path) -> None:
    sys.path[:0] = [str(parseq), str(openocr)]
    cases = {name: parseq_case(name) for name in PARSEQ}
    cases |= {name: openocr_case(name) for name in OPENOCR}
    FILE.write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n", encoding="utf-8")


@torch.inference_mode()
def parseq_case(name: str) -> dict[str, Any]:
    make = import_module("strhub.models.utils").create_model
    of_parseq = name.startswith("parseq")
    options = {"decode_ar": True, "refine_iters": 0, "perm_num": 2} if of_parseq else {}
    system = make(name, **options).eval()
    shapes = filled(system.model)
    pictures = images(name)
    outputs = {"scores": digest(system(pictures)[..., :95])}
    if of_parseq:
        outputs["loss"] = digest(system.training_step((pictures, LABELS), 0))
        system.model.refine_iters = 2
        outputs["refined"] = digest(system(pictures))
        system.model.refine_iters, system.model.decode_ar = 0, False
        outputs["at_once"] = digest(system(pictures))
    return {"shapes": shapes, "outputs": outputs}


@torch.inference_mode()
def openocr_case(name: str) -> dict[str, Any]:
    model = nn.Module()
    if name in SVTRV2:
        widths, layers, local = SVTRV2[name]
        mixers = ["Conv"] * local + ["FGlobal"] + ["Global"] * (sum(layers) - local - 1)
        first, second = layers[0], layers[0] + layers[1]
        encoders = import_module("openrec.modeling.encoders.svtrv2_lnconv_two33")
        model.encoder = encoders.SVTRv2LNConvTwo33(
            use_pos_embed=False,
            dims=widths,
            depths=layers,
            num_heads=[width // 32 for width in widths],
            mixer=[mixers[:first], mixers[first:second], mixers[second:]],
            sub_k=[[1, 1], [2, 1], [-1, -1]],
            feat2d=True,
        )
        decoder = import_module("openrec.modeling.decoders.rctc_decoder").RCTCDecoder
        model.decoder = decoder(widths[-1], 95)
    else:
        model.encoder = import_module("openrec.modeling.encoders.svtrnet").SVTRNet(
            img_size=list(OPENOCR[name]),
            out_char_num=25,
            out_channels=192,
            embed_dim=[64, 128, 256],
            depth=[3, 6, 3],
            num_heads=[2, 4, 8],
            mixer=["Local"] * 6 + ["Global"] * 6,
            prenorm=False,
        )
        model.decoder = import_module("openrec.modeling.decoders.ctc_decoder").CTCDecoder(192, 95)
    shapes = filled(model.eval())
    # In training its decoders give scores, else probabilities; they have no dropout.
    return {
        "shapes": shapes,
        "outputs": {"scores": digest(model.decoder.train()(model.encoder(images(name))))},
    }


def filled(model: nn.Module) -> dict[str, list[int]]:
    """Give a model the weights of the formulas; return the shapes of its tensors."""
    state = model.state_dict()
    # Masks and grids follow from the sizes.
    computed = (".mask", "GridGenerator.P_hat", "GridGenerator.inv_delta_C")
    shapes = {k: [*t.shape] for k, t in state.items() if not k.endswith(computed)}
    model.load_state_dict(weights(shapes), strict=False)
    return {k: [*t.shape] for k, t in state.items()}


def digest(output: torch.Tensor) -> dict[str, Any]:
    flat = output.double().flatten()
    index = [*range(0, flat.numel(), max(1, flat.numel() // VALUES))][:VALUES]
    return {
        "shape": [*output.shape],
        "sum": flat.sum().item(),
        "abs_sum": flat.abs().sum().item(),
        "index": index,
        "values": flat[index].tolist(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
