"""In which numbers this machine multiplies fastest."""

from typing import Literal

import torch

Precision = Literal["32-true", "bf16-mixed"]
ReadingPrecision = Literal["auto", "32-true", "bf16-mixed", "int8"]


def best_precision(accelerator: str) -> tuple[Precision, str]:
    """bfloat16 where the hardware multiplies in it; elsewhere it would be slower than float32.

    Args:
        accelerator: ``auto``, or a name that torch or Lightning has for it.

    Returns:
        The precision, and why.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        chosen = torch.cuda.is_bf16_supported(including_emulation=False)
        where = torch.cuda.get_device_name()
    elif accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        chosen = _cpu_multiplies_bf16()
        where = "this processor"
    else:
        chosen, where = False, "this accelerator"
    if chosen:
        return "bf16-mixed", f"{where} has bfloat16 products"
    return "32-true", f"{where} has no fast bfloat16 products"


def _cpu_multiplies_bf16() -> bool:
    # torch tells of these two only below an underscore, and not in every version.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
