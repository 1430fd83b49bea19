"""Weights of Topdu/OpenOCR: SVTR with CTC and SVTRv2 with its rearranging CTC, into Hanline.

Its training writes a ``.pth`` with ``state_dict`` and ``config``. The file names its dictionary but
does not hold it: if it has 94 characters, they are those of OpenOCR's English models. It is read
without unpickling.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.base import Description, Format, ModelFile
from hanline.formats.foreign import described, model_file, renamed, target
from hanline.formats.torch_file import checked_tensors, load_weights_file, peek
from hanline.models.feature_extraction.svtr import SVTR
from hanline.models.feature_extraction.svtrv2 import SVTRv2
from hanline.models.prediction.ctc import CTCPrediction
from hanline.models.sequence_modeling.none import NoSequenceModeling
from hanline.models.transformation.none import NoTransformation

_HEIGHT, _LENGTH = 32, 25
# Features of each attention head, and the window of a local layer, in all of its models.
_HEAD, _WINDOW = 32, [7, 11]
# A tensor that only models with this encoder have.
_SVTR, _SVTRV2 = "encoder.patch_embed.proj.0.conv.weight", "encoder.pope.patch_embed.0.conv.weight"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_SVTR_NAMES = [
    (r"encoder\.pos_embed", "positions.learned"),
    (r"encoder\.patch_embed\.proj\.0\.conv\.weight", "patches.0.weight"),
    (rf"encoder\.patch_embed\.proj\.0\.norm\.{_NORM}", r"patches.1.\1"),
    (r"encoder\.patch_embed\.proj\.1\.conv\.weight", "patches.3.weight"),
    (rf"encoder\.patch_embed\.proj\.1\.norm\.{_NORM}", r"patches.4.\1"),
    # It follows from the sizes.
    (r"encoder\.blocks\d\.\d+\.mixer\.mask", ""),
    *(
        (rf"encoder\.blocks{n + 1}\.(\d+)\.{theirs}\.(\w+)", rf"groups.{n}.\1.{ours}.\2")
        for n in range(3)
        for theirs, ours in (
            ("norm1", "attention_norm"),
            ("norm2", "mlp_norm"),
            (r"mixer\.qkv", "attention.qkv"),
            (r"mixer\.proj", "attention.output"),
            (r"mlp\.fc1", "mlp.0"),
            (r"mlp\.fc2", "mlp.3"),
        )
    ),
    *(
        (rf"encoder\.sub_sample{n + 1}\.{theirs}\.(\w+)", rf"merges.{n}.{ours}.\1")
        for n in range(2)
        for theirs, ours in (("conv", "convolution"), ("norm", "norm"))
    ),
    (r"encoder\.norm\.(\w+)", r"norm.\1"),
    (r"encoder\.last_conv\.weight", "output.weight"),
]
_SVTRV2_NAMES = [
    (r"encoder\.pope\.patch_embed\.0\.conv\.weight", "patches.0.weight"),
    (rf"encoder\.pope\.patch_embed\.0\.norm\.{_NORM}", r"patches.1.\1"),
    (r"encoder\.pope\.patch_embed\.1\.conv\.weight", "patches.3.weight"),
    (rf"encoder\.pope\.patch_embed\.1\.norm\.{_NORM}", r"patches.4.\1"),
    *(
        (rf"encoder\.stages\.([012])\.blocks\.(\d+)\.{theirs}", rf"groups.\1.\2.{ours}")
        for theirs, ours in (
            (r"norm1\.(\w+)", r"mixer_norm.\3"),
            (r"norm2\.(\w+)", r"mlp_norm.\3"),
            (r"mixer\.(\d)\.(\w+)", r"convolutions.\3.\4"),
            (r"mixer\.qkv\.(\w+)", r"attention.qkv.\3"),
            (r"mixer\.proj\.(\w+)", r"attention.output.\3"),
            (r"mlp\.fc1\.(\w+)", r"mlp.0.\3"),
            (r"mlp\.fc2\.(\w+)", r"mlp.2.\3"),
        )
    ),
    (r"encoder\.stages\.([01])\.downsample\.conv\.(\w+)", r"merges.\1.convolution.\2"),
    (r"encoder\.stages\.([01])\.downsample\.norm\.(\w+)", r"merges.\1.norm.\2"),
    (r"decoder\.w_atten_block\.norm1\.(\w+)", r"steps.rearranged.along_rows.attention_norm.\1"),
    (r"decoder\.w_atten_block\.norm2\.(\w+)", r"steps.rearranged.along_rows.mlp_norm.\1"),
    (
        r"decoder\.w_atten_block\.attn\.qkv\.weight",
        "steps.rearranged.along_rows.attention.qkv.weight",
    ),
    (
        r"decoder\.w_atten_block\.attn\.proj\.(\w+)",
        r"steps.rearranged.along_rows.attention.output.\1",
    ),
    (r"decoder\.w_atten_block\.mlp\.fc1\.(\w+)", r"steps.rearranged.along_rows.mlp.0.\1"),
    (r"decoder\.w_atten_block\.mlp\.fc2\.(\w+)", r"steps.rearranged.along_rows.mlp.3.\1"),
]


@dataclass(frozen=True)
class OpenOCR(Format):
    """See the module's docstring."""

    name: ClassVar = "openocr"
    title: ClassVar = "a model of OpenOCR"
    suffixes: ClassVar = (".pth",)

    def matches(self, path: Path) -> bool:
        return path.suffix in self.suffixes and bool({_SVTR, _SVTRV2} & _bare(peek(path)).keys())

    def load(self, path: Path) -> ModelFile:
        content = load_weights_file(path)
        bare = _bare(content)
        if not {_SVTR, _SVTRV2} & bare.keys():
            raise HanlineError(
                f"{path}: expected {self.title} with the encoder SVTRNet or SVTRv2LNConvTwo33, but "
                f"it has none of the tensors {_SVTR}, {_SVTRV2}"
            )
        said = content.get("config")
        try:
            return converted(
                checked_tensors(bare, path), said if isinstance(said, Mapping) else {}, path
            )
        except KeyError as error:
            raise HanlineError(
                f"{path}: expected SVTR with CTC, or SVTRv2 with the decoder RCTCDecoder, but the "
                f"tensor {error} is missing there, or is one too many. Take another of its models"
            ) from error

    def complete(self, file: ModelFile, said: Description, path: Path) -> ModelFile:
        return described(file, said, path)


def converted(bare: Mapping[str, Tensor], said: Mapping[str, Any], path: Path) -> ModelFile:
    """Return a model with Hanline's stages and names.

    Args:
        bare: its tensors by name.
        said: its configuration, as far as it is known.
        path: the file, for the history.

    Raises:
        KeyError: a tensor is missing, or unknown.
    """
    state = {
        name.replace("decoder.ctc_decoder.", "decoder."): tensor
        for name, tensor in bare.items()
        # What only trains.
        if not name.startswith("decoder.gtc_decoder.")
    }
    linear = {part: state.pop(f"decoder.fc.{part}") for part in ("weight", "bias")}
    features, tensors, width = _svtr(state) if _SVTR in state else _svtrv2(state)
    if _color_order(said) == "BGR":
        # Images are RGB here.
        tensors["patches.0.weight"] = tensors["patches.0.weight"].flip(1)
    stages = {
        "transformation": {"_target_": target(NoTransformation)},
        "feature_extraction": features,
        "sequence_modeling": {"_target_": target(NoSequenceModeling)},
        "prediction": {"_target_": target(CTCPrediction)},
    }
    found = {f"feature_extraction.{name}": tensor for name, tensor in tensors.items()}
    found |= {f"prediction.linear.{name}": tensor for name, tensor in linear.items()}
    image = {"height": _HEIGHT, "width": width, "channels": 3, "keep_ratio": width is None}
    history = {"imported_from": f"{path.name} of OpenOCR"}
    return model_file(stages, found, history, len(linear["bias"]) - 1, None, image, _LENGTH)


Encoder = tuple[dict[str, Any], dict[str, Tensor], int | None]
"""The config of a feature extraction, its tensors, and the width of its images."""


def _svtr(state: Mapping[str, Tensor]) -> Encoder:
    tensors = renamed(state, _SVTR_NAMES)
    tensors["output.weight"] = tensors["output.weight"].flatten(1)
    channels, layers = _groups(tensors, "mlp_norm.bias")
    rows = -(-_HEIGHT // 4)
    width = 4 * (tensors["positions.learned"].shape[1] // rows)
    config = {
        "_target_": target(SVTR),
        "image_height": _HEIGHT,
        "image_width": width,
        "channels": channels,
        "layers": layers,
        "heads": [width // _HEAD for width in channels],
        "local_layers": sum(name.endswith(".mixer.mask") for name in state),
        "window": _WINDOW,
        "mlp_ratio": _ratio(tensors),
        "out_channels": len(tensors["output.weight"]),
        "dropout": 0.1,
        "drop_path": 0.1,
    }
    return config, tensors, width


def _svtrv2(state: Mapping[str, Tensor]) -> Encoder:
    state = dict(state)
    token = state.pop("decoder.char_token").reshape(1, -1)
    kv = {part: state.pop(f"decoder.fc_kv.{part}") for part in ("weight", "bias")}
    tensors = _numbered(renamed(state, _SVTRV2_NAMES))
    tensors["steps.rearranged.query.weight"] = token
    for part, both in kv.items():
        keys, values = both.chunk(2)
        tensors[f"steps.rearranged.keys.{part}"] = keys
        tensors[f"steps.rearranged.values.{part}"] = values
    channels, layers = _groups(tensors, "mlp_norm.bias")
    config = {
        "_target_": target(SVTRv2),
        "channels": channels,
        "layers": layers,
        "heads": [width // _HEAD for width in channels],
        "local_layers": sum(name.endswith(".convolutions.0.bias") for name in tensors),
        "mlp_ratio": _ratio(tensors),
        "rows": "rearrange",
        "drop_path": 0.1,
    }
    return config, tensors, None


def _numbered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the layers of each group numbered from 0.

    There, a step without weights has a number too.
    """
    found = [re.match(r"(groups\.\d\.)(\d+)(\..*)", name) for name in tensors]
    numbers: dict[str, list[int]] = {}
    for match in filter(None, found):
        numbers.setdefault(match[1], []).append(int(match[2]))
    ranks = {group: sorted(set(seen)) for group, seen in numbers.items()}
    return {
        f"{match[1]}{ranks[match[1]].index(int(match[2]))}{match[3]}" if match else name: tensor
        for match, (name, tensor) in zip(found, tensors.items(), strict=True)
    }


def _color_order(said: Mapping[str, Any]) -> Any:
    """Return the order of the colors that a configuration trains with, None if it does not say."""
    transforms: Any = said
    for key in ("Train", "dataset", "transforms"):
        transforms = transforms.get(key) if isinstance(transforms, Mapping) else None
    steps: list[Any] = transforms if isinstance(transforms, list) else []
    for step in steps:
        options_of: Mapping[Any, Any] = step if isinstance(step, Mapping) else {}
        for name, options in options_of.items():
            if str(name).startswith("DecodeImage") and isinstance(options, Mapping):
                return options.get("img_mode")
    return None


def _groups(tensors: Mapping[str, Tensor], norm: str) -> tuple[list[int], list[int]]:
    """Return the width of each of the three groups of layers, and the number of its layers."""
    widths = [len(tensors[f"groups.{group}.0.{norm}"]) for group in range(3)]
    counts = [
        sum(
            re.fullmatch(rf"groups\.{group}\.\d+\.{re.escape(norm)}", n) is not None
            for n in tensors
        )
        for group in range(3)
    ]
    return widths, counts


def _ratio(tensors: Mapping[str, Tensor]) -> float:
    hidden, width = tensors["groups.0.0.mlp.0.weight"].shape
    return hidden / width


def _bare(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a file's content by their names in one process."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        return {}
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}
