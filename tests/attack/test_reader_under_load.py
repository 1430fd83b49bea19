"""A Reader that is used thousands of times, by threads, and after a fork."""

import resource
import sys
import threading
from pathlib import Path

import pytest

from hanline.inference.reader import Reader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and forks are Linux's")
ATTACK = pytest.mark.attack


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=ATTACK)])
def test_a_reader_reads_the_same_again_and_again_with_flat_memory(
    count, checkpoint, picture, words, tally
):
    reader = Reader(checkpoint, device="cpu")
    given = [picture(word) for word in words]
    size = []
    with tally("reads, one after another") as attempts:
        for number in range(count):
            with attempts.one(number):
                index = number % len(words)
                assert reader.read(given[index]).text == words[index]
            if number % (count // 4) == count // 4 - 1:
                size.append(int(Path("/proc/self/statm").read_text("ascii").split()[1]))
        with attempts.one("memory"):
            # The first quarter fills what is kept.
            assert (size[-1] - size[1]) * resource.getpagesize() < 30 << 20, size


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=ATTACK)])
def test_threads_and_forks_read_with_one_reader(count, checkpoint, picture, words, tally):
    reader = Reader(checkpoint, device="cpu", batch_size=4)
    given = [picture(word) for word in words]

    def read(_):
        assert [reading.text for reading in reader.read(given)] == words

    with tally("reads, in threads and forks") as attempts:
        wrong = []

        def often():
            for _ in range(count // 4):
                try:
                    read(None)
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        attempts.tried += count // 4 * 4
        attempts.broken += map(repr, wrong)
        attempts.in_child(read, [(f"fork {number}", None) for number in range(count // 4)])
