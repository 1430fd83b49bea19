"""Weights of baudm/parseq: PARSeq, ViTSTR, CRNN and TRBA, into Hanline.

Its releases are ``.pt`` files of tensors alone, for which it has one charset of 94 characters. Its
training writes Lightning's ``.ckpt``, whose hyperparameters say the charset and the heads too. Both
are read without unpickling. Images are RGB, stretched to 32×128 and normalized to [−1, 1].

Over 300 lines: four architectures of one project, whose tensors are named alike.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.base import Description, Format, ModelFile
from hanline.formats.dtrb import recognizer_state
from hanline.formats.foreign import described, model_file, renamed, target
from hanline.formats.torch_file import checked_tensors, load_weights_file, peek
from hanline.models.feature_extraction.crnn import CRNN
from hanline.models.feature_extraction.resnet import ResNet
from hanline.models.feature_extraction.vit import ViT
from hanline.models.prediction.attention import AttentionPrediction
from hanline.models.prediction.ctc import CTCPrediction
from hanline.models.prediction.parseq import PARSeqPrediction
from hanline.models.prediction.vitstr import ViTSTRPrediction
from hanline.models.sequence_modeling.bilstm import BiLSTM
from hanline.models.sequence_modeling.none import NoSequenceModeling
from hanline.models.transformation.none import NoTransformation
from hanline.models.transformation.tps import TPS

_HEIGHT, _WIDTH, _LENGTH = 32, 128, 25
# A tensor that only models of this architecture have.
_TELLTALES = {
    "pos_queries": "PARSeq",
    "cls_token": "ViTSTR",
    "cnn.conv0.weight": "CRNN",
    "Prediction.char_embeddings.weight": "TRBA",
}
# Features of each attention head, if the file does not say their number.
_ENCODER_HEAD, _DECODER_HEAD = 64, 32
_LAYER = [
    (r"\.norm1\.(\w+)", r".attention_norm.\2"),
    (r"\.norm2\.(\w+)", r".mlp_norm.\2"),
    (r"\.attn\.qkv\.(\w+)", r".attention.qkv.\2"),
    (r"\.attn\.proj\.(\w+)", r".attention.output.\2"),
    (r"\.mlp\.fc1\.(\w+)", r".mlp.0.\2"),
    (r"\.mlp\.fc2\.(\w+)", r".mlp.3.\2"),
]
_ENCODER = [
    *((rf"blocks\.(\d+){theirs}", rf"layers.\1{ours}") for theirs, ours in _LAYER),
    (r"norm\.(\w+)", r"norm.\1"),
    (r"patch_embed\.proj\.(\w+)", r"patches.\1"),
]
_DECODER = [
    (r"layers\.(\d+)\.(self|cross)_attn\.(\w+\.?\w*)", r"layers.\1.\2.\3"),
    (r"layers\.(\d+)\.norm_q\.(\w+)", r"layers.\1.place_norm.\2"),
    (r"layers\.(\d+)\.norm_c\.(\w+)", r"layers.\1.known_norm.\2"),
    (r"layers\.(\d+)\.norm1\.(\w+)", r"layers.\1.image_norm.\2"),
    (r"layers\.(\d+)\.norm2\.(\w+)", r"layers.\1.mlp_norm.\2"),
    (r"layers\.(\d+)\.linear1\.(\w+)", r"layers.\1.mlp.0.\2"),
    (r"layers\.(\d+)\.linear2\.(\w+)", r"layers.\1.mlp.3.\2"),
    (r"norm\.(\w+)", r"norm.\1"),
]
# CRNN's layers, by their numbers in Hanline's stage.
_CRNN = {
    "conv0": 0,
    "conv1": 3,
    "conv2": 6,
    "batchnorm2": 7,
    "conv3": 9,
    "conv4": 12,
    "batchnorm4": 13,
    "conv5": 15,
    "conv6": 18,
    "batchnorm6": 19,
}


@dataclass(frozen=True)
class Parseq(Format):
    """See the module's docstring."""

    name: ClassVar = "parseq"
    title: ClassVar = "a model of baudm/parseq"
    suffixes: ClassVar = (".pt", ".ckpt")

    def matches(self, path: Path) -> bool:
        return path.suffix in self.suffixes and _kind(_bare(peek(path))) is not None

    def load(self, path: Path) -> ModelFile:
        content = load_weights_file(path)
        bare = checked_tensors(_bare(content), path)
        if _kind(bare) is None:
            raise HanlineError(
                f"{path}: expected {self.title} (PARSeq, ViTSTR, CRNN or TRBA), but it has none of "
                f"the tensors {', '.join(_TELLTALES)}"
            )
        said = content.get("hyper_parameters")
        try:
            return converted(bare, said if isinstance(said, Mapping) else {}, path)
        except (KeyError, ValueError, IndexError, RuntimeError, TypeError, ZeroDivisionError) as e:
            # What looking for names and sizes in incomplete tensors raises.
            raise HanlineError(
                f"{path} is not a whole model of baudm/parseq: {type(e).__name__} {e}. Take a file "
                "of its releases, or of its training"
            ) from e

    def complete(self, file: ModelFile, said: Description, path: Path) -> ModelFile:
        return described(file, said, path)


def converted(bare: Mapping[str, Tensor], said: Mapping[str, Any], path: Path) -> ModelFile:
    """Return a model with Hanline's stages and names.

    Args:
        bare: its tensors, by the names inside ``model``.
        said: its hyperparameters, as far as they are known.
        path: the file, for the history.

    Raises:
        KeyError: a tensor is missing, or unknown.
    """
    kind = _kind(bare)
    make = {"PARSeq": _parseq, "ViTSTR": _vitstr, "CRNN": _crnn, "TRBA": _trba}[str(kind)]
    size = said.get("img_size") or (_HEIGHT, _WIDTH)
    stages, state, classes, length = make(bare, said, (int(size[0]), int(size[1])))
    stages = {"transformation": {"_target_": target(NoTransformation)}} | stages
    fixed = stages["feature_extraction"]
    image = {
        "height": fixed.get("image_height", int(size[0])),
        "width": fixed.get("image_width", int(size[1])),
        "channels": 3,
        "keep_ratio": False,
    }
    charset = said.get("charset_train")
    return model_file(
        stages,
        state,
        {"imported_from": f"{path.name} of baudm/parseq"},
        classes,
        charset if isinstance(charset, str) else None,
        image,
        length,
    )


Size = tuple[int, int]
Converted = tuple[dict[str, Any], dict[str, Tensor], int, int]
"""Stages, tensors, the number of characters, and the most characters in a text."""


def _parseq(
    bare: Mapping[str, Tensor], said: Mapping[str, Any], size: tuple[int, int]
) -> Converted:
    encoder = _below("encoder.", bare)
    features, state = _vit(encoder, said.get("enc_num_heads"), size, class_token=False)
    width, classes = bare["head.weight"].shape[1], bare["head.weight"].shape[0]
    decoder = renamed(_below("decoder.", bare), _DECODER)
    for name, tensor in decoder.items():
        state |= {f"prediction.{key}": part for key, part in _attention(name, tensor).items()}
    embedded = bare["text_embed.embedding.weight"]
    state |= {
        "prediction.head.weight": bare["head.weight"],
        "prediction.head.bias": bare["head.bias"],
        "prediction.characters.weight": embedded[:classes].clone(),
        # It is embedded as characters are, which their scale is for.
        "prediction.start": embedded[classes].view(1, 1, -1) * math.sqrt(width),
        "prediction.places": bare["pos_queries"],
    }
    length = bare["pos_queries"].shape[1] - 1
    prediction = {
        "_target_": target(PARSeqPrediction),
        "layers": 1 + max(int(name.split(".")[1]) for name in decoder if name[:6] == "layers"),
        "head_width": width // int(said.get("dec_num_heads") or width // _DECODER_HEAD),
        "mlp_ratio": bare["decoder.layers.0.linear1.weight"].shape[0] / width,
        "dropout": float(said.get("dropout", 0.1)),
        "orders": max(2, int(said.get("perm_num", 6)) // 2 * 2),
        "autoregressive": bool(said.get("decode_ar", True)),
        "refinements": int(said.get("refine_iters", 1)),
    }
    stages = _without_sequences(features, prediction)
    return stages, state, classes - 1, length


def _vitstr(
    bare: Mapping[str, Tensor], said: Mapping[str, Any], size: tuple[int, int]
) -> Converted:
    encoder = {name: tensor for name, tensor in bare.items() if not name.startswith("head.")}
    features, state = _vit(encoder, said.get("num_heads"), size, class_token=True)
    state["prediction.linear.weight"] = bare["head.weight"]
    state["prediction.linear.bias"] = bare["head.bias"]
    stages = _without_sequences(features, {"_target_": target(ViTSTRPrediction)})
    length = int(said.get("max_label_length", _LENGTH))
    return stages, state, len(bare["head.bias"]) - 1, length


def _crnn(bare: Mapping[str, Tensor], said: Mapping[str, Any], size: Size) -> Converted:
    if said.get("leaky_relu"):
        raise KeyError("leaky_relu, which Hanline's CRNN has not")
    state = {}
    for name, tensor in bare.items():
        part, _, rest = name.partition(".")
        layer, _, last = rest.partition(".")
        if part == "cnn":
            state[f"feature_extraction.layers.{_CRNN[layer]}.{last}"] = tensor
        elif rest.startswith("1.linear."):
            state[f"prediction.linear.{last.rpartition('.')[2]}"] = tensor
        elif part == "rnn":
            where, _, leaf = last.partition(".")
            kind = {"rnn": "lstms", "linear": "linears"}[where]
            state[f"sequence_modeling.{kind}.{int(layer)}.{leaf}"] = tensor
        else:
            raise KeyError(name)
    hidden = bare["rnn.0.rnn.weight_hh_l0"].shape[1]
    stages = {
        "feature_extraction": {
            "_target_": target(CRNN),
            "out_channels": bare["cnn.conv6.weight"].shape[0],
        },
        "sequence_modeling": {
            "_target_": target(BiLSTM),
            "hidden_size": hidden,
            "out_channels": bare["rnn.0.linear.weight"].shape[0],
            "layers": 2,
            "last_linear": False,
        },
        "prediction": {"_target_": target(CTCPrediction)},
    }
    length = int(said.get("max_label_length", _LENGTH))
    return stages, state, len(bare["rnn.1.linear.bias"]) - 1, length


def _trba(bare: Mapping[str, Tensor], said: Mapping[str, Any], size: Size) -> Converted:
    """Return TRBA as DTRB has it: its embedded characters are a product that can be computed."""
    state = dict(bare)
    embedded = state.pop("Prediction.char_embeddings.weight")
    # Theirs: end, characters, start, padding. DTRB's: start, end, characters.
    count = len(embedded) - 3
    order = [count + 1, *range(count + 1)]
    name = "Prediction.attention_cell.rnn.weight_ih"
    context, character = state[name].split(
        [state[name].shape[1] - embedded.shape[1], embedded.shape[1]], dim=1
    )
    state[name] = torch.cat([context, character @ embedded[order].T], dim=1)
    for part in ("weight", "bias"):
        state[f"Prediction.generator.{part}"] = state[f"Prediction.generator.{part}"][order]
    hidden = state["Prediction.generator.weight"].shape[1]
    points = len(state["Transformation.LocalizationNetwork.localization_fc2.bias"]) // 2
    stages = {
        "transformation": {"_target_": target(TPS), "num_fiducial": points},
        "feature_extraction": {
            "_target_": target(ResNet),
            "out_channels": len(state["FeatureExtraction.ConvNet.conv4_2.weight"]),
        },
        "sequence_modeling": {
            "_target_": target(BiLSTM),
            "hidden_size": state["SequenceModeling.0.rnn.weight_hh_l0"].shape[1],
            "out_channels": len(state["SequenceModeling.0.linear.weight"]),
            "layers": 2,
            "last_linear": True,
        },
        "prediction": {"_target_": target(AttentionPrediction), "hidden_size": hidden},
    }
    length = int(said.get("max_label_length", _LENGTH))
    return stages, recognizer_state(state), count, length


def _vit(
    encoder: Mapping[str, Tensor], heads: Any, size: tuple[int, int], class_token: bool
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config of a vision transformer, and its tensors."""
    rest = {name: t for name, t in encoder.items() if name not in ("pos_embed", "cls_token")}
    state = {f"feature_extraction.{k}": t for k, t in renamed(rest, _ENCODER).items()}
    positions = encoder["pos_embed"]
    if class_token:
        state["feature_extraction.token"] = encoder["cls_token"] + positions[:, :1]
        positions = positions[:, 1:]
    state["feature_extraction.positions.learned"] = positions.clone()
    width, _, *patch = encoder["patch_embed.proj.weight"].shape
    places = positions.shape[1]
    if (size[0] // patch[0]) * (size[1] // patch[1]) != places:
        # The file does not say its size: the other one of its models is a square.
        side = math.isqrt(places)
        if side * side != places:
            raise KeyError(f"pos_embed of {places} places, for patches of {patch[0]}×{patch[1]}")
        size = (side * patch[0], side * patch[1])
    config = {
        "_target_": target(ViT),
        "image_height": size[0],
        "image_width": size[1],
        "patch": list(patch),
        "out_channels": width,
        "layers": 1 + max(int(m[1]) for m in map(re.compile(r"blocks\.(\d+)").match, rest) if m),
        "heads": int(heads or width // _ENCODER_HEAD),
        "mlp_ratio": encoder["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "dropout": 0.0,
        "rows": "keep",
        "class_token": class_token,
    }
    return config, state


def _attention(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return the parts of a tensor of torch's attention by the names of Hanline's."""
    match = re.fullmatch(r"(layers\.\d+)\.(self|cross)\.(\w+)\.?(\w*)", name)
    if not match:
        return {name: tensor}
    place = f"{match[1]}.{'text' if match[2] == 'self' else 'image'}"
    if match[3] == "out_proj":
        return {f"{place}.output.{match[4]}": tensor}
    last, width = match[3].removeprefix("in_proj_"), len(tensor) // 3
    return {f"{place}.query.{last}": tensor[:width], f"{place}.kv.{last}": tensor[width:]}


def _without_sequences(features: dict[str, Any], prediction: dict[str, Any]) -> dict[str, Any]:
    return {
        "feature_extraction": features,
        "sequence_modeling": {"_target_": target(NoSequenceModeling)},
        "prediction": prediction,
    }


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _bare(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a file's content by the names inside ``model``."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        return {}
    return {str(name).removeprefix("model."): tensor for name, tensor in state.items()}


def _kind(bare: Mapping[str, Any]) -> str | None:
    """Return the architecture that tensors are of, or None."""
    return next((kind for name, kind in _TELLTALES.items() if name in bare), None)
