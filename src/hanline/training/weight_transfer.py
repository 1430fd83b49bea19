"""Transfer of weights from another model: tensors that fit are loaded, the rest is logged."""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.registry import load_model
from hanline.models.recognizer import Recognizer
from hanline.text.charset import Charset

logger = logging.getLogger(__name__)


def finetune_from(recognizer: Recognizer, path: Path) -> list[str]:
    """Load the weights that fit from a model file into a recognizer.

    Tensors are matched by name and shape. Those whose rows are classes are carried over row by row,
    by character, so that another charset, or another order, loses only the characters that are
    missing in the file. A ``.pth`` of DTRB or EasyOCR has no charset: if it has as many rows as
    this recognizer, they count as the same characters.

    Args:
        recognizer: the model to train; changed in place.
        path: a Hanline checkpoint or safetensors file, or a ``.pth`` of DTRB or EasyOCR.

    Returns:
        A line for each tensor or group of characters that was not loaded.

    Raises:
        HanlineError: the file is none of these, or nothing in it fits.
    """
    file = load_model(path)
    state = file.state
    charset = Charset(file.spec["charset"]) if file.spec else recognizer.charset
    left_out = transfer(recognizer, state, charset)
    # A normalization's count of batches is not a weight, and fits every model.
    own = {name for name in recognizer.state_dict() if not name.endswith("num_batches_tracked")}
    loaded = len(own) - sum(line.split(":")[0] in own for line in left_out)
    if not loaded:
        raise HanlineError(
            f"finetune_from={path}: expected weights of which some fit this model, but none do. It "
            f"has {', '.join(sorted(state)[:3])}, …"
        )
    logger.info("fine-tuning from %s: %d of %d tensors loaded", path, loaded, len(own))
    for line in left_out:
        logger.info("not loaded: %s", line)
    return left_out


def transfer(recognizer: Recognizer, state: Mapping[str, Tensor], charset: Charset) -> list[str]:
    """Copy the tensors that fit into a recognizer; see :func:`finetune_from`."""
    own = recognizer.state_dict()
    by_class = {f"prediction.{name}" for name in recognizer.prediction.class_tensors}
    left_out = []
    for name, target in own.items():
        source = state.get(name)
        if source is None:
            left_out.append(f"{name}: not in the checkpoint")
        elif name in by_class and source.ndim and source.shape[1:] == target.shape[1:]:
            first = recognizer.prediction.special_classes
            if len(source) != len(charset) + first:
                left_out.append(f"{name}: {len(source)} classes, not {len(charset) + first}")
                continue
            target[:first] = source[:first]
            for character, row in recognizer.charset.index.items():
                if character in charset:
                    target[first + row] = source[first + charset.index[character]]
        elif source.shape == target.shape:
            target.copy_(source)
        else:
            left_out.append(f"{name}: {list(source.shape)} there, {list(target.shape)} here")
    unknown = "".join(c for c in recognizer.charset.characters if c not in charset)
    if unknown:
        left_out.append(f"{len(unknown)} characters that the checkpoint does not know: {unknown}")
    unused = "".join(c for c in charset.characters if c not in recognizer.charset)
    if unused:
        left_out.append(f"{len(unused)} characters that this model does not know: {unused}")
    left_out += [f"{name}: not in this model" for name in state if name not in own]
    return left_out
