"""The options of DTRB's scripts, with DTRB's names and defaults."""

import argparse
from typing import NoReturn

from hanline.errors import HanlineError

CHARACTERS_36 = "0123456789abcdefghijklmnopqrstuvwxyz"
# The sets of test.py --benchmark_all_eval, below --eval_data.
BENCHMARKS = [
    "IIIT5k_3000", "SVT", "IC03_860", "IC03_867", "IC13_857", "IC13_1015", "IC15_1811",
    "IC15_2077", "SVTP", "CUTE80",
]  # fmt: skip


def train_parser(script: str) -> argparse.ArgumentParser:
    """Return the parser of ``train.py``."""
    parser = _architecture_parser(script)
    for name in ("exp_name", "train_data", "valid_data"):
        parser.add_argument(f"--{name}", required=name != "exp_name")
    for name, default in (
        ("manualSeed", 1111),
        ("num_iter", 300000),
        ("valInterval", 2000),
        ("lr", 1.0),
        ("beta1", 0.9),
        ("rho", 0.95),
        ("eps", 1e-8),
        ("grad_clip", 5.0),
    ):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--saved_model", default="")
    for name in ("FT", "adam", "baiduCTC", "data_filtering_off"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--select_data", default="MJ-ST")
    parser.add_argument("--batch_ratio", default="0.5-0.5")
    parser.add_argument("--total_data_usage_ratio", default="1.0")
    return parser


def test_parser(script: str) -> argparse.ArgumentParser:
    """Return the parser of ``test.py``."""
    parser = _architecture_parser(script)
    for name in ("eval_data", "saved_model"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("benchmark_all_eval", "data_filtering_off", "baiduCTC"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def demo_parser(script: str) -> argparse.ArgumentParser:
    """Return the parser of ``demo.py``."""
    parser = _architecture_parser(script)
    for name in ("image_folder", "saved_model"):
        parser.add_argument(f"--{name}", required=True)
    return parser


def pack_parser(script: str) -> argparse.ArgumentParser:
    """Return the parser of ``create_lmdb_dataset.py``."""
    parser = _Parser(prog=script)
    # DTRB takes them by name or by place.
    for name in ("inputPath", "gtFile", "outputPath"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--checkValid", default="True")
    parser.add_argument("places", nargs="*")
    return parser


def _architecture_parser(script: str) -> argparse.ArgumentParser:
    """Build the parser of the options that training, testing and the demo share."""
    parser = _Parser(prog=script)
    for name, choices in (
        ("Transformation", ("None", "TPS")),
        ("FeatureExtraction", ("VGG", "RCNN", "ResNet")),
        ("SequenceModeling", ("None", "BiLSTM")),
        ("Prediction", ("CTC", "Attn")),
    ):
        parser.add_argument(f"--{name}", required=True, choices=choices)
    for name, default in (
        ("workers", 4),
        ("batch_size", 192),
        ("batch_max_length", 25),
        ("imgH", 32),
        ("imgW", 100),
        ("num_fiducial", 20),
        ("input_channel", 1),
        ("output_channel", 512),
        ("hidden_size", 256),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("rgb", "sensitive", "PAD"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--character", default=CHARACTERS_36)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HanlineError(f"DTRB's {self.prog} would not take this: {message}")
