"""Reading a file of DTRB: the architecture from the tensors, the rest from the user."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hanline.data.images import ImageFormat
from hanline.errors import HanlineError
from hanline.formats.dtrb.keys import (
    INV_DELTA_C,
    P_HAT,
    TELLTALES,
    architecture,
    dtrb_state,
    is_resnet,
    recognizer_state,
    stage_names,
    target_of,
)
from hanline.models.recognizer import Recognizer
from hanline.text.charset import Charset, charset_names, named_charset

# A tensor's name and one of its dimensions → how large it is there.
Size = Callable[[str, int], int]


def recognizer_from_dtrb(
    tensors: Mapping[str, Tensor],
    charset: Charset | None,
    image: Mapping[str, Any],
    max_label_length: int,
    path: Path,
) -> Recognizer:
    """Build the recognizer that a DTRB file has the weights of.

    Args:
        tensors: the file's content.
        charset: the characters, in the order of their classes; None is answered with those that
            could be it.
        image: as :class:`hanline.models.recognizer.Recognizer` takes it, but for ``channels``,
            which the weights show.
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
    # Only counts are missing now, which start again at 0.
    recognizer.load_state_dict(recognizer.state_dict() | recognizer_state(bare))
    return recognizer.eval()


def stages_of(bare: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Any]]:
    """Return the configs of the four stages, with all widths, from a file's tensors.

    Args:
        bare: DTRB's tensors, without the prefix ``module.``.
        path: the file, for messages.

    Raises:
        HanlineError: a tensor is missing that every model of DTRB has.
    """

    def size(name: str, dimension: int) -> int:
        if name not in bare or bare[name].dim() <= dimension:
            raise HanlineError(f"{path} is not a whole model of DTRB: it has no tensor {name}")
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
    said: frozenset[str],
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
            f"there is no tensor {TELLTALES[name]} in {path}"
            if has == "None"
            else f"{path} has the tensor {TELLTALES[has]}, of {has}"
        )
        raise HanlineError(
            f"model.{stage} is {name}, but {reason}: use model={architecture(found)}, or "
            "omit model="
        )
    for stage, numbers in found.items():
        for key, value in numbers.items():
            if f"model.{stage}.{key}" in said and wanted[stage][key] != value:
                raise HanlineError(
                    f"model.{stage}.{key} is {wanted[stage][key]}, and the tensors in {path} are "
                    f"of {value} ({TELLTALES[names[stage]]}: "
                    f"{list(bare[TELLTALES[names[stage]]].shape)}): leave it out, or give {value}"
                )


def _transformation_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    if not any(name.startswith("Transformation.") for name in bare):
        return {"_target_": target_of("transformation", "None")}
    points = size("Transformation.LocalizationNetwork.localization_fc2.bias", 0) // 2
    return {"_target_": target_of("transformation", "TPS"), "num_fiducial": points}


def _feature_extraction_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    layers = "FeatureExtraction.ConvNet."
    if is_resnet(bare):
        return {
            "_target_": target_of("feature_extraction", "ResNet"),
            "out_channels": size(layers + "conv4_2.weight", 0),
        }
    if layers + "3.wgf_u.weight" in bare:
        pattern = re.compile(re.escape(layers) + r"3\.GRCL\.(\d+)\.")
        iterations = {match[1] for name in bare if (match := pattern.match(name))}
        return {
            "_target_": target_of("feature_extraction", "RCNN"),
            "out_channels": size(layers + "9.weight", 0),
            "iterations": len(iterations),
        }
    return {
        "_target_": target_of("feature_extraction", "VGG"),
        "out_channels": size(layers + "18.weight", 0),
    }


def _sequence_modeling_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    if not any(name.startswith("SequenceModeling.") for name in bare):
        return {"_target_": target_of("sequence_modeling", "None")}
    return {
        "_target_": target_of("sequence_modeling", "BiLSTM"),
        "hidden_size": size("SequenceModeling.0.rnn.weight_hh_l0", 1),
        "out_channels": size("SequenceModeling.0.linear.weight", 0),
        "layers": 2,
    }


def _prediction_of(bare: Mapping[str, Tensor], size: Size) -> dict[str, Any]:
    if not any(name.startswith("Prediction.attention_cell.") for name in bare):
        return {"_target_": target_of("prediction", "CTC")}
    return {
        "_target_": target_of("prediction", "Attn"),
        "hidden_size": size("Prediction.generator.weight", 1),
    }


def channels_of(bare: Mapping[str, Tensor]) -> int:
    """Return the channels that the first convolution takes: 1 for grey images, 3 for RGB."""
    first = "conv0_1" if is_resnet(bare) else "0"
    weight = bare.get(f"FeatureExtraction.ConvNet.{first}.weight")
    return weight.shape[1] if weight is not None and weight.dim() == 4 else 1


def image_size_of(tensors: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Return height and width of the images, in pixels, from the grid of TPS; None without TPS."""
    basis = tensors.get(P_HAT, tensors.get(f"module.{P_HAT}"))
    if basis is None or basis.dim() != 2 or basis.shape[1] < 3:
        return None
    # The second and third column are the pixels' x and y, row by row.
    width = int((basis[:, 2] == basis[0, 2]).sum())
    height = len(basis) // max(1, width)
    return (height, width) if height * width == len(basis) else None


def _check_classes(bare: Mapping[str, Tensor], charset: Charset | None, path: Path) -> None:
    attention = any(name.startswith("Prediction.attention_cell.") for name in bare)
    name = "Prediction.generator.weight" if attention else "Prediction.weight"
    if name not in bare:
        raise HanlineError(f"{path} is not a whole model of DTRB: it has no tensor {name}")
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
    """Return the names of Hanline's charsets of this length."""
    return [name for name in charset_names() if len(named_charset(name)) == length]


def _check_tensors(bare: Mapping[str, Tensor], recognizer: Recognizer, path: Path) -> None:
    """Compare a file's tensors with those that the recognizer would be saved with."""
    expected = {k.removeprefix("module."): t for k, t in dtrb_state(recognizer).items()}
    stages = "-".join(stage_names(recognizer.spec).values())
    for name, tensor in expected.items():
        counts = name.endswith("num_batches_tracked")
        if name in (P_HAT, INV_DELTA_C) or (counts and name not in bare):
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
    basis = bare.get(P_HAT)
    if basis is not None and basis.shape != expected[P_HAT].shape:
        image = recognizer.spec["image"]
        size = image_size_of(bare)
        fits = f"; image.height={size[0]} image.width={size[1]} fits" if size else ""
        raise HanlineError(
            f"{P_HAT} in {path} is {list(basis.shape)}, a row for each pixel, while images of "
            f"{image['height']}×{image['width']} have {image['height'] * image['width']}{fits}"
        )
