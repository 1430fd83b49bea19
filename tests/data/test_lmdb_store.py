import io
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from PIL import Image

from hanline.data import lmdb_writer
from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.data.lmdb_writer import LMDBWriter
from hanline.errors import HanlineError

LABELS = ["가나", "8·15", "與野 尹", "…"]


def names(folder):
    return [path.name for path in folder.iterdir()]


def entries(path):
    """All that an LMDB file holds, read with nothing but the lmdb package."""
    environment = lmdb.open(str(path), readonly=True, lock=False)
    with environment.begin() as transaction:
        found = {bytes(key): bytes(value) for key, value in transaction.cursor()}
    environment.close()
    return found


def read_first(store):
    """For a worker: what it reads, as something that travels back."""
    return [(len(image), label) for image, label in store.read([0, len(store) - 1])]


def read_in_fork(store):
    """What a forked process reads, or its error."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def child():
        try:
            theirs.send(read_first(store))
        except Exception as error:
            theirs.send(repr(error))

    process = context.Process(target=child)
    process.start()
    assert ours.poll(60)
    result = ours.recv()
    process.join(60)
    assert process.exitcode == 0
    return result


class TestFormat:
    def test_keys_are_dtrbs_byte_for_byte(self, tmp_path):
        writer = LMDBWriter(tmp_path / "set", resume=False)
        writer.add([(b"first", "가"), (b"second", "나 다")])
        writer.add([(b"third", "라")])
        writer.finish({})
        found = entries(tmp_path / "set")
        checksums = {key for key in found if key.startswith(b"checksum-")}
        assert checksums == {b"checksum-%09d" % number for number in range(4)}
        assert {key: value for key, value in found.items() if key not in checksums} == {
            b"num-samples": b"3",
            b"image-000000001": b"first",
            b"image-000000002": b"second",
            b"image-000000003": b"third",
            b"label-000000001": "가".encode(),
            b"label-000000002": "나 다".encode(),
            b"label-000000003": "라".encode(),
        }

    def test_sets_of_dtrb_open(self, dtrb_set, grey):
        samples = [(grey(i), label) for i, label in enumerate(LABELS)]
        store = LMDBStore(dtrb_set("MJ", samples))
        assert len(store) == 4
        assert list(store.labels()) == LABELS
        assert store.read([3, 0, 1]) == [samples[3], samples[0], samples[1]]

    def test_trees_of_dtrb_open(self, dtrb_set, grey, tmp_path):
        for name in ("training/MJ/MJ_train", "training/MJ/MJ_valid", "training/ST"):
            dtrb_set(name, [(grey(0), name)])
        (tmp_path / "training" / "notes").mkdir()
        found = find_datasets(tmp_path / "training")
        assert [path.relative_to(tmp_path).as_posix() for path in found] == [
            "training/MJ/MJ_train",
            "training/MJ/MJ_valid",
            "training/ST",
        ]
        for path in found:
            assert list(LMDBStore(path).labels()) == [path.relative_to(tmp_path).as_posix()]
        assert find_datasets(tmp_path / "training" / "ST") == [tmp_path / "training" / "ST"]

    def test_extra_keys_do_not_disturb(self, dtrb_set):
        path = dtrb_set("set", [(b"a", "가"), (b"b", "나")])
        environment = lmdb.open(str(path), map_size=2**24)
        with environment.begin(write=True) as transaction:
            for key in (b"label-", b"label-000000000", b"label-000000003", b"aaa", b"zzz"):
                transaction.put(key, b"other")
        environment.close()
        assert list(LMDBStore(path).labels()) == ["가", "나"]

    def test_provenance_and_notes_stand_beside_the_data(self, tmp_path):
        writer = LMDBWriter(tmp_path / "set", resume=False)
        writer.add([(b"x", "가")])
        writer.finish({"made_by": "테스트"}, {"notes.tsv": "1\t메모\n"})
        assert json.loads((tmp_path / "set/provenance.json").read_text()) == {
            "made_by": "테스트",
            "checksums": "crc32",
        }
        assert (tmp_path / "set/notes.tsv").read_text(encoding="utf-8") == "1\t메모\n"
        assert {path.name for path in (tmp_path / "set").iterdir()} == {
            *("data.mdb", "lock.mdb", "provenance.json", "notes.tsv")
        }


class TestRefused:
    def test_no_folder_and_no_set(self, tmp_path):
        with pytest.raises(HanlineError, match=r"there is no file data\.mdb"):
            LMDBStore(tmp_path)
        with pytest.raises(HanlineError, match="it is not a folder"):
            find_datasets(tmp_path / "missing")
        with pytest.raises(HanlineError, match=r"no data\.mdb is in it"):
            find_datasets(tmp_path)

    def test_no_lmdb_file(self, tmp_path):
        (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
        with pytest.raises(HanlineError, match="cannot open the LMDB dataset"):
            LMDBStore(tmp_path)

    def test_without_a_count(self, dtrb_set, grey):
        path = dtrb_set("set", [(grey(0), "가")], leave_out=(b"num-samples",))
        with pytest.raises(HanlineError, match="no num-samples"):
            LMDBStore(path)

    @pytest.mark.parametrize("missing", [1, 3, 4])
    @pytest.mark.parametrize("what", ["image", "label"])
    def test_a_missing_sample_is_named(self, dtrb_set, grey, what, missing):
        samples = [(grey(i), label) for i, label in enumerate(LABELS)]
        key = f"{what}-{missing:09d}".encode()
        store = LMDBStore(dtrb_set("set", samples, leave_out=(key,)))
        with pytest.raises(HanlineError, match=f"4 samples, but lacks number {missing}"):
            store.read(range(4))
        if what == "label":
            with pytest.raises(HanlineError, match=f"4 samples, but lacks number {missing}"):
                list(store.labels())

    @pytest.mark.parametrize("size", [0, 3000, 5000, 8192, 20_000, 500_000])
    def test_a_file_that_was_cut_off(self, dtrb_set, size):
        # Reading it would kill the process with SIGBUS; in a process of its own, to be safe.
        path = dtrb_set("set", [(bytes(5000), f"{i}") for i in range(200)])
        os.truncate(path / "data.mdb", size)
        code = (
            "from hanline.data.lmdb_store import *; import sys\n"
            "try: LMDBStore(sys.argv[1]).read(range(200))\n"
            "except HanlineError as error: sys.exit(str(error))"
        )
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert str(path) in done.stderr
        assert "cut off" in done.stderr or "cannot open" in done.stderr

    def test_half_sets_are_not_found(self, tmp_path, make_set):
        make_set("a/whole", ["가"])
        writer = LMDBWriter(tmp_path / "a" / "half", resume=False)
        writer.add([(b"x", "가")])
        assert find_datasets(tmp_path) == [tmp_path / "a" / "whole"]
        writer._environment.close()  # as if it were killed
        with pytest.raises(HanlineError, match="no num-samples"):
            LMDBStore(writer.partial)


class TestProcesses:
    def test_survives_pickling(self, make_set):
        store = LMDBStore(make_set("set", LABELS))
        expected = store.read(range(4))
        copy = pickle.loads(pickle.dumps(store))
        assert copy.read(range(4)) == expected
        assert list(copy.labels()) == LABELS

    def test_forked_after_reading(self, make_set):
        store = LMDBStore(make_set("set", LABELS))
        expected = read_first(store)  # the parent has it open now
        assert read_in_fork(store) == expected
        assert read_in_fork(store) == expected
        assert read_first(store) == expected

    def test_forked_before_reading(self, make_set):
        store = LMDBStore(make_set("set", LABELS))
        forked = read_in_fork(store)
        assert forked == read_first(store)

    def test_spawned(self, make_set):
        store = LMDBStore(make_set("set", LABELS))
        expected = read_first(store)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(read_first, (store,)) == expected

    def test_two_stores_of_one_set(self, make_set):
        path = make_set("set", LABELS)
        first, second = LMDBStore(path), LMDBStore(path)
        one, other = first.labels(), second.labels()
        assert [next(one), next(other), next(one)] == [LABELS[0], LABELS[0], LABELS[1]]
        assert first.read([0]) == second.read([0])

    def test_one_set_by_several_names(self, make_set, tmp_path, monkeypatch):
        path = make_set("set", LABELS)
        (tmp_path / "link").symlink_to(path)
        monkeypatch.chdir(tmp_path)
        stores = [LMDBStore(name) for name in (path, "set", "link")]
        assert [store.read([1])[0][1] for store in stores] == [LABELS[1]] * 3

    def test_a_set_that_is_made_anew(self, make_set):
        path = make_set("set", LABELS)
        assert LMDBStore(path).read([0])[0][1] == LABELS[0]
        shutil.rmtree(path)
        assert make_set("set", ["다른"]) == path
        assert LMDBStore(path).read([0])[0][1] == "다른"

    def test_a_set_whose_files_have_the_numbers_of_one_that_is_gone(self, make_set):
        gone, path = make_set("gone", LABELS), make_set("set", LABELS[:2])
        assert len(LMDBStore(gone)) == len(LABELS)
        (path / "lock.mdb").unlink(missing_ok=True)
        (path / "lock.mdb").hardlink_to(gone / "lock.mdb")
        shutil.rmtree(gone)
        assert len(LMDBStore(path)) == 2


class TestWriter:
    def test_stands_aside_until_it_is_complete(self, tmp_path):
        path = tmp_path / "set"
        writer = LMDBWriter(path, resume=False)
        writer.add([(b"x", "가")])
        assert not path.exists()
        assert writer.finish({}) == path
        assert names(tmp_path) == ["set"]
        assert list(LMDBStore(path).labels()) == ["가"]

    @pytest.mark.parametrize("resume", [False, True])
    def test_never_overwrites(self, make_set, resume):
        path = make_set("set", LABELS)
        with pytest.raises(HanlineError, match="exists: remove it first"):
            LMDBWriter(path, resume=resume)
        assert list(LMDBStore(path).labels()) == LABELS

    def test_goes_on_or_starts_anew(self, tmp_path):
        path = tmp_path / "set"
        for resume, done in ((True, 0), (True, 2), (True, 4), (False, 0), (True, 2)):
            writer = LMDBWriter(path, resume=resume)
            assert writer.done == done
            writer.add([(b"x%d" % i, f"{i}") for i in range(done, done + 2)])
            writer._environment.close()  # as if it were killed
        writer = LMDBWriter(path, resume=True)
        writer.finish({})
        assert list(LMDBStore(path).labels()) == ["0", "1", "2", "3"]
        assert LMDBStore(path).read([3]) == [(b"x3", "3")]

    def test_killed_between_the_count_and_the_name(self, make_set, tmp_path):
        path = make_set("set", LABELS)
        whole = entries(path)
        path.rename(tmp_path / "set.partial")
        writer = LMDBWriter(path, resume=True)
        assert writer.done == 4
        writer.finish({})
        assert entries(path) == whole

    def test_the_map_grows(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lmdb_writer, "_FIRST_MAP_SIZE", 2**16)
        writer = LMDBWriter(tmp_path / "set", resume=False)
        samples = [(bytes([i]) * 30_000, f"{i}") for i in range(100)]
        writer.add(samples[:50])
        writer.add([(bytes(10 * 2**20), "하나가 큰 것")])
        for sample in samples[50:]:
            writer.add([sample])
        writer.finish({})
        store = LMDBStore(tmp_path / "set")
        assert len(store) == 101
        assert store.read([*range(50), *range(51, 101)]) == samples
        assert len(store.read([50])[0][0]) == 10 * 2**20

    def test_the_map_grows_for_the_count_too(self, tmp_path, monkeypatch):
        # Of maps in every size one is just full when the last sample is in it.
        monkeypatch.setattr(lmdb_writer, "_FIRST_MAP_SIZE", 2**16)
        for size in range(0, 60_000, 1000):
            writer = LMDBWriter(tmp_path / f"{size}", resume=False)
            writer.add([(bytes(size), "가")])
            writer.finish({})
            assert LMDBStore(tmp_path / f"{size}").read([0]) == [(bytes(size), "가")]

    def test_the_map_grows_when_going_on(self, tmp_path, monkeypatch):
        monkeypatch.setattr(lmdb_writer, "_FIRST_MAP_SIZE", 2**16)
        writer = LMDBWriter(tmp_path / "set", resume=True)
        writer.add([(bytes(500_000), "가")])
        writer._environment.close()
        writer = LMDBWriter(tmp_path / "set", resume=True)
        writer.add([(bytes(900_000), "나")])
        writer.finish({})
        assert [len(image) for image, _ in LMDBStore(tmp_path / "set").read([0, 1])] == [
            *(500_000, 900_000)
        ]

    def test_a_batch_is_written_whole_or_not_at_all(self, tmp_path):
        writer = LMDBWriter(tmp_path / "set", resume=True)
        writer.add([(b"a", "가")])
        with pytest.raises(UnicodeEncodeError):
            writer.add([(b"b", "나"), (b"c", "\ud800")])
        assert writer.done == 1
        writer.finish({})
        assert entries(tmp_path / "set").keys() == {
            b"num-samples",
            b"image-000000001",
            b"label-000000001",
            b"checksum-000000000",
            b"checksum-000000001",
        }

    def test_damaged_leftovers_are_named(self, tmp_path):
        (tmp_path / "set.partial").mkdir()
        (tmp_path / "set.partial" / "data.mdb").write_bytes(b"nonsense" * 2000)
        with pytest.raises(HanlineError, match=r"set\.partial.*damaged, remove them"):
            LMDBWriter(tmp_path / "set", resume=True)
        writer = LMDBWriter(tmp_path / "set", resume=False)
        writer.discard()
        assert names(tmp_path) == []

    def test_a_place_where_no_folder_can_be(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(HanlineError, match="cannot write to"):
            LMDBWriter(tmp_path / "file" / "set", resume=False)

    def test_facts_of_another_run_are_refused(self, tmp_path):
        facts = {"seed": 1, "texts": "abc", "fonts": ["x", "y"]}
        writer = LMDBWriter(tmp_path / "set", resume=True)
        writer.begin(facts)
        writer.add([(b"a", "가")])
        writer._environment.close()
        other = LMDBWriter(tmp_path / "set", resume=True)
        with pytest.raises(
            HanlineError, match=r"1 samples.* other settings \(texts, fonts\)\. Remove it"
        ):
            other.begin({"seed": 1, "texts": "abd", "fonts": ["x"]})
        other._environment.close()
        again = LMDBWriter(tmp_path / "set", resume=True)
        again.begin(facts)
        assert again.done == 1
        again.discard()

    def test_facts_of_a_run_that_wrote_nothing_do_not_matter(self, tmp_path):
        writer = LMDBWriter(tmp_path / "set", resume=True)
        writer.begin({"seed": 1})
        writer._environment.close()
        other = LMDBWriter(tmp_path / "set", resume=True)
        other.begin({"seed": 2})
        other.discard()


def write_much(root, file_size):
    """Write 20 MB with files no larger than ``file_size``; for a process of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    writer = LMDBWriter(f"{root}/set", resume=False)
    for i in range(200):
        writer.add([(os.urandom(1000), f"{i} {j}") for j in range(100)])
    writer.finish({})


class TestNoRoom:
    # Where the map, the first page and a page in the midst of a transaction no longer fit.
    @pytest.mark.parametrize("size", [4, 8, 12, 16, 64, 1000, 3000])
    @pytest.mark.parametrize("resume", [False, True])
    def test_a_full_disk(self, small_disk, size, resume):
        place = small_disk(f"{size}k")
        with pytest.raises(HanlineError, match=r"full|No space left") as error:
            writer = LMDBWriter(place / "set", resume=resume)
            for i in range(100):
                writer.add([(os.urandom(1000), f"{i} {j}") for j in range(100)])
        assert str(place) in str(error.value)
        assert names(place) == []

    def test_full_when_it_ends(self, small_disk):
        place = small_disk("1000k")
        writer = LMDBWriter(place / "set", resume=False)
        writer.add([(b"x", "가")])
        with pytest.raises(HanlineError, match="full") as error:
            writer.finish({"much": "x" * 2_000_000})
        assert "after 1 samples of set" in str(error.value)
        assert names(place) == []

    @pytest.mark.parametrize("file_size", [100, 5000, 8192, 9000, 1_000_000])
    def test_files_that_may_not_grow(self, tmp_path, file_size):
        command = [
            *(sys.executable, "-c"),
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_lmdb_store import write_much; from hanline.errors import HanlineError\n"
            f"try: write_much({str(tmp_path)!r}, {file_size})\n"
            "except HanlineError as error: sys.exit(str(error))",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "limit on the size of files" in done.stderr or "File too large" in done.stderr
        assert names(tmp_path) == []


def test_images_come_back_as_they_were(make_set, grey):
    store = LMDBStore(make_set("set", LABELS))
    for i, (image, _) in enumerate(store.read(range(4))):
        assert Image.open(io.BytesIO(image)).getpixel((0, 0)) == i
        assert image == grey(i)
