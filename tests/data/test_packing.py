import json
import multiprocessing
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from hanline.data.lmdb_store import LMDBStore
from hanline.data.packing import pack
from hanline.errors import HanlineError
from hanline.raster import NO_IMAGE


@pytest.fixture
def folder(tmp_path, grey):
    """A folder with images of greys 0 to 9, and a function that writes its gt.txt."""
    images = tmp_path / "in" / "images"
    images.mkdir(parents=True)
    for i in range(10):
        (images / f"{i}.png").write_bytes(grey(i))

    def write(content):
        gt = tmp_path / "in" / "gt.txt"
        gt.write_bytes(content if isinstance(content, bytes) else content.encode())
        return gt

    return write


def samples(path):
    store = LMDBStore(path)
    return store.read(range(len(store)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestPack:
    def test_keeps_the_order_and_the_bytes(self, folder, tmp_path, grey):
        gt = folder("images/3.png\t셋\nimages/0.png\t영 하나\nimages/3.png\t또 셋\n")
        report = pack(gt, tmp_path / "out" / "set", processes=1)
        assert (report.packed, report.bad_rows) == (3, [])
        assert samples(tmp_path / "out" / "set") == [
            *((grey(3), "셋"), (grey(0), "영 하나"), (grey(3), "또 셋"))
        ]
        assert names(tmp_path / "out") == ["set"]
        assert names(tmp_path / "out" / "set") == ["data.mdb", "lock.mdb", "provenance.json"]

    def test_a_large_image_is_kept_whole(self, folder, tmp_path):
        gt = folder("images/large.png\t큰 것\n")
        pixels = np.random.default_rng(3).integers(0, 256, (400, 900), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / "images" / "large.png")
        content = (tmp_path / "in" / "images" / "large.png").read_bytes()
        assert len(content) > 2**18
        pack(gt, tmp_path / "set", processes=1)
        assert samples(tmp_path / "set") == [(content, "큰 것")]

    def test_from_windows(self, folder, tmp_path, grey):
        nfd = unicodedata.normalize("NFD", "대한민국 만세")
        gt = folder(f"images\\1.png\t{nfd}\r\nimages\\2.png\t둘  셋 \r\n".encode("utf-8-sig"))
        assert pack(gt, tmp_path / "set", processes=1).bad_rows == []
        assert samples(tmp_path / "set") == [(grey(1), "대한민국 만세"), (grey(2), "둘 셋")]

    def test_bad_rows_are_named_and_counted(self, folder, tmp_path, grey):
        images = tmp_path / "in" / "images"
        (images / "broken.png").write_bytes(grey(1)[:40])
        (images / "text.png").write_text("no image")
        (images / "empty.png").write_bytes(b"")
        (images / "folder.png").mkdir()
        rows = [
            *(
                "images/0.png\t좋음",
                "images/missing.png\t없음",
                "images/1.png\t",
                "images/2.png 둘",
            ),
            *("images/broken.png\t깨짐", "images\\text.png\t글", "images/empty.png\t빈 것", ""),
            *("images/folder.png\t폴더", "images/\0.png\t널", "gone.png\t없음", "images/9.png\t끝"),
        ]
        report = pack(folder("\r\n".join(rows)), tmp_path / "set", processes=1)
        assert report.packed == 2
        assert report.counts() == {
            "missing file": 2,
            "broken image": 3,
            "unreadable file": 2,
            "empty label": 1,
            "no tab between path and label": 1,
        }
        assert [row.number for row in report.bad_rows] == [2, 3, 4, 5, 6, 7, 9, 10, 11]
        assert samples(tmp_path / "set") == [(grey(0), "좋음"), (grey(9), "끝")]

        table = (tmp_path / "set" / "bad_rows.tsv").read_text(encoding="utf-8").splitlines()
        assert [line.split("\t")[0] for line in table] == [
            str(row.number) for row in report.bad_rows
        ]
        assert table[0] == f"2\tmissing file\t{images / 'missing.png'}"
        assert table[2] == "4\tno tab between path and label\timages/2.png 둘"
        assert table[4] == (f"6\tbroken image: {NO_IMAGE}\t{images / 'text.png'}")
        provenance = json.loads((tmp_path / "set" / "provenance.json").read_text())
        assert provenance["samples"] == 2
        assert provenance["bad_rows"] == dict(report.counts())

    def test_processes_change_nothing(self, folder, tmp_path):
        # More rows than a process takes at a time, some of them bad.
        rows = [
            f"images/{i % 11}.png\t글 {i}" if i % 7 else f"images/1.png {i}" for i in range(20_500)
        ]
        gt = folder("\n".join(rows))
        alone = pack(gt, tmp_path / "alone", processes=1)
        together = pack(gt, tmp_path / "together", processes=2)
        assert alone == together
        assert len(alone.bad_rows) > 2500
        assert samples(tmp_path / "alone") == samples(tmp_path / "together")
        for name in ("bad_rows.tsv", "provenance.json"):
            assert (tmp_path / "alone" / name).read_bytes() == (
                tmp_path / "together" / name
            ).read_bytes()

    @pytest.mark.parametrize(
        ("rows", "start", "alone", "expected"),
        [
            *((1, "fork", 0, 1), (256, "fork", 0, 1), (257, "fork", 0, 2), (3000, "fork", 0, 4)),
            *((3000, "spawn", 10_000_000, 1), (3000, "spawn", 1000, 4), (1, "spawn", 0, 1)),
        ],
    )
    def test_as_many_processes_as_are_worth_it(
        self, folder, tmp_path, monkeypatch, rows, start, alone, expected
    ):
        taken = []

        def alone_here(function, tasks, processes, start):
            taken.append((processes, start))
            return map(function, tasks)

        monkeypatch.setattr("hanline.data.packing.ordered_map", alone_here)
        monkeypatch.setattr("hanline.data.packing.available_cpus", lambda: 4)
        monkeypatch.setattr("hanline.data.packing._START", start)
        monkeypatch.setattr("hanline.data.packing._ALONE", alone)
        gt = folder("".join(f"images/{i % 10}.png\t글 {i}\n" for i in range(rows)))
        assert pack(gt, tmp_path / "set", processes=0).packed == rows
        assert taken == [(expected, start)]

    def test_a_folder_of_other_formats(self, tmp_path, encode):
        image = Image.fromarray(np.zeros((8, 20, 3), dtype=np.uint8))
        contents = [encode(image, name) for name in ("JPEG", "BMP", "WEBP", "TIFF", "GIF")]
        for i, content in enumerate(contents):
            (tmp_path / f"{i}").write_bytes(content)
        gt = tmp_path / "gt.txt"
        gt.write_text("".join(f"{i}\t글{i}\n" for i in range(5)), encoding="utf-8")
        assert pack(gt, tmp_path / "set", processes=1).packed == 5
        assert [content for content, _ in samples(tmp_path / "set")] == contents


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("", "it is empty"),
            ("gone.png\tA\nimages/1.png\t\ngone2.png\tB", "2 × missing file, 1 × empty label"),
        ],
    )
    def test_no_sample(self, folder, tmp_path, content, why):
        gt = folder(content)
        with pytest.raises(HanlineError, match=f"no row of .* makes a sample: {why}"):
            pack(gt, tmp_path / "set", processes=1)
        assert names(tmp_path) == ["in"]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor devices as files")
    def test_pipes_devices_and_folders_are_bad_rows(self, folder, tmp_path, grey):
        os.mkfifo(tmp_path / "in" / "pipe.png")
        (tmp_path / "in" / "zero.png").symlink_to("/dev/zero")
        rows = ["pipe.png\t관", "zero.png\t영", "/dev/zero\t영", "images\t폴더", "images/0.png\t글"]
        report = pack(folder("\n".join(rows)), tmp_path / "set", processes=1)
        assert report.packed == 1
        assert report.counts() == {"unreadable file": 4}

    def test_a_wrong_number_of_processes(self, folder, tmp_path):
        with pytest.raises(HanlineError, match="processes=-1"):
            pack(folder("images/0.png\t글"), tmp_path / "set", processes=-1)

    def test_no_gt(self, tmp_path):
        with pytest.raises(HanlineError, match=r"cannot read .*gt\.txt"):
            pack(tmp_path / "gt.txt", tmp_path / "deep" / "set", processes=1)
        assert names(tmp_path) == []

    def test_an_output_that_exists(self, folder, tmp_path, make_set):
        path = make_set("set", ["먼저"])
        with pytest.raises(HanlineError, match="set exists: remove it first"):
            pack(folder("images/0.png\t나중"), path, processes=1)
        assert [label for _, label in samples(path)] == ["먼저"]
        assert names(tmp_path) == ["in", "set"]

    def test_what_a_run_left_that_was_killed_is_replaced(self, folder, tmp_path):
        (tmp_path / "set.partial").mkdir()
        (tmp_path / "set.partial" / "data.mdb").write_bytes(b"half")
        pack(folder("images/0.png\t글"), tmp_path / "set", processes=1)
        assert names(tmp_path) == ["in", "set"]


def pack_with_others(gt, output, barrier, results):
    """For a process of its own: pack, and tell what came of it."""
    barrier.wait(300)
    try:
        results.put(pack(gt, output, processes=1).packed)
    except HanlineError as error:
        results.put(str(error))


def test_two_runs_at_once(folder, tmp_path):
    """Two processes pack into the same set at the same moment: one set comes of it, whole."""
    gt = folder("".join(f"images/{i % 10}.png\t글 {i}\n" for i in range(2000)))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (gt, tmp_path / "set", barrier, results)
    processes = [context.Process(target=pack_with_others, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join(300)
    assert 2000 in found
    assert f"{tmp_path / 'set'} exists: remove it first, or choose another name" in found
    assert [label for _, label in samples(tmp_path / "set")] == [f"글 {i}" for i in range(2000)]
    assert names(tmp_path) == ["in", "set"]
