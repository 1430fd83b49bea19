"""Writing a recognizer as DTRB saves one."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanline.errors import HanlineError
from hanline.formats.dtrb.keys import stage_names

# How the file of the characters ends.
CHARACTERS = ".characters.txt"


def demo_command(path: Path, spec: Mapping[str, Any]) -> str:
    """Return the command that reads with a saved file in a checkout of DTRB."""
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


def refuse_unfit(spec: Mapping[str, Any]) -> None:
    """Refuse a model that no options of DTRB describe.

    Raises:
        HanlineError: naming the number.
    """
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
