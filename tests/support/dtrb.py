"""DTRB's 24 architectures with weights and images from formulas, and what DTRB makes of them.

`dtrb_reference.json` holds digests of the outputs of github.com/clovaai/
deep-text-recognition-benchmark on weights and images made from the formulas below.
`dtrb_state_dict_keys.json` holds the names and shapes of its tensors, stage by stage.
"""

import itertools
import json
import math
from pathlib import Path

import torch

from hanline.formats.dtrb import recognizer_state
from hanline.models.recognizer import Recognizer

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE / "dtrb_reference.json").read_text(encoding="utf-8"))
KEYS = json.loads((HERE / "dtrb_state_dict_keys.json").read_text(encoding="utf-8"))
CONFIG = REFERENCE["config"]
STAGES = {
    "None": "hanline.models.transformation.none.NoTransformation",
    "TPS": "hanline.models.transformation.tps.TPS",
    "VGG": "hanline.models.feature_extraction.vgg.VGG",
    "RCNN": "hanline.models.feature_extraction.rcnn.RCNN",
    "ResNet": "hanline.models.feature_extraction.resnet.ResNet",
    "BiLSTM": "hanline.models.sequence_modeling.bilstm.BiLSTM",
    "CTC": "hanline.models.prediction.ctc.CTCPrediction",
    "Attn": "hanline.models.prediction.attention.AttentionPrediction",
}
TOLERANCE = 1e-4
# Random weights make these two chaotic: 1e-6 of noise in the image moves their outputs by 5e-4, so
# float32 rounds to something else on each processor. In float64 they are the same everywhere, and
# what is left, 8.3e-4 and 2.15e-3, is the rounding of the reference itself, which is in float32.
CHAOTIC = {"TPS-RCNN-None-CTC": 1e-3, "TPS-RCNN-None-Attn": 3e-3}
CASES = [
    "-".join(stages)
    for stages in itertools.product(
        ("None", "TPS"), ("VGG", "RCNN", "ResNet"), ("None", "BiLSTM"), ("CTC", "Attn")
    )
]
HANGUL = "".join(chr(0xAC00 + i) for i in range(36))
OUT, HIDDEN = CONFIG["output_channel"], CONFIG["hidden_size"]


def build(case: str) -> Recognizer:
    transformation, feature_extraction, sequence_modeling, prediction = case.split("-")
    special_classes = 1 if prediction == "CTC" else 2
    return Recognizer(
        transformation={"_target_": STAGES[transformation]}
        | ({"num_fiducial": CONFIG["num_fiducial"]} if transformation == "TPS" else {}),
        feature_extraction={"_target_": STAGES[feature_extraction], "out_channels": OUT}
        | ({"iterations": 5} if feature_extraction == "RCNN" else {}),
        sequence_modeling=(
            {
                "_target_": STAGES["BiLSTM"],
                "hidden_size": HIDDEN,
                "out_channels": HIDDEN,
                "layers": 2,
            }
            if sequence_modeling == "BiLSTM"
            else {"_target_": "hanline.models.sequence_modeling.none.NoSequenceModeling"}
        ),
        prediction={"_target_": STAGES[prediction]}
        | ({"hidden_size": HIDDEN} if prediction == "Attn" else {}),
        charset="".join(chr(0xAC00 + i) for i in range(CONFIG["num_class"] - special_classes)),
        image={
            "height": CONFIG["imgH"],
            "width": CONFIG["imgW"],
            "channels": CONFIG["input_channel"],
            "keep_ratio": False,
        },
        max_label_length=CONFIG["batch_max_length"],
    ).eval()


def dtrb_shapes(case: str) -> dict[str, list[int]]:
    """DTRB's keys for a case, with the shapes of this reference's widths."""
    model = build(case)
    ours = {name: list(t.shape) for name, t in model.state_dict().items()}
    shapes: dict[str, list[int]] = {}
    for stage, choice in zip(
        ("Transformation", "FeatureExtraction", "SequenceModeling", "Prediction"),
        case.split("-"),
        strict=True,
    ):
        for key in KEYS.get(f"{stage}={choice}", {}):
            shapes[key] = []
    for key in shapes:
        if key.endswith("rnn.weight_ih") and "Prediction" in key:
            context = ours["prediction.cell.context.weight"]
            shapes[key] = [context[0], context[1] + CONFIG["num_class"]]
        elif "GridGenerator" not in key:
            shapes[key] = ours[next(iter(recognizer_state({key: torch.zeros(0)})))]
    return shapes


def formula_weights(case: str) -> dict[str, torch.Tensor]:
    shapes = dtrb_shapes(case)
    state = {}
    for k, key in enumerate(sorted(shapes)):
        shape = shapes[key]
        size = math.prod(shape)
        s = torch.sin(0.37 * torch.arange(size, dtype=torch.float64) + 1.3 * k)
        last = key.rsplit(".", 1)[-1]
        if "GridGenerator" in key:
            continue
        if last == "num_batches_tracked":
            value = torch.zeros(size)
        elif last == "running_var":
            value = 1 + 0.5 * s.abs()
        elif last == "running_mean":
            value = 0.1 * s
        elif key.endswith("localization_fc2.bias"):
            half = CONFIG["num_fiducial"] // 2
            x = torch.linspace(-1, 1, half, dtype=torch.float64)
            top = torch.stack([x, torch.linspace(0, -1, half, dtype=torch.float64)], 1)
            bottom = torch.stack([x, torch.linspace(1, 0, half, dtype=torch.float64)], 1)
            value = torch.cat([top, bottom]).flatten() + 0.02 * s
        elif key.endswith("localization_fc2.weight"):
            value = 0.01 * s
        elif len(shape) > 1:
            value = s * math.sqrt(3 * shape[0] / size)
        elif "weight" in last:
            value = 1 + 0.1 * s
        else:
            value = 0.1 * s
        state["module." + key] = value.reshape(shape).float()
    return state


def formula_images() -> torch.Tensor:
    shape = (CONFIG["batch"], CONFIG["input_channel"], CONFIG["imgH"], CONFIG["imgW"])
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(0.011 * i + 0.5 * torch.cos(0.003 * i)).reshape(shape).float()


def assert_matches(output: torch.Tensor, digest: dict, tolerance: float = TOLERANCE) -> None:
    flat = output.double().flatten()
    assert list(output.shape) == digest["shape"]
    theirs = torch.tensor(digest["values"], dtype=torch.float64)
    assert (flat[digest["index"]] - theirs).norm() <= tolerance * theirs.norm()
    assert abs(flat.abs().sum().item() - digest["abs_sum"]) <= tolerance * digest["abs_sum"]
    assert abs(flat.sum().item() - digest["sum"]) <= tolerance * digest["abs_sum"]


def as_compared(case: str, model: Recognizer) -> tuple[Recognizer, torch.Tensor, float]:
    """Return a case's model and images in the precision of the comparison, and its tolerance."""
    if case in CHAOTIC:
        return model.double(), formula_images().double(), CHAOTIC[case]
    return model, formula_images(), TOLERANCE
