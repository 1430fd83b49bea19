import codecs
import json
import os
import resource
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from hanline.data.image_folder import FolderWriter, Row, count_rows, read_gt
from hanline.errors import HanlineError


@pytest.fixture
def gt(tmp_path):
    """Writes a gt.txt of these bytes."""

    def write(content):
        (tmp_path / "gt.txt").write_bytes(content)
        return tmp_path / "gt.txt"

    return write


def names(folder):
    return [path.name for path in folder.iterdir()]


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestReadGt:
    def test_plain(self, gt, tmp_path):
        rows = list(read_gt(gt("a/1.png\t가나\nb.png\t다 라\n".encode())))
        assert rows == [
            Row(1, str(tmp_path / "a/1.png"), "가나"),
            Row(2, str(tmp_path / "b.png"), "다 라"),
        ]

    def test_from_windows(self, gt, tmp_path):
        nfd = unicodedata.normalize("NFD", "한글 머리")
        text = f"images\\01\\a.png\t가 나  다\r\nb.png\t{nfd}\r\n"
        rows = list(read_gt(gt(text.encode("utf-8-sig"))))
        assert rows == [
            Row(1, str(tmp_path / "images/01/a.png"), "가 나 다"),
            Row(2, str(tmp_path / "b.png"), unicodedata.normalize("NFC", nfd)),
        ]

    def test_a_file_whose_name_holds_a_back_slash(self, gt, tmp_path):
        (tmp_path / "a\\b.png").write_bytes(b"")
        (row, other) = read_gt(gt(b"a\\b.png\tX\na\\c.png\tY"))
        assert row.image == tmp_path / "a\\b.png"
        assert other.image == tmp_path / "a/c.png"

    def test_a_label_may_hold_tabs_and_back_slashes(self, gt):
        (row,) = read_gt(gt(b"a.png\tx\\y\tz"))
        assert row.label == "x\\y z"

    def test_empty_lines_count_but_are_passed_over(self, gt):
        rows = list(read_gt(gt(b"\n\r\na.png\tA\n\n\nb.png\tB")))
        assert [(row.number, row.label) for row in rows] == [(3, "A"), (6, "B")]

    def test_bad_rows_say_what_is_wrong(self, gt, tmp_path):
        content = "a.png A\nb.png\t\nc.png\t \u200b\nd.png\tD\n".encode()
        assert list(read_gt(gt(content))) == [
            Row(1, "a.png A", "", "no tab between path and label"),
            Row(2, str(tmp_path / "b.png"), "", "empty label"),
            Row(3, str(tmp_path / "c.png"), "", "empty label"),
            Row(4, str(tmp_path / "d.png"), "D"),
        ]

    def test_a_line_too_long_for_a_name_is_a_bad_row_alone(self, gt):
        long = "가\\" * 2000
        rows = list(read_gt(gt(f"{long}\n{long}\tA\nb.png\tB\n".encode())))
        assert [row.problem for row in rows] == ["no tab between path and label", "", ""]

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(HanlineError, match=r"cannot read .*gt\.txt"):
            list(read_gt(tmp_path / "gt.txt"))

    @pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
    def test_another_encoding_is_told(self, gt, encoding):
        with pytest.raises(HanlineError, match="expected UTF-8, but byte"):
            list(read_gt(gt("a.png\t가나다\n".encode(encoding))))

    def test_the_byte_that_is_no_utf8_is_named_wherever_it_is(self, gt):
        good = "사진/가나다.png\t라벨\r\n".encode() * 5000
        for start in (b"", codecs.BOM_UTF8):
            content = start + good + b"b.png\t\xff\n" + good
            with pytest.raises(HanlineError, match="expected UTF-8") as error:
                list(read_gt(gt(content)))
            position = content.index(b"\xff")
            assert f"byte {position} (line 5001, byte 6 of the line) is 0xff" in str(error.value)

    def test_a_list_that_is_no_regular_file_is_refused(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for list_file in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
            for read in (count_rows, lambda gt: list(read_gt(gt))):
                with pytest.raises(HanlineError, match="where a regular file is expected"):
                    read(list_file)


class TestFolderWriter:
    def test_writes_what_dtrb_reads(self, tmp_path):
        writer = FolderWriter(tmp_path / "out", "png")
        writer.add([(b"one", "가"), (b"two", "나 다")])
        writer.add([(b"three", "라")])
        assert not (tmp_path / "out").exists()
        assert writer.finish({"made_by": "테스트"}) == tmp_path / "out"
        assert names(tmp_path) == ["out"]
        written = files(tmp_path / "out")
        assert json.loads(written.pop("provenance.json")) == {"made_by": "테스트"}
        assert written == {
            "gt.txt": (
                "images/000000/000000001.png\t가\n"
                "images/000000/000000002.png\t나 다\n"
                "images/000000/000000003.png\t라\n"
            ).encode(),
            "images/000000/000000001.png": b"one",
            "images/000000/000000002.png": b"two",
            "images/000000/000000003.png": b"three",
        }

    def test_what_it_writes_is_read_back(self, tmp_path):
        writer = FolderWriter(tmp_path / "out", "jpg")
        samples = [(b"%d" % i, f"글 {i}") for i in range(1100)]
        writer.add(samples)
        writer.finish({})
        rows = list(read_gt(tmp_path / "out" / "gt.txt"))
        assert [(row.image.read_bytes(), row.label) for row in rows] == samples
        sizes = [len(names(f)) for f in (tmp_path / "out" / "images").iterdir()]
        assert sorted(sizes) == [101, 999]

    def test_never_overwrites(self, tmp_path):
        (tmp_path / "out").mkdir()
        with pytest.raises(HanlineError, match="exists: remove it first"):
            FolderWriter(tmp_path / "out", "png")

    @pytest.mark.parametrize(
        ("left", "done"),
        [
            # Cut in the path, in the label, in a syllable, before the line's end; whole lines.
            *((b"images/0000", 2), ("images/000000/000000003.png\t다라".encode(), 2)),
            *(("images/000000/000000003.png\t다".encode()[:-1], 2), (b"", 2)),
            ("images/000000/000000003.png\t다\nimages".encode(), 3),
        ],
    )
    def test_goes_on_behind_the_last_whole_line(self, tmp_path, left, done):
        samples = [(b"1", "가"), (b"2", "나"), (b"3", "다"), (b"4", "라")]
        whole = FolderWriter(tmp_path / "whole", "png")
        whole.add(samples)
        whole.finish({})
        writer = FolderWriter(tmp_path / "out", "png")
        writer.add(samples[:2])
        # An image is written before its line.
        (tmp_path / "out.partial/images/000000/000000003.png").write_bytes(b"3")
        with (tmp_path / "out.partial" / "gt.txt").open("ab") as gt:
            gt.write(left)
        writer = FolderWriter(tmp_path / "out", "png")
        assert writer.done == done
        writer.add(samples[done:])
        writer.finish({})
        assert files(tmp_path / "out") == files(tmp_path / "whole")

    def test_facts_of_another_run_are_refused(self, tmp_path):
        writer = FolderWriter(tmp_path / "out", "png")
        writer.begin({"seed": 1})
        writer.add([(b"1", "가")])
        other = FolderWriter(tmp_path / "out", "jpg")
        with pytest.raises(HanlineError, match=r"other settings \(seed, image_format\)\."):
            other.begin({"seed": 2, "image_format": "jpg"})
        again = FolderWriter(tmp_path / "out", "png")
        again.begin({"seed": 1})
        assert again.done == 1

    def test_a_full_disk(self, small_disk):
        place = small_disk("300k")
        writer = FolderWriter(place / "out", "png")
        with pytest.raises(HanlineError, match="is full") as error:
            for i in range(100):
                writer.add([(os.urandom(1000), f"{i} {j}") for j in range(10)])
        assert str(place) in str(error.value)
        assert f"after {writer.done} samples of out" in str(error.value)
        assert 0 < writer.done < 300
        assert names(place) == []

    def test_full_when_it_ends(self, small_disk):
        place = small_disk("300k")
        writer = FolderWriter(place / "out", "png")
        writer.add([(b"1", "가")])
        with pytest.raises(HanlineError, match="is full"):
            writer.finish({"much": "x" * 1_000_000})
        assert names(place) == []

    def test_files_that_may_not_grow(self, tmp_path):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_image_folder import write_much; from hanline.errors import HanlineError\n"
            f"try: write_much({str(tmp_path)!r})\n"
            "except HanlineError as error: sys.exit(str(error))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "limit on the size of files" in done.stderr
        assert names(tmp_path) == []


def write_much(root):
    """Write a gt.txt of more than the limit of 20 kB; for a process of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    writer = FolderWriter(f"{root}/out", "png")
    for _ in range(100):
        writer.add([(b"image", "가나다라마바사")] * 100)
    writer.finish({})
