"""Settings of the C library's malloc for training and reading on a processor."""

import ctypes
import sys

# glibc's numbers for what mallopt sets.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Older versions of glibc refuse more than 32 MiB for the second.
_NEVER, _THRESHOLDS = -1, (1 << 30, 32 << 20)


def keep_freed_memory() -> bool:
    """Have the process keep the memory that a batch frees, for the next batch.

    glibc gives large blocks back to the system as soon as they are freed. Every batch would get its
    activations again, page by page, and a page's first touch costs more than the computation on it.
    Only glibc is known to do so; with others, and on other systems, nothing changes.

    Returns:
        Whether that was done.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        any(mallopt(_MMAP_THRESHOLD, threshold) for threshold in _THRESHOLDS)
        and mallopt(_TRIM_THRESHOLD, _NEVER)
    )
