"""Pixels that are kept beside a set: the same as decoded ones, never those of another set."""

import errno
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import lmdb
import numpy as np
import pytest
from PIL import Image

from hanline.data.dataset import LMDBDataset, used_samples
from hanline.data.images import ImageError, ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.lmdb_store import LMDBStore
from hanline.data.pixel_cache import NotCachedError, cache_pixels_of, find_cached_pixels
from hanline.data.transfer import BatchLoader
from hanline.errors import HanlineError
from hanline.text.charset import named_charset

FORMAT = ImageFormat(height=8, width=20, channels=1, keep_ratio=True)
RULES = LabelRules(named_charset("korean"), max_length=5, lowercase=False, invalid="skip")
LABELS = [f"{i}번" for i in range(60)]

# Opens a set with its ready pixels, and prints one pixel of each.
PROGRAM = """
import json, logging, sys
from hanline.data.images import ImageFormat
from hanline.data.lmdb_store import LMDBStore
from hanline.data.pixel_cache import find_cached_pixels, cache_pixels_of

logging.basicConfig(level="INFO")
store = LMDBStore(sys.argv[1])
image_format = ImageFormat(8, 20, 1, True)
cache_pixels_of([(store, len(store))], image_format, automatic=False)
ready = find_cached_pixels(store, image_format, len(store))
print(json.dumps([int(ready[i][0, 0, 0]) for i in range(len(store))]))
"""


def elsewhere(path):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def first_pixels(path):
    """What another process finds: no process can open a set that was replaced by another."""
    return json.loads(elsewhere(path).communicate(timeout=300)[0])


def opened(*paths, ready=True, **options):
    data = LMDBDataset(paths, FORMAT, RULES, **options)
    if ready:
        used = [(store, used_samples(store, data.usage_ratio)) for store in data.stores]
        cache_pixels_of(used, FORMAT, automatic=False)
        assert data.use_cached_pixels()
    return data


def made(store, image_format, count, automatic=False):
    cache_pixels_of([(store, count)], image_format, automatic)
    return find_cached_pixels(store, image_format, count)


def file_of(path):
    """The one file of a set's ready pixels."""
    (file,) = path.glob("*.pixels")
    return file


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Where pixels may be: in the first nothing can be written, the second is the user's cache."""
    (tmp_path / "file").touch()
    folders = [tmp_path / "file", tmp_path / "cache"]
    monkeypatch.setattr(
        "hanline.data.pixel_cache.cache_paths", lambda store, name: (f / name for f in folders)
    )
    return folders


@pytest.fixture
def pictures(make_set, encode):
    """A set of noise of many sizes and modes, unlike each other."""
    random = np.random.default_rng(0)

    def picture(number):
        shape = (int(random.integers(3, 30)), int(random.integers(3, 60)), 3)
        image = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
        return encode(image.convert(["L", "RGB", "RGBA", "P"][number % 4]))

    return make_set("pictures", LABELS, {i: picture(i) for i in range(len(LABELS))})


def test_batches_are_the_same(pictures):
    order = np.random.default_rng(1).permutation(len(LABELS)).tolist()
    expected = opened(pictures, ready=False).__getitems__(order)
    for _ in range(2):
        found = opened(pictures).__getitems__(order)
        assert found.labels == expected.labels
        assert np.array_equal(found.images, expected.images)
        assert found.images.stride() == expected.images.stride()


def test_pixels_are_those_of_the_file(make_set):
    path = make_set("set", LABELS)
    opened(path)
    content = bytearray(file_of(path).read_bytes())
    content[-8 * 20 :] = bytes([77]) * (8 * 20)
    file_of(path).write_bytes(content)
    assert first_pixels(path) == [*range(59), 77]


def test_what_is_ready_is_not_made_again(make_set):
    path = make_set("set", LABELS)
    opened(path)
    written = file_of(path).stat().st_mtime_ns
    assert first_pixels(path) == list(range(60))
    assert file_of(path).stat().st_mtime_ns == written


def test_several_sets_and_labels_that_are_left_out(make_set):
    one = make_set("one", ["가", "너무긴글자들", "나"])
    other = make_set("other", ["다", "라"])
    both = opened(one, other)
    assert len(both) == 4
    found = both.__getitems__([3, 0, 1, 2])
    assert sorted(zip(found.labels, found.images[:, 0, 0, 0].tolist(), strict=True)) == [
        *(("가", 0), ("나", 2), ("다", 0), ("라", 1))
    ]


def test_a_share_of_a_set(make_set):
    path = make_set("set", LABELS)
    half = opened(path, usage_ratio=0.5)
    assert half.__getitems__([29]).labels == ["29번"]
    assert file_of(path).stat().st_size == 32 + 30 * (4 + 8 * 20)


def test_damaged_images_are_counted_named_and_left_out(make_set, caplog):
    path = make_set("set", LABELS, {3: b"no image", 50: b""})
    for _ in range(2):
        data = opened(path)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = data.__getitems__([2, 3, 4, 50])
        assert found.labels == ["2번", "4번"]
        assert found.images[:, 0, 0, 0].tolist() == [2, 4]
        assert data.damaged == 2
        assert f"skipped image 4 of {path}: no image" in caplog.text
        assert f"skipped image 51 of {path}" in caplog.text


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(make_set, method):
    if method == "fork" and sys.platform != "linux":
        pytest.skip("fork is safe on Linux alone")
    data = opened(make_set("set", LABELS))
    # Nothing of the map travels with a spawned worker.
    assert b"\x07" * 8 * 20 in bytes(data.pixels[0][7])
    assert b"\x07" * 8 * 20 not in pickle.dumps(data)
    loader = BatchLoader(
        data,
        batch_sampler=[[i, i + 1] for i in range(0, 60, 2)],
        num_workers=2,
        multiprocessing_context=method,
    )
    found = [batch.images[:, 0, 0, 0].tolist() for batch in loader]
    assert found == [[i, i + 1] for i in range(0, 60, 2)]


def test_an_image_that_could_not_be_decoded_once(make_set, monkeypatch):
    path = make_set("set", LABELS)
    with monkeypatch.context() as patched:
        # As where memory ran out.
        patched.setattr("hanline.data.pixel_cache.decode_image", fails)
        data = opened(path)
    found = data.__getitems__([3, 4])
    assert found.images[:, 0, 0, 0].tolist() == [3, 4]
    assert data.damaged == 0


def killed(task):
    os.kill(os.getpid(), signal.SIGKILL)


def fails(content):
    raise ImageError("damaged image: out of memory")


def test_an_empty_set_beside_others(make_set, dtrb_set):
    empty = dtrb_set("empty", [])
    assert opened(empty, make_set("set", LABELS)).__getitems__([7]).labels == ["7번"]


def test_a_file_that_is_removed_meanwhile(make_set):
    data = opened(make_set("set", LABELS))
    pickled = pickle.dumps(data)
    file_of(data.stores[0].path).unlink()
    assert data.__getitems__([7]).labels == ["7번"]
    with pytest.raises(HanlineError, match="are gone"):
        pickle.loads(pickled)


class TestStale:
    def test_a_set_that_was_written_to(self, make_set, grey):
        path = make_set("set", LABELS)
        assert first_pixels(path)[5] == 5
        environment = lmdb.open(str(path), map_size=2**26)
        with environment.begin(write=True) as transaction:
            transaction.put(b"image-000000006", grey(200))
            for key in [key for key, _ in transaction.cursor() if key.startswith(b"checksum-")]:
                transaction.delete(key)
        environment.close()
        # Another program that changes a sample leaves a checksum that is wrong.
        (path / "provenance.json").unlink()
        assert first_pixels(path)[5] == 200
        # Those of the former state are gone.
        assert file_of(path)

    def test_a_file_that_was_copied_from_another_set(self, make_set, grey):
        one = make_set("one", LABELS)
        other = make_set("other", LABELS, {0: grey(99)})
        first_pixels(one)
        assert first_pixels(other)[0] == 99
        file_of(other).write_bytes(file_of(one).read_bytes())
        assert first_pixels(other)[0] == 99

    @pytest.mark.parametrize("change", [-1, 1, -5000])
    def test_a_file_of_another_length(self, make_set, change):
        path = make_set("set", LABELS)
        first_pixels(path)
        content = file_of(path).read_bytes()
        file_of(path).write_bytes(content[:change] if change < 0 else content + bytes(change))
        assert first_pixels(path) == list(range(60))
        assert file_of(path).read_bytes() == content

    def test_another_format_has_a_file_of_its_own(self, make_set):
        store = LMDBStore(make_set("set", LABELS))
        for width in (20, 30):
            image_format = ImageFormat(8, width, 1, True)
            assert made(store, image_format, 60)[0].shape == (8, width, 1)
        assert len(list(store.path.glob("*.pixels"))) == 2


class TestMaking:
    def test_by_several_processes_at_once(self, make_set):
        path = make_set("set", LABELS)
        processes = [elsewhere(path) for _ in range(3)]
        said = [process.communicate(timeout=300) for process in processes]
        assert [json.loads(out) for out, _ in said] == [list(range(60))] * 3
        assert sum("keeping" in err for _, err in said) == 1
        assert {file.suffix for file in path.iterdir()} == {".pixels", ".json", ".mdb"}

    def test_in_several_processes(self, make_set, monkeypatch):
        monkeypatch.setattr("hanline.data.pixel_cache._ALONE", 100)
        labels = [f"{i % 10}번" for i in range(3000)]
        damaged = {5: b"no image", 1024: b"", 2999: b"no image"}
        store = LMDBStore(make_set("set", labels, damaged))
        ready = made(store, FORMAT, 3000)
        assert ready.damaged == damaged.keys()
        for number in range(3000):
            if number not in damaged:
                assert ready[number].min() == ready[number].max() == number % 256

    def test_images_of_which_a_task_has_one(self, make_set, monkeypatch):
        monkeypatch.setattr("hanline.data.pixel_cache._BYTES_A_TASK", 10)
        assert opened(make_set("set", LABELS)).__getitems__([59]).images[0, 0, 0, 0] == 59

    def test_killed_on_the_way(self, make_set):
        path = make_set("set", [f"{i % 10}번" for i in range(15_000)])
        process = elsewhere(path)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any(
            file.stat().st_size for file in path.glob("*.pixels.*.partial")
        ):
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert not list(path.glob("*.pixels"))
        assert list(path.glob("*.pixels.*.partial"))
        assert first_pixels(path) == [i % 256 for i in range(15_000)]
        assert {file.suffix for file in path.iterdir()} == {".pixels", ".json", ".mdb"}

    def test_a_full_disk(self, make_set, small_disk):
        place = small_disk("1300k")
        path = place / "set"
        shutil.move(make_set("set", LABELS * 50), path)
        with pytest.raises(HanlineError, match=r"take 1 MiB, but the disk of .* has 0 left"):
            made(LMDBStore(path), ImageFormat(16, 30, 1, True), 3000)
        assert {file.suffix for file in path.iterdir()} == {".json", ".mdb"}

    def test_where_nothing_can_be_written(self, make_set, places, tmp_path):
        path = make_set("set", LABELS)
        assert opened(path).__getitems__([7]).images[0, 0, 0, 0] == 7
        (file,) = (tmp_path / "cache").iterdir()
        assert file.suffix == ".pixels"
        places.pop()
        with pytest.raises(NotCachedError, match="in its folder, nor in the cache folder"):
            opened(path)

    def test_one_of_two_that_cannot_be_kept(self, make_set, monkeypatch):
        """Nothing is decoded in vain."""
        one, other = make_set("one", LABELS), make_set("other", LABELS)
        (other.parent / "file").touch()

        def places(store, name):
            yield (store.path if store.path == one else other.parent / "file") / name

        monkeypatch.setattr("hanline.data.pixel_cache.cache_paths", places)
        with pytest.raises(NotCachedError, match=r"of .*other cannot be cached"):
            opened(one, other)
        assert not list(one.glob("*.pixels*"))

    def test_a_set_that_is_named_twice(self, make_set, monkeypatch):
        path = make_set("set", LABELS)
        path.with_name("link").symlink_to(path)
        twice = opened(path, path, path.with_name("link"))
        assert len(twice) == 180
        assert twice.__getitems__([7, 67, 127]).labels == ["7번"] * 3
        assert file_of(path)

    def test_where_no_file_can_be_locked(self, make_set, monkeypatch):
        def no_lock(path):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        path = make_set("set", LABELS)
        monkeypatch.setattr("hanline.data.pixel_cache.write_lock", no_lock)
        with pytest.raises(NotCachedError, match=os.strerror(errno.ENOLCK)):
            opened(path)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
    def test_where_a_worker_is_killed(self, make_set, monkeypatch):
        """As where memory runs out."""
        monkeypatch.setattr("hanline.data.pixel_cache._ALONE", 10)
        monkeypatch.setattr("hanline.data.pixel_cache._decoded", killed)
        monkeypatch.setattr("hanline.system.parallel.available_cpus", lambda: 2)
        path = make_set("set", LABELS)
        with pytest.raises(NotCachedError, match="terminated abruptly"):
            opened(path)
        assert not list(path.glob("*.pixels*"))


class TestUnasked:
    def test_they_are_those_that_are_asked_for(self, make_set):
        path = make_set("set", LABELS)
        store = LMDBStore(path)
        written = [
            (made(store, FORMAT, 60, automatic).file, file_of(path).stat().st_mtime_ns)
            for automatic in (True, False)
        ]
        assert written[0] == written[1]

    def test_not_in_the_users_cache_folder(self, make_set, places):
        path = make_set("set", LABELS)
        with pytest.raises(NotCachedError, match="cannot be cached in its folder: "):
            made(LMDBStore(path), FORMAT, 60, automatic=True)
        assert not places[1].exists()

    def test_those_in_the_users_cache_folder_are_taken(self, make_set, places, monkeypatch):
        path = make_set("set", LABELS)
        monkeypatch.setattr("hanline.data.pixel_cache._AUTOMATIC_BYTES", 100)
        asked = made(LMDBStore(path), FORMAT, 60)
        assert made(LMDBStore(path), FORMAT, 60, automatic=True).file == asked.file

    def test_not_more_than_a_quarter_of_the_disk(self, make_set, small_disk):
        """Of one set, and of two that take more together: all are kept or none."""
        disk = small_disk("8m")
        wide = ImageFormat(16, 30, 1, True)
        paths = [disk / name for name in ("one", "other")]
        for path in paths:
            shutil.move(make_set(path.name, LABELS * 50), path)
        stores = [LMDBStore(path) for path in paths]
        both = [(store, 3000) for store in stores]
        with pytest.raises(NotCachedError, match=r"take 3 MiB, and the disk of .* has \d left"):
            cache_pixels_of(both, wide, automatic=True)
        assert not list(disk.rglob("*.pixels*"))
        cache_pixels_of(both[:1], wide, automatic=True)
        cache_pixels_of(both, wide, automatic=False)
        assert len(list(disk.rglob("*.pixels*"))) == 2
