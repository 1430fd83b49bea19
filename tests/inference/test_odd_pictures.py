"""Pictures in memory and files that cannot be read, which cost no other reading."""

import io
import os
import socket
import sys
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from PIL import Image

from hanline.data.image_folder import read_gt
from hanline.data.images import ImageError, decode_image
from hanline.data.packing import pack
from hanline.errors import HanlineError
from hanline.inference.reader import Reader


@pytest.fixture(scope="module")
def reader(checkpoint):
    return Reader(checkpoint, device="cpu", batch_size=3)


def truncated():
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return Image.open(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2]))


def closed():
    file = io.BytesIO()
    Image.new("L", (20, 10)).save(file, "PNG")
    image = Image.open(file)
    image.close()
    return image


def closed_in_memory():
    image = Image.new("L", (20, 10))
    image.close()
    return image


def eps():
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "EPS")
    return Image.open(file)


def grey(*values):
    return Image.fromarray(np.array([values] * 2, dtype=np.float32))


BAD = {
    "truncated": truncated,
    "closed": closed,
    "closed in memory": closed_in_memory,
    "an EPS that was opened": eps,
    "no height": lambda: Image.new("L", (10, 0)),
    "no width": lambda: Image.new("RGB", (0, 10)),
    "an array without width": lambda: np.zeros((10, 0, 3), np.uint8),
    "an array without height": lambda: np.zeros((0, 10), np.uint8),
    "an array of nothing": lambda: np.zeros((), np.uint8),
    "premultiplied grey": lambda: Image.new("La", (20, 10)),
    "NaN": lambda: grey(0, float("nan"), 1),
    "infinite": lambda: grey(0, float("inf")),
    "negative": lambda: grey(-1, 1),
    "beyond 16 bits": lambda: grey(0, 70000),
    "whole numbers beyond 16 bits": lambda: Image.fromarray(np.full((4, 4), 2**20, np.int32)),
    "a path with NUL": lambda: "a\0b.png",
    "a path with half a character": lambda: "\ud800.png",
    "a path too long": lambda: "a" * 5000,
    "no bytes": lambda: b"",
    "a folder": lambda: ".",
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_a_bad_picture_is_a_reading_with_a_problem(make, reader, picture):
    first, bad, last = reader.read([picture("A"), make(), picture("뉴스")])
    assert (first.text, last.text) == ("A", "뉴스")
    assert bad.problem
    assert (bad.text, bad.confidence) == ("", 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        *(None, 3, True, object(), [[b"image"]], [None], [3], [("a.png",)]),
        *(bytearray(b"image"), memoryview(b"image"), [bytearray(b"image")], {"a.png": 1}),
        *(torch.zeros(3, 8, 8), [torch.zeros(3, 8, 8)], torch.zeros(1, dtype=torch.uint8)),
        *(io.BytesIO(b"a\nb\n"), [io.BytesIO(b"a\nb\n")], io.StringIO("a\nb\n")),
        *(PurePosixPath("a.png"), [PurePosixPath("a.png")]),
    ],
)
def test_what_is_no_picture_is_a_type_error_that_says_what_it_takes(wrong, reader):
    with pytest.raises(TypeError, match=r"expected an image: a path \(str or Path\), .* not \w+"):
        reader.read(wrong)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
@pytest.mark.parametrize("in_a_file", [False, True])
def test_grey_in_floating_point_is_read_by_its_range(white, in_a_file, reader, picture):
    image = Image.fromarray((np.asarray(picture("한글")) / 255 * white).astype(np.float32))
    if in_a_file:
        file = io.BytesIO()
        image.save(file, "TIFF")
        image = file.getvalue()
    assert reader.read(image).text == "한글"


def test_floating_point_that_is_no_grey_is_refused():
    file = io.BytesIO()
    grey(0, float("nan")).save(file, "TIFF")
    with pytest.raises(ImageError, match="grey from nan to nan: expected 0 to 1"):
        decode_image(file.getvalue())


@pytest.fixture
def odd_files(tmp_path):
    """Named pipes, devices and a socket that are called images."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such files in its folders")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.png"))
    os.mkfifo(tmp_path / "list")
    return {
        "pipe.png": "a named pipe",
        "zero.png": "a device",
        "null.png": "a device",
        "s.png": "a socket",
    }


def test_what_is_no_regular_file_is_not_waited_for(odd_files, reader, picture, tmp_path):
    picture("A").save(tmp_path / "a.png")
    readings = reader.read([*(tmp_path / name for name in odd_files), tmp_path / "a.png"])
    for reading, kind in zip(readings[:-1], odd_files.values(), strict=True):
        assert reading.problem == f"unreadable file: {kind}, where a regular file is expected"
    assert readings[-1].text == "A"


def test_what_is_no_regular_file_is_a_bad_row(odd_files, picture, tmp_path):
    picture("A").save(tmp_path / "a.png")
    rows = [f"{name}\tA\n" for name in (*odd_files, "a.png")]
    (tmp_path / "gt.txt").write_text("".join(rows), encoding="utf-8")
    report = pack(tmp_path / "gt.txt", tmp_path / "set", processes=1)
    assert report.packed == 1
    for row, kind in zip(report.bad_rows, odd_files.values(), strict=True):
        assert row.problem == f"unreadable file: {kind}, where a regular file is expected"


def test_a_list_that_is_a_pipe_is_refused(odd_files, tmp_path):
    with pytest.raises(HanlineError, match="a named pipe, where a regular file is expected"):
        next(read_gt(tmp_path / "list"))
    with pytest.raises(HanlineError, match="a named pipe, where a regular file is expected"):
        pack(tmp_path / "list", tmp_path / "set", processes=1)
