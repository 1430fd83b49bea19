"""Weights of deep-text-recognition-benchmark (DTRB), into Hanline and out of it.

DTRB (Baek et al., "What Is Wrong With Scene Text Recognition Model Comparisons? Dataset and Model
Analysis", ICCV 2019) saves ``torch.save(DataParallel(model).state_dict())``: every key begins with
``module.``. The architecture and all widths can be told from the tensors; the charset, the size of
the images (but for TPS) and the length of the texts cannot. EasyOCR's own networks have the same
names.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hanline.data.images import ImageFormat
from hanline.errors import HanlineError
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
from hanline.system import files as system_files
from hanline.text.charset import Charset, named_charset

# DTRB's names of its choices.
STAGES: dict[str, dict[str, type]] = {
    "transformation": {"None": NoTransformation, "TPS": TPS},
    "feature_extraction": {"VGG": VGG, "RCNN": RCNN, "ResNet": ResNet},
    "sequence_modeling": {"None": NoSequenceModeling, "BiLSTM": BiLSTM},
    "prediction": {"CTC": CTCPrediction, "Attn": AttentionPrediction},
}

# A tensor that only models with this choice have.
_TELLTALES = {
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
        *(("conv0_1", "0.0"), ("bn0_1", "0.1"), ("conv0_2", "1.0"), ("bn0_2", "1.1")),
        *(("layer1", "3"), ("conv1", "3.1.0"), ("bn1", "3.1.1")),
        *(("layer2", "5"), ("conv2", "5.2.0"), ("bn2", "5.2.1")),
        *(("layer3", "7"), ("conv3", "7.5.0"), ("bn3", "7.5.1")),
        *(("layer4", "8"), ("conv4_1", "8.3.0"), ("bn4_1", "8.3.1")),
        *(("conv4_2", "8.4.0"), ("bn4_2", "8.4.1")),
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
_P_HAT, _INV_DELTA_C = _GRID + "P_hat", _GRID + "inv_delta_C"

# How the file of the characters ends.
CHARACTERS = ".characters.txt"

# A tensor's name and one of its dimensions → how large it is there.
Size = Callable[[str, int], int]


def is_dtrb_state(state: Mapping[str, object]) -> bool:
    """Whether the keys are those of a DTRB model."""
    return any(re.match(r"(module\.)?FeatureExtraction\.ConvNet\.", str(key)) for key in state)


def recognizer_state(dtrb_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DTRB's tensors under the names of :class:`hanline.models.recognizer.Recognizer`.

    Args:
        dtrb_state: with or without the prefix ``module.``.
    """
    bare = {key.removeprefix("module."): tensor for key, tensor in dtrb_state.items()}
    beginnings = _RESNET_BEGINNINGS if _is_resnet(bare) else _BEGINNINGS
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
    """A recogniser's tensors under DTRB's names, as ``DataParallel(model).state_dict()`` has them.

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
        state[_INV_DELTA_C], state[_P_HAT] = grid(image["height"], image["width"], points)
    if _CONTEXT in own:
        state[_INPUT_WEIGHTS] = torch.cat([own.pop(_CONTEXT), own.pop(_CHARACTER).T], dim=1)
    for name, tensor in own.items():
        state[whole.get(name) or _renamed(name, beginnings, parts)] = tensor
    return {f"module.{name}": tensor.contiguous() for name, tensor in state.items()}


def stage_names(spec: Mapping[str, Any]) -> dict[str, str]:
    """DTRB's names of the four stages.

    Raises:
        HanlineError: DTRB has no such stage.
    """
    found = {}
    for stage, choices in STAGES.items():
        target = spec[stage]["_target_"]
        names = [name for name, choice in choices.items() if target == _target(choice)]
        if not names:
            raise HanlineError(
                f"DTRB has no {stage} {target.rpartition('.')[2]}, so this model cannot become one "
                f"of DTRB's: it has {', '.join(choices)}"
            )
        found[stage] = names[0]
    return found


def write_dtrb(path: Path, recognizer: Recognizer) -> list[Path]:
    """Write a recogniser as DTRB saves one.

    Args:
        path: the ``.pth``; the characters get the same name with ``.characters.txt``, one line.
        recognizer: what is written.

    Returns:
        Both files.

    Raises:
        HanlineError: DTRB has no such model.
    """
    _refuse_unfit(recognizer.spec)
    characters = path.with_suffix(CHARACTERS)
    aside = path.with_name(path.name + ".partial")
    torch.save(dtrb_state(recognizer), aside)
    aside.replace(path)
    system_files.write_text(characters, recognizer.charset.characters + "\n")
    return [path, characters]


def demo_command(path: Path, spec: Mapping[str, Any]) -> str:
    """The command line that reads with the files of :func:`write_dtrb` in a checkout of DTRB."""
    names, image = stage_names(spec), spec["image"]
    hidden = spec["sequence_modeling"].get("hidden_size", spec["prediction"].get("hidden_size"))
    words = [
        f"python demo.py --image_folder IMAGES --saved_model {shlex.quote(str(path))}",
        f"--Transformation {names['transformation']}",
        f"--FeatureExtraction {names['feature_extraction']}",
        f"--SequenceModeling {names['sequence_modeling']} --Prediction {names['prediction']}",
        f"--imgH {image['height']} --imgW {image['width']}",
        f"--output_channel {spec['feature_extraction']['out_channels']}",
        f"--batch_max_length {spec['max_label_length']}",
        # With =, since the first character may be a hyphen.
        f'--character="$(cat {shlex.quote(str(path.with_suffix(CHARACTERS)))})"',
    ]
    if hidden:
        words.append(f"--hidden_size {hidden}")
    if "num_fiducial" in spec["transformation"]:
        words.append(f"--num_fiducial {spec['transformation']['num_fiducial']}")
    words += ["--rgb"] * (image["channels"] == 3) + ["--PAD"] * image["keep_ratio"]
    return " ".join(words)


def _refuse_unfit(spec: Mapping[str, Any]) -> None:
    """Refuse numbers that no option of DTRB can say."""
    sequence, hidden = spec["sequence_modeling"], spec["sequence_modeling"].get("hidden_size")
    if sequence.get("layers", 2) != 2:
        wrong = f"sequence_modeling.layers is {sequence['layers']}, and not 2"
    elif sequence.get("out_channels") != hidden:
        wrong = f"sequence_modeling.out_channels is {sequence['out_channels']}, and not {hidden}"
    elif hidden and spec["prediction"].get("hidden_size", hidden) != hidden:
        wrong = f"prediction.hidden_size is {spec['prediction']['hidden_size']}, and not {hidden}"
    elif spec["feature_extraction"].get("iterations", 5) != 5:
        wrong = f"feature_extraction.iterations is {spec['feature_extraction']['iterations']}"
    elif spec["image"]["width"] is None:
        wrong = "image.width is null, and DTRB gives all images one width"
    else:
        return
    raise HanlineError(f"DTRB has no option for this model: its {wrong}; format=onnx can carry it")


def recognizer_from_dtrb(
    tensors: Mapping[str, Tensor],
    charset: Charset | None,
    image: Mapping[str, Any],
    max_label_length: int,
    path: Path,
) -> Recognizer:
    """Build the recogniser that a DTRB file holds the weights of.

    Args:
        tensors: the file's content.
        charset: the characters, in the order of their classes; None is answered with those that
            could be it.
        image: as :class:`hanline.models.recognizer.Recognizer` takes it, but for ``channels``,
            which the weights tell.
        max_label_length: the most characters in a text.
        path: the file, for messages.

    Raises:
        HanlineError: a tensor is missing, or does not fit the charset or the others.
    """
    bare = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    found = stages_of(bare, path)
    _check_classes(bare, charset, path)
    assert charset is not None
    image = {**image, "channels": channels_of(bare)}
    ImageFormat(**image)  # It refuses sizes that no image has.
    recognizer = Recognizer(
        **found,
        charset=charset.characters,
        image=image,
        max_label_length=max_label_length,
    )
    _check_tensors(bare, recognizer, path)
    # What is missing now are counts, which start anew.
    recognizer.load_state_dict(recognizer.state_dict() | recognizer_state(bare))
    return recognizer.eval()


def stages_of(bare: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Any]]:
    """The configs of the four stages, all widths included, as a file's tensors tell them.

    Args:
        bare: DTRB's tensors, without the prefix ``module.``.
        path: the file, for messages.

    Raises:
        HanlineError: a tensor is missing that every model of DTRB has.
    """

    def size(name: str, dimension: int) -> int:
        if name not in bare or bare[name].dim() <= dimension:
            raise HanlineError(f"{path} is no whole model of DTRB: it has no tensor {name}")
        return bare[name].shape[dimension]

    return {
        "transformation": _transformation_of(bare, size),
        "feature_extraction": _feature_extraction_of(bare, size),
        "sequence_modeling": _sequence_modeling_of(bare, size),
        "prediction": _prediction_of(bare, size),
    }


def refuse_other_architecture(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Mapping[str, Any]],
    said: set[str],
    path: Path,
) -> None:
    """Refuse a file that is not of the architecture which the user named.

    Args:
        tensors: the file's content.
        wanted: the stages' configs.
        said: dotted keys, such as ``model.feature_extraction.out_channels``, whose values the user
            gave; the others of ``wanted`` are defaults, and the tensors overrule them.
        path: the file, for messages.

    Raises:
        HanlineError: naming the tensor that does not fit, and the architecture that does.
    """
    bare = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    found = stages_of(bare, path)
    names, wanted_names = stage_names(found), stage_names(wanted)
    for stage, name in wanted_names.items():
        if name == names[stage]:
            continue
        has = names[stage]
        reason = (
            f"there is no tensor {_TELLTALES[name]} in {path}"
            if has == "None"
            else f"{path} has the tensor {_TELLTALES[has]}, of {has}"
        )
        raise HanlineError(
            f"model.{stage} is {name}, but {reason}: model={architecture(found)} fits, as does no "
            "model= at all"
        )
    for stage, numbers in found.items():
        for key, value in numbers.items():
            if f"model.{stage}.{key}" in said and wanted[stage][key] != value:
                raise HanlineError(
                    f"model.{stage}.{key} is {wanted[stage][key]}, and the tensors in {path} are "
                    f"of {value} ({_TELLTALES[names[stage]]}: "
                    f"{list(bare[_TELLTALES[names[stage]]].shape)}): leave it out, or give {value}"
                )


def _transformation_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    if not any(name.startswith("Transformation.") for name in bare):
        return {"_target_": _target(NoTransformation)}
    points = size("Transformation.LocalizationNetwork.localization_fc2.bias", 0) // 2
    return {"_target_": _target(TPS), "num_fiducial": points}


def _feature_extraction_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    layers = "FeatureExtraction.ConvNet."
    if _is_resnet(bare):
        return {"_target_": _target(ResNet), "out_channels": size(layers + "conv4_2.weight", 0)}
    if layers + "3.wgf_u.weight" in bare:
        pattern = re.compile(re.escape(layers) + r"3\.GRCL\.(\d+)\.")
        iterations = {match[1] for name in bare if (match := pattern.match(name))}
        return {
            "_target_": _target(RCNN),
            "out_channels": size(layers + "9.weight", 0),
            "iterations": len(iterations),
        }
    return {"_target_": _target(VGG), "out_channels": size(layers + "18.weight", 0)}


def _sequence_modeling_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    if not any(name.startswith("SequenceModeling.") for name in bare):
        return {"_target_": _target(NoSequenceModeling)}
    return {
        "_target_": _target(BiLSTM),
        "hidden_size": size("SequenceModeling.0.rnn.weight_hh_l0", 1),
        "out_channels": size("SequenceModeling.0.linear.weight", 0),
        "layers": 2,
    }


def _prediction_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    if not any(name.startswith("Prediction.attention_cell.") for name in bare):
        return {"_target_": _target(CTCPrediction)}
    return {
        "_target_": _target(AttentionPrediction),
        "hidden_size": size("Prediction.generator.weight", 1),
    }


def channels_of(bare: Mapping[str, Tensor]) -> int:
    """1 for grey images, 3 for RGB, as the first convolution tells."""
    first = "conv0_1" if _is_resnet(bare) else "0"
    weight = bare.get(f"FeatureExtraction.ConvNet.{first}.weight")
    return weight.shape[1] if weight is not None and weight.dim() == 4 else 1


def image_size_of(tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Height and width of the images, in pixels, as the grid of TPS tells; None without TPS."""
    basis = tensors.get(_P_HAT, tensors.get(f"module.{_P_HAT}"))
    if basis is None or basis.dim() != 2 or basis.shape[1] < 3:
        return None
    # The second and third column are the pixels' x and y, row by row.
    width = int((basis[:, 2] == basis[0, 2]).sum())
    height = len(basis) // max(1, width)
    return (height, width) if height * width == len(basis) else None


def grid(height: int, width: int, num_fiducial: int) -> tuple[Tensor, Tensor]:
    """The two buffers of DTRB's TPS, which follow from the sizes.

    They are those of :func:`hanline.models.transformation.tps.spline`, with the columns that meet
    zeros, and by NumPy, as there: the last bit of a logarithm is not the same in torch.

    Returns:
        ``inv_delta_C`` (num_fiducial + 3, num_fiducial + 3), ``P_hat`` (height · width,
        num_fiducial + 3), float32.
    """
    x = np.linspace(-1.0, 1.0, num_fiducial // 2)
    control = np.concatenate([np.stack([x, y * np.ones_like(x)], axis=1) for y in (-1.0, 1.0)])
    distance = np.linalg.norm(control[:, None] - control[None], axis=2)
    np.fill_diagonal(distance, 1.0)
    system = np.zeros((num_fiducial + 3, num_fiducial + 3))
    system[:num_fiducial, 0] = 1.0
    system[:num_fiducial, 1:3] = control
    system[:num_fiducial, 3:] = distance**2 * np.log(distance)
    system[num_fiducial:, 3:] = system[:num_fiducial, [1, 2, 0]].T

    pixel_x = (np.arange(-width, width, 2) + 1.0) / width
    pixel_y = (np.arange(-height, height, 2) + 1.0) / height
    pixels = np.stack(np.meshgrid(pixel_x, pixel_y), axis=2).reshape(-1, 2)
    distance = np.linalg.norm(pixels[:, None] - control[None], axis=2)
    kernel = np.square(distance) * np.log(distance + 1e-6)
    basis = np.concatenate([np.ones((len(pixels), 1)), pixels, kernel], axis=1)
    return torch.from_numpy(np.linalg.inv(system)).float(), torch.from_numpy(basis).float()


def architecture(spec: Mapping[str, Any]) -> str:
    """The four stages of a spec by the names of the presets, such as ``tps_resnet_bilstm_attn``."""
    return "_".join(name.lower() for name in stage_names(spec).values())


def _is_resnet(bare: Mapping[str, object]) -> bool:
    return any(name.startswith("FeatureExtraction.ConvNet.conv0_") for name in bare) or any(
        # A part of a state is renamed too.
        re.match(r"FeatureExtraction\.ConvNet\.(layer|conv|bn)\d", name)
        for name in bare
    )


def _target(stage: type) -> str:
    return f"{stage.__module__}.{stage.__name__}"


def _renamed(name: str, beginnings: Mapping[str, str], parts: Mapping[str, str]) -> str:
    """A name of one side in the names of the other; as it stands where there is none."""
    for beginning in _beginnings_of(name):
        if beginning in beginnings:
            rest = name[len(beginning) :].split(".")
            return beginnings[beginning] + ".".join(parts.get(part, part) for part in rest)
    return name


def _beginnings_of(name: str) -> Iterator[str]:
    """Where a name can be cut at a dot, the longest first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _check_classes(bare: Mapping[str, Tensor], charset: Charset | None, path: Path) -> None:
    attention = any(name.startswith("Prediction.attention_cell.") for name in bare)
    name = "Prediction.generator.weight" if attention else "Prediction.weight"
    if name not in bare:
        raise HanlineError(f"{path} is no whole model of DTRB: it has no tensor {name}")
    special = 2 if attention else 1
    length = len(bare[name]) - special
    if charset is not None and len(charset) == length:
        return
    fitting = _named_charsets(length)
    known = f"charset={' or charset='.join(fitting)} has as many" if fitting else ""
    own = f"{known or 'none of those that come with Hanline'}; or charset=file charset.path=…"
    given = f"the charset has {len(charset)}" if charset else "no charset is given"
    raise HanlineError(
        f"{name} in {path} has {len(bare[name])} rows: {'start and end' if attention else 'blank'} "
        f"and {length} characters; {given}. The file does not say which they are: take the charset "
        f"that it was trained with, in its order ({own})"
    )


def _named_charsets(length: int) -> list[str]:
    """The charsets that come with Hanline and have so many characters."""
    files = (resources.files("hanline.text") / "charsets").iterdir()
    names = sorted(file.name.removesuffix(".txt") for file in files if file.name.endswith(".txt"))
    return [name for name in names if len(named_charset(name)) == length]


def _check_tensors(bare: Mapping[str, Tensor], recognizer: Recognizer, path: Path) -> None:
    """Hold a file's tensors against those that the recogniser would be saved with."""
    expected = {k.removeprefix("module."): t for k, t in dtrb_state(recognizer).items()}
    stages = "-".join(stage_names(recognizer.spec).values())
    for name, tensor in expected.items():
        if name in (_P_HAT, _INV_DELTA_C) or name.endswith("num_batches_tracked"):
            continue  # A file can do without what can be computed, or only counts.
        if name not in bare:
            raise HanlineError(f"{path} looks like a {stages} of DTRB, but has no tensor {name}")
        if bare[name].shape != tensor.shape:
            raise HanlineError(
                f"{name} in {path} is {list(bare[name].shape)}; in a {stages} with its other "
                f"tensors it would be {list(tensor.shape)}"
            )
    for name in bare:
        if name not in expected:
            raise HanlineError(f"{path} looks like a {stages} of DTRB, which has no tensor {name}")
    basis = bare.get(_P_HAT)
    if basis is not None and basis.shape != expected[_P_HAT].shape:
        image = recognizer.spec["image"]
        size = image_size_of(bare)
        fits = f"; image.height={size[0]} image.width={size[1]} fits" if size else ""
        raise HanlineError(
            f"{_P_HAT} in {path} is {list(basis.shape)}, a row for each pixel, while images of "
            f"{image['height']}×{image['width']} have {image['height'] * image['width']}{fits}"
        )
