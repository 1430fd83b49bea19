"""Damaged LMDB files, and lists of samples that nobody wrote by hand."""

import os
import shutil
import sys

import pytest
from support.attack import REFUSED, chance, mutated
from support.damaged_lmdb import SAMPLES, damage, read_all, whole

from hanline.data.image_folder import count_rows, read_gt
from hanline.data.packing import pack
from hanline.errors import HanlineError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child is forked, to die alone")
ATTACK = pytest.mark.attack


@pytest.fixture
def encode():
    import io

    def encode(image):
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    return encode


@pytest.mark.parametrize("count", [6, pytest.param(240, marks=ATTACK)])
@pytest.mark.parametrize("checksums", [True, False], ids=["checksums", "as DTRB's"])
def test_a_damaged_lmdb_file_is_refused_or_read_right(count, checksums, encode, tmp_path, tally):
    source, expected = whole(tmp_path / "whole", encode, checksums)
    content = (source / "data.mdb").read_bytes()
    rng = chance(f"lmdb {checksums}")
    given = []
    for number in range(count):
        if number % 3:
            # The way in which a disk damages; the number chooses the kind.
            changed = bytes(damage(bytearray(content), rng.randrange(2**30)))
        else:
            changed = mutated(content, rng)
        given.append((number, changed))

    def read(changed):
        path = tmp_path / "damaged"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(source, path)
        (path / "data.mdb").write_bytes(changed)
        return read_all(path)

    def judge(_, outcome):
        if outcome == REFUSED:
            return
        samples, labels = outcome
        if checksums:
            assert len(samples) == len(labels) == SAMPLES
            for (image, label, problem), known, sample in zip(
                samples, labels, expected, strict=True
            ):
                assert problem or (image, label) == sample
                assert known in (None, sample[1])

    with tally(f"LMDB files, {'with' if checksums else 'without'} checksums") as attempts:
        attempts.in_child(read, given, judge, writable=tmp_path)


ROW = "images/가.png\t속보 1\n".encode()
LINES = [
    ROW,
    ROW.replace(b"\n", b"\r\n"),
    b"\xef\xbb\xbf" + ROW,
    b"no tab\n",
    b"\t\n",
    b"\n",
    b"images\\a.png\tb\tc\n",
    b"/dev/zero\tb\n",
    b"/dev/stdin\tb\n",
    b"pipe\tb\n",
    b"../../../../etc/passwd\tb\n",
    b"loop\tb\n",
    b"a\0b.png\tc\n",
    b"\xff\xfe\tb\n",
    "a.png\t\u202e\u200b\ud7b0\n".encode(),
    b"x" * 100_000 + b"\ty\n",
    b"images/" + b"a/" * 3000 + b".png\ty\n",
    b"images/\xea\xb0\x80.png\t" + b"z" * 100_000 + b"\n",
    "속보".encode("utf-16"),
    "속보\t속보\n".encode("cp949"),
    b"~\tb\n",
    b".\tb\n",
    b"$(touch mark)\tb\n",
]


@pytest.mark.parametrize("count", [20, pytest.param(300, marks=ATTACK)])
def test_a_forged_gt_txt_is_refused_or_its_rows_are_told(count, picture, tmp_path, tally):
    folder = tmp_path / "folder"
    (folder / "images").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    picture("A").save(folder / "images" / "가.png")
    rng = chance("gt.txt")
    given = []
    for number in range(count):
        content = b"".join(rng.choices(LINES, k=rng.randint(0, 8)))
        given.append((number, mutated(content, rng, LINES) if content and number % 2 else content))

    def read(content):
        gt = folder / "gt.txt"
        gt.write_bytes(content)
        before = {*tmp_path.rglob("*")}
        output = tmp_path / "set"
        try:
            rows = list(read_gt(gt))
            assert len(rows) == count_rows(gt)
            report = pack(gt, output, processes=1)
            assert report.packed + len(report.bad_rows) == len(rows)
        except HanlineError:
            assert {*tmp_path.rglob("*")} == before, "a refused list leaves something"
            raise
        shutil.rmtree(output)
        assert {*tmp_path.rglob("*")} == before, "something else was written"

    with tally("gt.txt") as attempts:
        attempts.in_child(read, given, writable=tmp_path)
