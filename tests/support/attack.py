"""Hostile inputs, tried in a process that may die, and the table of what held."""

import multiprocessing
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from hanline.errors import HanlineError

SEED = int(os.environ.get("HANLINE_ATTACK_SEED", "1"))
SECONDS = 30  # of computing, for one input; each takes milliseconds
PATIENCE = 10  # times as long for one that waits, on a busy machine
MEMORY = 4 << 30  # what an input may take, in bytes; far less than some claim
REFUSED = "refused"
_TABLE: Counter[tuple[str, str]] = Counter()
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
_REACHES = ("socket.connect", "socket.bind", "webbrowser.open")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Tally:
    """Counts the inputs of an area, and those that did not hold.

    Args:
        area: what the table calls it.
    """

    def __init__(self, area: str) -> None:
        self.area = area
        self.tried = 0
        self.broken: list[str] = []

    @contextmanager
    def one(self, what: object) -> Iterator[None]:
        """Try an input; whatever is raised is written down, and the next one is tried."""
        self.tried += 1
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            self.broken.append(f"{what}: {_described(error)}")

    @contextmanager
    def all(self, what: object, count: int) -> Iterator[None]:
        """Try several inputs at once; none has held if something is raised."""
        self.tried += count
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            self.broken += [f"{what}: {_described(error)}"] * count

    def in_child(
        self,
        act: Callable[[Any], Any],
        inputs: Sequence[tuple[object, Any]],
        judge: Callable[[object, Any], None] = lambda what, outcome: None,
        writable: Path | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """Try inputs in a forked process; one that dies or hangs costs no other.

        An input holds if ``act`` returns or raises a HanlineError, starts no process, connects to
        nothing and opens nothing for writing outside ``writable``.

        Args:
            act: is given an input; what it returns must pickle.
            inputs: each with a name.
            judge: is given the name and what ``act`` returned, or ``REFUSED``; it may raise.
            writable: a folder.
            seconds: for one input.
        """
        outcomes = _outcomes(act, [content for _, content in inputs], writable, seconds)
        for (what, _), (outcome, defect) in zip(inputs, outcomes, strict=True):
            with self.one(what):
                assert not defect, defect
                judge(what, outcome)


def _described(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip()
    return f"{type(error).__name__}: {text[-1500:]} ({Path(place.filename).name}:{place.lineno})"


def _outcomes(
    act: Callable[[Any], Any], inputs: Sequence[Any], writable: Path | None, seconds: float
) -> Iterator[tuple[Any, str]]:
    """Yield what came of each input, and how it did not hold."""
    context = multiprocessing.get_context("fork")
    done = 0
    while done < len(inputs):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_act, args=(act, inputs[done:], theirs, writable))
        child.start()
        theirs.close()
        try:
            while done < len(inputs):
                if not _answers(ours, child.pid, seconds):
                    yield None, f"it took more than {seconds} s"
                    done += 1
                    break
                answer = ours.recv()
                done += 1
                yield answer
        except EOFError:
            child.join(10)
            code = child.exitcode or 0
            yield None, f"the process died of {Signals(-code).name if code < 0 else code}"
            done += 1
        finally:
            child.kill()
            child.join()
            ours.close()


def _answers(ours: Connection, child: int, seconds: float) -> bool:
    began, deadline = _computed(child), time.monotonic() + PATIENCE * seconds
    while time.monotonic() < deadline and _computed(child) - began < seconds:
        if ours.poll(0.5):
            return True
    return ours.poll()


def _computed(child: int) -> float:
    """Return the seconds of processor time that a child has taken."""
    fields = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _act(
    act: Callable[[Any], Any], inputs: Sequence[Any], answer: Connection, writable: Path | None
) -> None:
    seen: list[str] = []
    _limit_memory()
    _watch(seen, writable)
    for content in inputs:
        seen.clear()
        outcome, defect = None, ""
        try:
            outcome = act(content)
        except HanlineError as error:
            outcome = REFUSED
            if not str(error) or "\n" in str(error).strip():
                defect = f"its message is no line: {error!r}"
        except BaseException as error:
            defect = _described(error)
        answer.send((outcome, defect or "; ".join(seen)))
    os._exit(0)


def _limit_memory() -> None:
    import resource  # Windows has none, nor forks

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _watch(seen: list[str], writable: Path | None) -> None:
    """Write down what hostile data must not have done; a hook cannot be removed again."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # With ldconfig, ctypes looks for a library.
        if (event in _STARTS or event in _REACHES) and "ldconfig" not in repr(arguments):
            seen.append(f"it did {event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str) and arguments[2] & _WRITES:
            path = Path(arguments[0]).absolute()
            if "__pycache__" in path.parts or path.is_relative_to("/dev"):
                return
            if writable is None or not path.is_relative_to(writable.absolute()):
                seen.append(f"it wrote {path}")

    sys.addaudithook(hook)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Any]]:
    """Makes the :class:`Tally` of an area; all of it must have held at the end of its block."""

    @contextmanager
    def of(area: str) -> Iterator[Tally]:
        made = Tally(area)
        try:
            yield made
        finally:
            held = made.tried - len(made.broken)
            request.node.user_properties.append(("attack", (area, made.tried, held)))
        shown = "\n".join(made.broken[:20])
        assert not made.broken, f"{len(made.broken)} of {made.tried} did not hold:\n{shown}"

    return of


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what a test has tried; with several processes, this one hears of all tests."""
    if report.when == "call":
        for name, value in report.user_properties:
            if name == "attack":
                area, tried, held = value
                _TABLE[area, "tried"] += tried
                _TABLE[area, "held"] += held


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table: area, tried, held."""
    areas = list(dict.fromkeys(area for area, _ in _TABLE))
    if not areas:
        return
    rows = [(area, _TABLE[area, "tried"], _TABLE[area, "held"]) for area in areas]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    terminalreporter.section(f"attack, HANLINE_ATTACK_SEED={SEED}")
    terminalreporter.write_line(f"{'area':{width}}  {'tried':>7}  {'held':>7}")
    for area, tried, held in rows:
        terminalreporter.write_line(f"{area:{width}}  {tried:7,}  {held:7,}")


def chance(name: str) -> random.Random:
    """Return the random numbers of an area, by the seed of the whole attack."""
    return random.Random(f"{SEED} {name}")


def mutated(content: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return a file's content, changed in one of the ways in which files are damaged or forged.

    Args:
        content: at least one byte.
        rng: chooses.
        others: files that parts are taken from.
    """
    changed = bytearray(content)
    kind = rng.choice(["bits", "bytes", "cut", "hole", "more", "numbers", "head", "join", "zeros"])
    at = rng.randrange(len(changed))
    if kind == "bits":
        for _ in range(rng.choice([1, 1, 8, 64])):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for _ in range(rng.choice([1, 4, 32])):
            changed[rng.randrange(len(changed))] = rng.choice([0, 255, 127, rng.randrange(256)])
    elif kind == "cut":
        del changed[at:]
    elif kind == "hole":
        del changed[at : at + rng.choice([1, 7, 64, 1000])]
    elif kind == "more":
        start = rng.randrange(len(changed))
        changed[at:at] = changed[start : start + rng.choice([1, 16, 400])] * rng.choice([1, 9])
    elif kind == "numbers":
        # Sizes, counts and offsets are of 2, 4 or 8 bytes.
        size = rng.choice([2, 4, 8])
        number = rng.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
        order = rng.choice(["little", "big"])
        changed[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, order)
    elif kind == "head":
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(min(len(changed), 64))] = rng.randrange(256)
    elif kind == "zeros":
        changed[at : at + 512] = bytes(min(512, len(changed) - at))
    else:
        other = rng.choice(others) if others else content
        changed[at:] = other[rng.randrange(len(other)) :]
    return bytes(changed)
