"""Memory that a step frees is kept for the next; in a process of its own, which keeps it so."""

import subprocess
import sys

import pytest

PAGES_TOUCHED_ANEW = """
import resource, sys
import torch
from hanline.system.malloc import keep_freed_memory

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults(5)
if not keep_freed_memory():
    sys.exit("no glibc")
# What is kept has to be there first.
faults(8)
print(given_back, faults(5))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's way with memory is Linux's")
def test_what_is_freed_is_not_fetched_again():
    done = subprocess.run(
        [sys.executable, "-c", PAGES_TOUCHED_ANEW], capture_output=True, encoding="utf-8"
    )
    if "no glibc" in done.stderr:
        pytest.skip("another C library")
    assert done.returncode == 0, done.stderr
    given_back, kept = map(int, done.stdout.split())
    # One block may lie elsewhere, where something small has taken a piece of what was kept.
    assert kept < given_back / 2
