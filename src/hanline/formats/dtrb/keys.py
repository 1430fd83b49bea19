"""DTRB's names of its stages and tensors, and Hanline's."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.dtrb.grid import grid
from hanline.models.feature_extraction.rcnn import RCNN
from hanline.models.feature_extraction.resnet import ResNet
from hanline.models.feature_extraction.vgg import VGG
from hanline.models.prediction.attention import AttentionPrediction
from hanline.models.prediction.ctc import CTCPrediction
from hanline.models.recognizer import Recognizer
from hanline.models.sequence_modeling.bilstm import BiLSTM
from hanline.models.sequence_modeling.none import NoSequenceModeling
from hanline.models.transformation.none import NoTransformation
from hanline.models.transformation.tps import TPS

# DTRB's names of its choices.
CHOICES: dict[str, dict[str, type]] = {
    "transformation": {"None": NoTransformation, "TPS": TPS},
    "feature_extraction": {"VGG": VGG, "RCNN": RCNN, "ResNet": ResNet},
    "sequence_modeling": {"None": NoSequenceModeling, "BiLSTM": BiLSTM},
    "prediction": {"CTC": CTCPrediction, "Attn": AttentionPrediction},
}

# A tensor that only models with this choice have.
TELLTALES = {
    "TPS": "Transformation.LocalizationNetwork.localization_fc2.weight",
    "VGG": "FeatureExtraction.ConvNet.18.weight",
    "RCNN": "FeatureExtraction.ConvNet.9.weight",
    "ResNet": "FeatureExtraction.ConvNet.conv4_2.weight",
    "BiLSTM": "SequenceModeling.0.linear.weight",
    "CTC": "Prediction.weight",
    "Attn": "Prediction.generator.weight",
}

# Beginnings of names, theirs and ours. Where several fit, the longest counts.
_BEGINNINGS = {
    "Transformation.LocalizationNetwork.conv": "transformation.localization.features",
    "Transformation.LocalizationNetwork.localization_fc1.0": "transformation.localization.hidden",
    "Transformation.LocalizationNetwork.localization_fc2": "transformation.localization.points",
    "FeatureExtraction.ConvNet": "feature_extraction.layers",
    "SequenceModeling.0.rnn": "sequence_modeling.lstms.0",
    "SequenceModeling.0.linear": "sequence_modeling.linears.0",
    "SequenceModeling.1.rnn": "sequence_modeling.lstms.1",
    "SequenceModeling.1.linear": "sequence_modeling.linears.1",
    "Prediction.generator": "prediction.generator",
    "Prediction.attention_cell.i2h": "prediction.cell.key",
    "Prediction.attention_cell.h2h": "prediction.cell.query",
    "Prediction.attention_cell.score": "prediction.cell.score",
}
# ResNet's stages are numbered there; each has the convolution that closes it.
_RESNET_BEGINNINGS = _BEGINNINGS | {
    f"FeatureExtraction.ConvNet.{theirs}": f"feature_extraction.layers.{ours}"
    for theirs, ours in (
        ("conv0_1", "0.0"),
        ("bn0_1", "0.1"),
        ("conv0_2", "1.0"),
        ("bn0_2", "1.1"),
        ("layer1", "3"),
        ("conv1", "3.1.0"),
        ("bn1", "3.1.1"),
        ("layer2", "5"),
        ("conv2", "5.2.0"),
        ("bn2", "5.2.1"),
        ("layer3", "7"),
        ("conv3", "7.5.0"),
        ("bn3", "7.5.1"),
        ("layer4", "8"),
        ("conv4_1", "8.3.0"),
        ("bn4_1", "8.3.1"),
        ("conv4_2", "8.4.0"),
        ("bn4_2", "8.4.1"),
    )
}
# Parts of names behind their beginnings.
_PARTS = {
    # ResNet's blocks
    "bn1": "norm1",
    "bn2": "norm2",
    "downsample": "shortcut",
    # RCNN's gated recurrent convolutions
    "wgf_u": "feed_gate",
    "wgr_x": "recurrent_gate",
    "wf_u": "feed",
    "wr_x": "recurrent",
    "GRCL": "iterations",
    "BN_x_init": "norm",
    "BN_gfu": "norm_feed_gate",
    "BN_grx": "norm_recurrent_gate",
    "BN_fu": "norm_feed",
    "BN_rx": "norm_recurrent",
    "BN_Gx": "norm_gated",
}
# Names that are no beginnings.
_WHOLE = {
    "Prediction.weight": "prediction.linear.weight",
    "Prediction.bias": "prediction.linear.bias",
    "Prediction.attention_cell.rnn.bias_ih": "prediction.cell.context.bias",
    "Prediction.attention_cell.rnn.weight_hh": "prediction.cell.hidden.weight",
    "Prediction.attention_cell.rnn.bias_hh": "prediction.cell.hidden.bias",
}
_INPUT_WEIGHTS = "Prediction.attention_cell.rnn.weight_ih"
_CONTEXT, _CHARACTER = "prediction.cell.context.weight", "prediction.cell.character.weight"
# They follow from the sizes, and Hanline computes them.
_GRID = "Transformation.GridGenerator."
P_HAT, INV_DELTA_C = _GRID + "P_hat", _GRID + "inv_delta_C"


def is_dtrb_state(state: Mapping[str, object]) -> bool:
    """Return whether the keys are those of a DTRB model."""
    return any(re.match(r"(module\.)?FeatureExtraction\.ConvNet\.", str(key)) for key in state)


def recognizer_state(dtrb_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return DTRB's tensors under the names of :class:`hanline.models.recognizer.Recognizer`.

    Args:
        dtrb_state: with or without the prefix ``module.``.
    """
    bare = {key.removeprefix("module."): tensor for key, tensor in dtrb_state.items()}
    beginnings = _RESNET_BEGINNINGS if is_resnet(bare) else _BEGINNINGS
    state = {}
    for name, tensor in bare.items():
        if name.startswith(_GRID):
            continue
        if name == _INPUT_WEIGHTS:
            # One-hot characters stand behind the context in the cell's input.
            classes = bare["Prediction.generator.bias"].shape[0]
            context, character = torch.split(tensor, [tensor.shape[1] - classes, classes], dim=1)
            state[_CONTEXT], state[_CHARACTER] = context.contiguous(), character.T.contiguous()
            continue
        state[_WHOLE.get(name) or _renamed(name, beginnings, _PARTS)] = tensor
    return state


def dtrb_state(recognizer: Recognizer) -> dict[str, Tensor]:
    """Return a recognizer's tensors under DTRB's names, as ``DataParallel(model)`` has them.

    Raises:
        HanlineError: one of the stages is none that DTRB has.
    """
    stages = stage_names(recognizer.spec)
    beginnings = _RESNET_BEGINNINGS if stages["feature_extraction"] == "ResNet" else _BEGINNINGS
    beginnings = {ours: theirs for theirs, ours in beginnings.items()}
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    whole = {ours: theirs for theirs, ours in _WHOLE.items()}
    own = dict(recognizer.state_dict())
    state = {}
    if stages["transformation"] == "TPS":
        image = recognizer.spec["image"]
        points = recognizer.spec["transformation"]["num_fiducial"]
        state[INV_DELTA_C], state[P_HAT] = grid(image["height"], image["width"], points)
    if _CONTEXT in own:
        state[_INPUT_WEIGHTS] = torch.cat([own.pop(_CONTEXT), own.pop(_CHARACTER).T], dim=1)
    for name, tensor in own.items():
        state[whole.get(name) or _renamed(name, beginnings, parts)] = tensor
    return {f"module.{name}": tensor.contiguous() for name, tensor in state.items()}


def stage_names(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return DTRB's names of the four stages.

    Raises:
        HanlineError: DTRB has no such stage.
    """
    found = {}
    for stage, choices in CHOICES.items():
        target = spec[stage]["_target_"]
        names = [name for name in choices if target == target_of(stage, name)]
        if not names:
            raise HanlineError(
                f"DTRB has no {stage} {target.rpartition('.')[2]}, so this model cannot become one "
                f"of DTRB's: it has {', '.join(choices)}"
            )
        found[stage] = names[0]
    return found


def architecture(spec: Mapping[str, Any]) -> str:
    """Return the preset's name of a spec, such as ``tps_resnet_bilstm_attn``."""
    return "_".join(name.lower() for name in stage_names(spec).values())


def is_resnet(bare: Mapping[str, object]) -> bool:
    """Return whether a state, or a part of one, has DTRB's names of a ResNet."""
    return any(name.startswith("FeatureExtraction.ConvNet.conv0_") for name in bare) or any(
        # A part of a state is renamed too.
        re.match(r"FeatureExtraction\.ConvNet\.(layer|conv|bn)\d", name)
        for name in bare
    )


def target_of(stage: str, name: str) -> str:
    """Return the ``_target_`` of a choice of DTRB, such as ``"prediction", "Attn"``."""
    choice = CHOICES[stage][name]
    return f"{choice.__module__}.{choice.__name__}"


def _renamed(name: str, beginnings: Mapping[str, str], parts: Mapping[str, str]) -> str:
    """Return a name of one side in the names of the other; unchanged if it has none."""
    for beginning in _beginnings_of(name):
        if beginning in beginnings:
            rest = name[len(beginning) :].split(".")
            return beginnings[beginning] + ".".join(parts.get(part, part) for part in rest)
    return name


def _beginnings_of(name: str) -> Iterator[str]:
    """Yield the beginnings of a name that end before a dot, the longest first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
