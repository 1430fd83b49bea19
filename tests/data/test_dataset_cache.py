"""What is kept of a walk through a set: never for another set, never damaged, by many at once."""

import json
import logging
import os
import shutil
import subprocess
import sys

import lmdb
import numpy as np
import pytest

from hanline.data.dataset import LMDBDataset
from hanline.data.dataset_cache import cached_array
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.lmdb_store import LMDBStore
from hanline.errors import HanlineError
from hanline.text.charset import Charset

FORMAT = ImageFormat(height=8, width=None, channels=1, keep_ratio=True)
LABELS = ["가", "나나", "", "다라", "☃"]


class Walk:
    """Lengths of a set's labels, and how often they were looked at."""

    def __init__(self, path):
        self.store = LMDBStore(path)
        self.times = 0

    def __call__(self):
        self.times += 1
        return np.array([len(label) for label in self.store.labels()])

    def lengths(self, what="lengths", **facts):
        return cached_array(self.store, what, facts, np.int64, self).tolist()


# Asks for the lengths so many times, and removes the index each time but the last.
PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from hanline.data.lmdb_store import LMDBStore
from hanline.data.dataset_cache import cached_array

store, times, found = LMDBStore(sys.argv[1]), int(sys.argv[2]), []
for _ in range(times):
    for file in store.path.glob("*.index") if found else ():
        file.unlink(missing_ok=True)
    walk = lambda: np.array([len(label) for label in store.labels()])
    found.append(cached_array(store, "lengths", {}, np.int64, walk).tolist())
print(json.dumps(found))
"""


def elsewhere(path, times=1):
    """Another process that asks for the lengths of a set, as ``Walk`` does."""
    command = [sys.executable, "-c", PROGRAM, str(path), str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def lengths_elsewhere(path):
    """What another process says: no process can open a set that was replaced by another."""
    (lengths,) = json.loads(elsewhere(path).communicate(timeout=300)[0])
    return lengths


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    """The user's cache folder, where a test may look."""
    folder = tmp_path / "cache"
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture
def walk(make_set):
    return Walk(make_set("set", LABELS))


def index_of(path):
    """The one index of a set."""
    (file,) = path.glob("*.index")
    return file


def test_a_set_is_walked_through_once(walk):
    assert walk.lengths() == walk.lengths() == [1, 2, 0, 2, 1]
    assert walk.times == 1
    again = Walk(walk.store.path)
    assert again.lengths() == [1, 2, 0, 2, 1]
    assert again.times == 0
    assert sorted(p.suffix for p in walk.store.path.iterdir()) == [
        ".index",
        ".json",
        ".mdb",
        ".mdb",
    ]


def test_other_facts_have_an_index_of_their_own(walk):
    for _ in range(2):
        for what, most in (("lengths", 3), ("lengths", 4), ("widths", 3)):
            walk.lengths(what, most=most)
    assert walk.times == 3


def test_an_empty_array(make_set, dtrb_set):
    walk = Walk(dtrb_set("set", []))
    assert walk.lengths() == walk.lengths() == []
    assert walk.times == 1


class TestStale:
    def test_a_set_that_was_written_to(self, dtrb_set):
        path = dtrb_set("set", [(b"", "가"), (b"", "나")])
        assert lengths_elsewhere(path) == [1, 1]
        times = (path / "data.mdb").stat()
        environment = lmdb.open(str(path), map_size=2**26)
        with environment.begin(write=True) as transaction:
            transaction.put(b"label-000000002", "나나".encode())
        environment.close()
        os.utime(path / "data.mdb", ns=(times.st_atime_ns, times.st_mtime_ns))
        assert lengths_elsewhere(path) == [1, 2]

    def test_a_set_that_was_made_anew(self, make_set):
        path = make_set("set", ["가", "나나"])
        assert lengths_elsewhere(path) == [1, 2]
        before = (path / "data.mdb").stat()
        # As large, as old, of as many transactions; and the index stays where it is.
        other = make_set("other", ["가가", "나"]) / "data.mdb"
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert other.stat().st_size == before.st_size
        other.replace(path / "data.mdb")
        assert len(list(path.glob("*.index"))) == 1
        assert lengths_elsewhere(path) == lengths_elsewhere(path) == [2, 1]

    def test_an_index_that_was_copied_to_another_set(self, walk, make_set):
        walk.lengths()
        other = make_set("other", ["가가가"] * 5)
        shutil.copy(index_of(walk.store.path), other)
        assert Walk(other).lengths() == [3] * 5


class TestDamaged:
    @pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, 40, 71])
    def test_cut_off(self, walk, kept):
        walk.lengths()
        index = index_of(walk.store.path)
        whole = index.read_bytes()
        assert len(whole) == 32 + 5 * 8
        index.write_bytes(whole[:kept])
        assert walk.lengths() == [1, 2, 0, 2, 1]
        assert walk.times == 2
        assert index.read_bytes() == whole

    @pytest.mark.parametrize("place", [0, 31, 32, 50, 71])
    def test_a_byte_is_another(self, walk, place):
        walk.lengths()
        index = index_of(walk.store.path)
        content = bytearray(index.read_bytes())
        content[place] ^= 1
        index.write_bytes(content)
        assert walk.lengths() == [1, 2, 0, 2, 1]
        assert walk.times == 2

    def test_longer(self, walk):
        walk.lengths()
        index = index_of(walk.store.path)
        index.write_bytes(index.read_bytes() + bytes(8))
        assert walk.lengths() == [1, 2, 0, 2, 1]


class TestPlaces:
    @pytest.fixture
    def count_unalignable(self, walk):
        """A set in whose folder the index can be neither written nor read."""
        walk.lengths()
        index = index_of(walk.store.path)
        index.unlink()
        index.mkdir()
        walk.times = 0
        return walk

    def test_a_set_that_cannot_be_written_to(self, count_unalignable, user_cache):
        assert count_unalignable.lengths() == count_unalignable.lengths() == [1, 2, 0, 2, 1]
        assert count_unalignable.times == 1
        assert [file.name for file in user_cache.rglob("*.index")] == [
            index_of(count_unalignable.store.path).name
        ]

    def test_sets_do_not_share_a_place(self, count_unalignable, make_set):
        count_unalignable.lengths()
        other = Walk(make_set("other", ["가가"]))
        (other.store.path / index_of(count_unalignable.store.path).name).mkdir()
        assert other.lengths() == other.lengths() == [2]
        assert count_unalignable.lengths() == [1, 2, 0, 2, 1]
        assert (other.times, count_unalignable.times) == (1, 1)

    def test_no_place_at_all(self, count_unalignable, user_cache, caplog):
        user_cache.write_text("no folder")
        with caplog.at_level(logging.INFO):
            assert count_unalignable.lengths() == count_unalignable.lengths() == [1, 2, 0, 2, 1]
        assert count_unalignable.times == 2
        assert str(count_unalignable.store.path) in caplog.text
        assert "at every start" in caplog.text


def test_many_make_it_at_once(walk):
    path = walk.store.path
    processes = [elsewhere(path, times=100) for _ in range(3)]
    found = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    assert found == [[[1, 2, 0, 2, 1]] * 100] * 3
    assert not list(path.glob("*.partial"))
    assert walk.lengths() == [1, 2, 0, 2, 1]
    assert walk.times == 0


class TestDataset:
    def test_all_it_tells_is_told_again(self, make_set, grey):
        labels = ["ab", "", "aBa", "too long", "☃", "aab"]
        path = make_set("set", labels, {5: b"no image"})
        rules = LabelRules(Charset("ab"), max_length=3, lowercase=True, invalid="skip")

        def opened(rules=rules, **options):
            data = LMDBDataset([path], FORMAT, rules, **options)
            return len(data), data.invalid, data.label_lengths(), data.aspects().tolist()

        first = opened()
        assert first == (
            3,
            {"empty label": 1, "longer than 3": 1, "outside the charset": 1},
            {(2, 0): 1, (3, 0): 1, (3, 1): 1},
            [2.0, 2.0, 2.0],
        )
        assert opened() == first
        half = opened(usage_ratio=0.5)
        assert half[:2] == (2, {"empty label": 1})
        assert opened(usage_ratio=0.5) == half
        strict = LabelRules(Charset("ab"), max_length=3, lowercase=False, invalid="skip")
        assert opened(rules=strict)[0] == 2
        assert opened(rules=strict)[1]["outside the charset"] == 2
        assert opened() == first

    def test_an_unfit_label_is_named_again(self, make_set):
        path = make_set("set", ["ab", "☃", "ab"])
        for unfit in ("skip", "error", "error"):
            rules = LabelRules(Charset("ab"), max_length=3, lowercase=True, invalid=unfit)
            if unfit == "skip":
                assert len(LMDBDataset([path], FORMAT, rules)) == 2
                continue
            with pytest.raises(HanlineError, match=r"label 2 of .*: '☃' is outside the charset"):
                LMDBDataset([path], FORMAT, rules)
