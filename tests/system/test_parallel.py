"""Work in processes of its own: results in order, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from itertools import count, islice
from pathlib import Path

import pytest

from hanline.system.parallel import ordered_map

# Two workers that each leave a file of their number. When their parent is killed one of them waits
# for a task, and the other is in the midst of one.
PROGRAM = """
import os, sys, time
from pathlib import Path
from hanline.system.parallel import ordered_map

def work(number):
    Path(f"{os.getpid()}.worker").touch()
    time.sleep(0.5 if number % 2 else 1000)

def tasks():
    yield from range(2)
    while True:
        time.sleep(1)

if __name__ == "__main__":
    list(ordered_map(work, tasks(), 2, sys.argv[1]))
"""

# Two data workers, whose batches are larger than a pipe holds and which nobody takes any more.
DATA_PROGRAM = """
import os, sys, time
from pathlib import Path
import torch
from torch.utils.data import Dataset
from hanline.data.workers import ignore_sigterm_in_worker
from hanline.data.base import Batch
from hanline.data.transfer import BatchLoader

class Large(Dataset):
    def __getitems__(self, indices):
        Path(f"{os.getpid()}.worker").touch()
        return Batch(torch.zeros(1, 1, 700, 1000, dtype=torch.uint8), ["가"])

if __name__ == "__main__":
    loader = BatchLoader(
        Large(),
        batch_sampler=[[i] for i in range(100)],
        num_workers=2,
        worker_init_fn=ignore_sigterm_in_worker,
        multiprocessing_context=sys.argv[1],
    )
    batches = iter(loader)
    next(batches)
    time.sleep(1000)
"""


def negated(number):
    time.sleep(0.01 * (number % 3))
    return -number


HOW = [(1, "spawn"), (2, "spawn"), (2, "fork")]
if sys.platform != "linux":
    HOW.pop()


@pytest.mark.parametrize(("processes", "start"), HOW)
def test_results_come_in_order_of_endless_tasks(processes, start):
    results = ordered_map(negated, count(), processes, start)
    assert list(islice(results, 20)) == [-number for number in range(20)]
    results.close()


def failing(number):
    raise KeyError(number)


@pytest.mark.parametrize(("processes", "start"), HOW)
def test_a_workers_error_is_raised_here(processes, start):
    with pytest.raises(KeyError, match="7"):
        list(ordered_map(failing, [7], processes, start))


def dying(number):
    if number == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("processes", "start"), HOW[1:])
def test_a_worker_that_is_killed_ends_the_work(processes, start):
    with pytest.raises(BrokenProcessPool):
        list(ordered_map(dying, count(), processes, start))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("program", "arguments"),
    [(program, [start]) for program in (PROGRAM, DATA_PROGRAM) for start in ("fork", "spawn")],
)
def test_workers_end_with_a_killed_parent(program, arguments, tmp_path):
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, "program.py", *arguments], cwd=tmp_path)
    try:
        workers = wait_for(lambda: len(found := {*tmp_path.glob("*.worker")}) == 2 and found)
        time.sleep(1)
        assert parent.poll() is None
        assert all(map(runs, workers))
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(map(runs, workers)))


def runs(worker: Path) -> bool:
    """Whether a process is there and has not ended: init may be slow to collect it."""
    try:
        status = (Path("/proc") / worker.stem / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_for(condition):
    """What a condition gives once it holds."""
    for _ in range(200):
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError("it never came to hold")
