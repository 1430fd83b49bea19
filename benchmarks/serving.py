"""Reads through `hanline review`'s server, and with `Reader` alone, in one run.

    python benchmarks/serving.py [--images N] [--clients N] [--checkpoint FILE]

Each client sends its images by POST /read, a few at a time, and compares every answer with what the
reader alone has read. Both sides take turns on the same images. The goal is 85 % of the reader's
rate. The server's memory is that after a quarter of the images, and at the end.
"""

import argparse
import io
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from measuring import describe_machine
from PIL import Image, ImageDraw

from hanline import Reader
from hanline.synthesis.fonts import Font, bundled_files
from hanline.text.corpus import read_headlines

GOAL = 0.85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--at-a-time", type=int, default=8, help="images of a request")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--checkpoint", default="shipped")
    given = parser.parse_args()
    images = list(drawn(given.images))
    reader = Reader(given.checkpoint, device="cpu")
    alone: list[float] = []
    served: list[float] = []
    memory: list[int] = []
    expected: list[str] = []
    results: Counter[str] = Counter()
    with server(given.checkpoint) as (base, token, pid):
        for _ in range(given.rounds):
            begun = time.perf_counter()
            expected = [reading.text for reading in reader.read(images)]
            alone.append(len(images) / (time.perf_counter() - begun))
            begun = time.perf_counter()
            results += load(
                base, token, images, expected, given.clients, given.at_a_time, pid, memory
            )
            served.append(len(images) / (time.perf_counter() - begun))
    print(describe_machine())
    ratio = statistics.median(served) / statistics.median(alone)
    print(f"alone {statistics.median(alone):.1f} images/s, served {statistics.median(served):.1f}")
    print(f"ratio {ratio:.2f} (goal {GOAL}); answers: {dict(results)}")
    print("server's memory, MiB:", ", ".join(f"{size / 2**20:.0f}" for size in memory))


def drawn(count: int) -> Iterator[bytes]:
    """Draw words of the corpus that comes with Hanline, each with its number."""
    words = sorted({word for line in read_headlines(["embedded"]) for word in line.split()})
    font = next(Font(p) for p in bundled_files() if p.name.startswith("NotoSans")).load(24)
    for number in range(count):
        text = f"{words[number % len(words)]} {number}"
        image = Image.new("L", (round(font.getlength(text)) + 8, 32), 255)
        ImageDraw.Draw(image).text((4, -2), text, 0, font)
        content = io.BytesIO()
        image.save(content, "PNG")
        yield content.getvalue()


@contextmanager
def server(checkpoint: str) -> Iterator[tuple[str, str, int]]:
    """Run the server; yield its address, its token and its process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "hanline.cli.main", "review", "port=0", "device=cpu"),
            *(f"checkpoint={checkpoint}", f"output={Path(folder) / 'review'}"),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
        try:
            assert process.stdout
            for line in process.stdout:
                if found := re.search(r"open (http://\S+)/\?token=(\S+)", line):
                    yield found[1], found[2], process.pid
                    break
        finally:
            process.terminate()
            process.wait()


def load(
    base: str,
    token: str,
    images: Sequence[bytes],
    expected: Sequence[str],
    clients: int,
    at_a_time: int,
    pid: int,
    memory: list[int],
) -> Counter[str]:
    """Send all images; count what came back."""
    results: Counter[str] = Counter()
    lock = threading.Lock()
    starts = iter(range(0, len(images), at_a_time))

    def next_start() -> int | None:
        with lock:
            start = next(starts, None)
            if start is not None and start // at_a_time == len(images) // at_a_time // 4:
                memory.append(resident(pid))
            return start

    def work() -> None:
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
            while (start := next_start()) is not None:
                some = images[start : start + at_a_time]
                files = [("images", (str(start + i), image)) for i, image in enumerate(some)]
                answer = client.post("/read", files=files, timeout=600)
                while answer.status_code == 503:
                    time.sleep(float(answer.headers["Retry-After"]))
                    answer = client.post("/read", files=files, timeout=600)
                texts = [row["text"] for row in answer.json()]
                wanted = expected[start : start + at_a_time]
                with lock:
                    results["right"] += sum(map(str.__eq__, texts, wanted))
                    results["lost"] += len(wanted) - len(texts)
                    results["other"] += sum(map(str.__ne__, texts, wanted))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.append(resident(pid))
    return results


def resident(pid: int) -> int:
    """Return the bytes of memory of a process; 0 where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text(encoding="utf-8"))
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
