"""Weights of deep-text-recognition-benchmark (DTRB), under Hanline's names.

DTRB saves ``torch.save(DataParallel(model).state_dict())``: every key begins with ``module.``.
Neither the architecture nor the charset is in the file.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_RENAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^module\.", ""),
    (r"^Transformation\.LocalizationNetwork\.conv\.", "transformation.localization.features."),
    (
        r"^Transformation\.LocalizationNetwork\.localization_fc1\.0\.",
        "transformation.localization.hidden.",
    ),
    (
        r"^Transformation\.LocalizationNetwork\.localization_fc2\.",
        "transformation.localization.points.",
    ),
    (r"^FeatureExtraction\.ConvNet\.", "feature_extraction.layers."),
    # ResNet: its stages are numbered, each with the convolution that closes it.
    (r"layers\.conv0_([12])\.", lambda m: f"layers.{int(m[1]) - 1}.0."),
    (r"layers\.bn0_([12])\.", lambda m: f"layers.{int(m[1]) - 1}.1."),
    (r"layers\.conv4_([12])\.", lambda m: f"layers.8.{int(m[1]) + 2}.0."),
    (r"layers\.bn4_([12])\.", lambda m: f"layers.8.{int(m[1]) + 2}.1."),
    (r"layers\.conv([123])\.", lambda m: f"layers.{_closing(m[1])}.0."),
    (r"layers\.bn([123])\.", lambda m: f"layers.{_closing(m[1])}.1."),
    (r"layers\.layer4\.", "layers.8."),
    (r"layers\.layer([123])\.", lambda m: f"layers.{2 * int(m[1]) + 1}."),
    (r"(layers\.\d+\.\d+)\.bn([12])\.", r"\1.norm\2."),
    (r"\.downsample\.", ".shortcut."),
    # RCNN: the gated recurrent convolutions.
    (r"\.wgf_u\.", ".feed_gate."),
    (r"\.wgr_x\.", ".recurrent_gate."),
    (r"\.wf_u\.", ".feed."),
    (r"\.wr_x\.", ".recurrent."),
    (r"\.BN_x_init\.", ".norm."),
    (r"\.GRCL\.", ".iterations."),
    (r"\.BN_gfu\.", ".norm_feed_gate."),
    (r"\.BN_grx\.", ".norm_recurrent_gate."),
    (r"\.BN_fu\.", ".norm_feed."),
    (r"\.BN_rx\.", ".norm_recurrent."),
    (r"\.BN_Gx\.", ".norm_gated."),
    (r"^SequenceModeling\.(\d)\.rnn\.", r"sequence_modeling.lstms.\1."),
    (r"^SequenceModeling\.(\d)\.linear\.", r"sequence_modeling.linears.\1."),
    (r"^Prediction\.(weight|bias)$", r"prediction.linear.\1"),
    (r"^Prediction\.generator\.", "prediction.generator."),
    (r"^Prediction\.attention_cell\.i2h\.", "prediction.cell.key."),
    (r"^Prediction\.attention_cell\.h2h\.", "prediction.cell.query."),
    (r"^Prediction\.attention_cell\.score\.", "prediction.cell.score."),
    (r"^Prediction\.attention_cell\.rnn\.bias_ih$", "prediction.cell.context.bias"),
    (r"^Prediction\.attention_cell\.rnn\.(weight|bias)_hh$", r"prediction.cell.hidden.\1"),
]
_INPUT_WEIGHTS = "Prediction.attention_cell.rnn.weight_ih"
# They follow from the image's size, and Hanline computes them.
_DERIVED = ("Transformation.GridGenerator.inv_delta_C", "Transformation.GridGenerator.P_hat")


def is_dtrb_state(state: Mapping[str, object]) -> bool:
    """Whether the keys are those of a DTRB model."""
    return any(re.match(r"(module\.)?FeatureExtraction\.ConvNet\.", key) for key in state)


def recognizer_state(dtrb_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DTRB's tensors under the names of :class:`hanline.model.recognizer.Recognizer`.

    Args:
        dtrb_state: with or without the prefix ``module.``.
    """
    state = {}
    for key, tensor in dtrb_state.items():
        bare = key.removeprefix("module.")
        if bare in _DERIVED:
            continue
        if bare == _INPUT_WEIGHTS:
            # One-hot characters stand behind the context in the cell's input.
            classes = dtrb_state[key.replace(_INPUT_WEIGHTS, "Prediction.generator.bias")].shape[0]
            context, character = torch.split(tensor, [tensor.shape[1] - classes, classes], dim=1)
            state["prediction.cell.context.weight"] = context.contiguous()
            state["prediction.cell.character.weight"] = character.T.contiguous()
            continue
        name = bare
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor
    return state


def _closing(stage: str) -> str:
    """Where the convolution stands that closes a residual stage."""
    return {"1": "3.1", "2": "5.2", "3": "7.5"}[stage]
