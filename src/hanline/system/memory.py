"""Errors of a machine whose memory is full."""

import errno
import re

# The words of torch's allocator for the CPU, of C++ and of Python's threads.
_FULL = re.compile(r"can't allocate memory|std::bad_alloc|can't start new thread")


def is_memory_full(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, says that no memory is left."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and _FULL.search(str(error)):
            return True
        error = error.__cause__
    return False
