"""A review's server in a process of its own, and a client that knows its token."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

SECONDS = 120


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen
    address: str
    base: str
    token: str
    output: Path

    def client(self, **options):
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return httpx.Client(base_url=self.base, headers=headers, timeout=SECONDS, **options)

    def kill(self):
        self.process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self.process.wait(SECONDS)


@pytest.fixture
def serve(tmp_path, checkpoint):
    """Starts `hanline review KEY=VALUE …`."""
    started = []

    def start(*arguments, output="review", reader=checkpoint):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hanline.cli.main", "review", "device=cpu"),
                *(f"checkpoint={reader}", f"output={output}", *arguments),
                *(() if any(a.startswith("port=") for a in arguments) else ("port=0",)),
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        started.append(process)
        lines = queue.Queue()
        threading.Thread(target=forward, args=(process.stdout, lines), daemon=True).start()
        said = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                line = lines.get(timeout=1)
            except queue.Empty:
                if process.poll() is not None:
                    break
                continue
            said.append(line)
            if found := re.search(r"open ((http://\S+)/\?token=(\S+))", line):
                return Server(process, found[1], found[2], found[3], tmp_path / output)
        process.kill()
        raise AssertionError("".join(said))

    yield start
    for process in started:
        process.kill()
        process.wait(SECONDS)


def forward(stream, lines):
    for line in stream:
        lines.put(line)


@pytest.fixture
def until():
    """Waits until something is so, and returns it."""

    def wait(look):
        end = time.monotonic() + SECONDS
        while not (found := look()):
            assert time.monotonic() < end
            time.sleep(0.05)
        return found

    return wait
