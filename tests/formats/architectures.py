"""DTRB's 24 architectures, and what DTRB itself gives for them."""

import importlib.util
import itertools
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = [
    "-".join(stages)
    for stages in itertools.product(
        ("None", "TPS"), ("VGG", "RCNN", "ResNet"), ("None", "BiLSTM"), ("CTC", "Attn")
    )
]
HANGUL = "".join(chr(0xAC00 + i) for i in range(36))


def parity_module():
    """tests/models/test_dtrb_parity.py, which knows DTRB's weights and outputs by formulas."""
    path = ROOT / "tests" / "models" / "test_dtrb_parity.py"
    spec = importlib.util.spec_from_file_location("dtrb_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
