"""In which numbers this machine multiplies fastest, and in which it can."""

import platform
from functools import cache
from typing import Literal

import torch

from hanline.errors import HanlineError

Precision = Literal["32-true", "bf16-mixed"]
ReadingPrecision = Literal["auto", "32-true", "bf16-mixed", "int8"]

X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686", "x86")
_CUDA = ("auto", "gpu", "cuda")


def best_precision(accelerator: str) -> tuple[Precision, str]:
    """bfloat16 where the hardware multiplies in it; elsewhere it would be slower than float32.

    Args:
        accelerator: ``auto``, or a name that torch or Lightning has for it.

    Returns:
        The precision, and why.
    """
    if accelerator in _CUDA and torch.cuda.is_available():
        chosen = torch.cuda.is_bf16_supported(including_emulation=False)
        where = torch.cuda.get_device_name()
    elif _is_cpu(accelerator):
        chosen, where = _cpu_multiplies_bf16(), "this processor"
    else:
        chosen, where = False, "this accelerator"
    if chosen:
        return "bf16-mixed", f"{where} has bfloat16 products"
    return "32-true", f"{where} has no fast bfloat16 products"


def check_precision(key: str, precision: str, accelerator: str) -> str | None:
    """Check a precision that was asked for against the hardware, before anything starts.

    Args:
        key: the config key that asks for it.
        precision: one of Lightning's.
        accelerator: ``auto``, or a name that torch or Lightning has for it.

    Returns:
        A warning if the hardware can only be slow in it; else None.

    Raises:
        HanlineError: the hardware does not have it.
    """
    if precision == "16-mixed" and _is_cpu(accelerator):
        raise HanlineError(
            f"{key}=16-mixed: expected a GPU, and this runs on a processor. Set {key}=auto."
        )
    if precision != "bf16-mixed" or best_precision(accelerator)[0] == "bf16-mixed":
        return None
    if accelerator in _CUDA and torch.cuda.is_available():
        raise HanlineError(
            f"{key}=bf16-mixed: expected a GPU with bfloat16 products, and "
            f"{torch.cuda.get_device_name()} has none. Set {key}=auto."
        )
    if _is_cpu(accelerator):
        return (
            f"{key}=bf16-mixed is slow here: this processor has no fast bfloat16 products. "
            f"Set {key}=auto to read and train faster."
        )
    return None


def lstms_need_float32(device_type: str) -> bool:
    """Return whether autocast asks for LSTMs in numbers that this processor has none for."""
    if device_type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    return not _has_lstm(torch.get_autocast_dtype("cpu"))


def _is_cpu(accelerator: str) -> bool:
    if accelerator == "auto":
        return not torch.cuda.is_available() and not torch.backends.mps.is_available()
    return accelerator == "cpu"


def _cpu_multiplies_bf16() -> bool:
    # torch says these only below an underscore, and not in every version.
    if not X86:
        # On ARM it is the processor's own answer, and False where torch lacks oneDNN (macOS).
        test = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
        return torch.backends.mkldnn.is_available() and bool(test())
    # ATEN_CPU_CAPABILITY lowers what torch uses, whatever the processor has.
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)


@cache
def _has_lstm(dtype: torch.dtype) -> bool:
    """Try a small LSTM, forward and backward: oneDNN has it in 16 bits on some processors only.

    No flag of the processor says so: ``ONEDNN_MAX_CPU_ISA`` limits oneDNN further.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", dtype):
        # Zeros, so that no random number is drawn: the run's own would be others on other machines.
        weights = [torch.zeros(32, 8, requires_grad=True) for _ in range(2)]
        weights += [torch.zeros(32, requires_grad=True) for _ in range(2)]
        start = torch.zeros(1, 2, 8)
        try:
            states = torch.lstm(
                torch.zeros(2, 3, 8), (start, start), weights, True, 1, 0.0, True, False, True
            )
            states[0].sum().backward()
        except RuntimeError:
            return False
    return True
