"""Which decoders an image file can reach: those of the raster formats, and no other program."""

import io
import json
import os
import sys

import pytest
from PIL import Image

from hanline.data.images import ImageError, aspect_of, check_image, decode_image
from hanline.raster import FORMATS, NO_IMAGE

Image.init()
OTHERS = sorted(set(Image.OPEN) - set(FORMATS))
# How files of the formats begin that Pillow reads and does not write.
BEGINNINGS = {
    "BUFR": b"BUFR",
    "CUR": b"\0\0\2\0\1\0",
    "DCX": (987654321).to_bytes(4, "little"),
    "FITS": b"SIMPLE  =                    T",
    "FLI": b"\0\0\0\0\x11\xaf\1\0\x10\0\x10\0\x08\0\x03\0",
    "FTEX": b"FTEX",
    "GBR": b"\0\0\0\x1c\0\0\0\2",
    "GRIB": b"GRIB\0\0\0\1",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "IMT": b"width 8\nheight 8\n",
    "IPTC": b"\x1c\x02\x00\x00\x02",
    "MCIDAS": b"\0\0\0\0\0\0\0\4",
    "MPEG": b"\0\0\1\xb3\0\x80\x08",
    "PCD": b"\0" * 2048 + b"PCD_",
    "PIXAR": b"\200\350\000\000",
    "PSD": b"8BPS\0\1",
    "SUN": b"\x59\xa6\x6a\x95",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0",
    "XPM": b"/* XPM */",
    "XVTHUMB": b"P7 332",
    "ICNS": b"icns",
    "QOI": b"qoif\0\0\0\1\0\0\0\1\3\0",
}


def content(file_format):
    """A file of a format; at least its beginning."""
    if file_format in BEGINNINGS:
        return BEGINNINGS[file_format] + b"\0" * 200
    mode = {"MSP": "1", "XBM": "1", "SPIDER": "F"}.get(file_format, "RGB")
    if file_format == "BLP":
        mode = "P"
    file = io.BytesIO()
    Image.new(mode, (32, 32)).save(file, file_format)
    return file.getvalue()


def test_what_the_readme_promises_is_among_them():
    assert {"JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"} < set(FORMATS) <= set(Image.OPEN)


@pytest.mark.parametrize("file_format", OTHERS)
def test_no_other_decoder_is_reached(file_format):
    made = content(file_format)
    _, accepts = Image.OPEN[file_format]
    # Left to itself, Pillow would take it.
    assert accepts is None or accepts(made[:16])
    with pytest.raises(ImageError) as error:
        decode_image(made)
    assert str(error.value) == NO_IMAGE
    for look in (check_image, aspect_of):
        with pytest.raises(ImageError):
            look(made)


SCRIPT = """
import json, sys
from pathlib import Path

started = []
NAMES = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.startfile", "os.fork")

def notice(event, arguments):
    # With ldconfig, ctypes looks for a library.
    if event in NAMES and "ldconfig" not in repr(arguments):
        started.append([event, repr(arguments)])

sys.addaudithook(notice)
from hanline import Reader
from hanline.commands import pack, predict

folder, checkpoint = map(Path, sys.argv[1:])
statuses = []
for task, *arguments in (
    (predict, f"input={folder}", f"checkpoint={checkpoint}", "device=cpu"),
    (pack, f"input={folder / 'gt.txt'}", "output=packed", "processes=1"),
):
    sys.argv = ["hanline", *arguments]
    try:
        task.main()
        statuses.append(0)
    except SystemExit as ended:
        statuses.append(ended.code)
file = folder / "eps.png"
readings = Reader(checkpoint, "cpu").read([file, file.read_bytes()])
problems = [reading.problem for reading in readings]
from hanline.data.dataset import LMDBDataset
from hanline.data.labels import LabelRules
from hanline.data.images import ImageFormat
from hanline.data.lmdb_writer import LMDBWriter
from hanline.text.charset import Charset

writer = LMDBWriter(Path("set"), resume=False)
writer.add([(file.read_bytes(), "A"), ((folder / "a.png").read_bytes(), "A")])
writer.finish({})
rules = LabelRules(Charset("A"), 5, lowercase=False, invalid="skip")
dataset = LMDBDataset([Path("set")], ImageFormat(32, 100, 1, False), rules)
assert len(dataset.__getitems__([0, 1]).labels) == 1
Path("told.json").write_text(
    json.dumps({"started": started, "statuses": statuses, "problems": problems})
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the program that stands for gs is a script")
def test_an_eps_starts_no_program_and_costs_no_other_reading(
    process, checkpoint, picture, tmp_path
):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    ghostscript = bin_folder / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'mark'}\nexit 1\n", encoding="utf-8")
    ghostscript.chmod(0o755)
    folder = tmp_path / "images"
    folder.mkdir()
    picture("A").save(folder / "a.png")
    (folder / "eps.png").write_bytes(content("EPS"))
    (folder / "wmf.tif").write_bytes(content("WMF"))
    (folder / "gt.txt").write_text("a.png\tA\neps.png\tB\nwmf.tif\tC\n", encoding="utf-8")
    ended = process(
        "-c", SCRIPT, folder, checkpoint,
        PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert told["started"] == []
    assert told["statuses"] == [1, 0]
    assert told["problems"] == [NO_IMAGE, NO_IMAGE]
    assert not (tmp_path / "mark").exists()
    readings = (tmp_path / "readings.tsv").read_text(encoding="utf-8").splitlines()
    assert readings[1].startswith("a.png\tA\t")
    assert [line.split("\t")[3] for line in readings[2:]] == [NO_IMAGE, NO_IMAGE]
    assert "2 × broken image" in ended.out + ended.err
    assert (tmp_path / "packed" / "data.mdb").is_file()
