"""Forged and damaged image files, for the Reader and for pack."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from support.attack import chance, mutated

from hanline.data.lmdb_store import LMDBStore
from hanline.data.packing import pack
from hanline.inference.reader import Reader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child is forked, to die alone")
FEW, MANY = 3, 45
COUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.attack)]
FORMATS = {
    "PNG": {},
    "PNG, 16-bit": {},
    "PNG, palette": {},
    "JPEG": {},
    "JPEG, progressive": {"progressive": True},
    "BMP": {},
    "WebP": {},
    "WebP, lossless": {"lossless": True},
    "TIFF": {},
    "TIFF, deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF, floating point": {},
    "GIF": {"save_all": True},
    "AVIF": {},
    "JPEG2000": {},
    "PPM": {},
    "EPS": {},
    "PDF": {},
    "ICO": {},
    "TGA": {},
    "SGI": {},
}


def sound(name, word):
    """A file of a format, with a word that is read."""
    image = word.convert("RGB")
    if name == "PNG, 16-bit":
        image = Image.fromarray(np.asarray(word, dtype=np.uint16) * 257)
    elif name == "PNG, palette":
        image = word.convert("P")
    elif name == "TIFF, floating point":
        image = Image.fromarray(np.asarray(word, dtype=np.float32) / 255)
    options = dict(FORMATS[name])
    if name == "GIF":
        image = word
        options["append_images"] = [word.rotate(3), word.rotate(5)]
    file = io.BytesIO()
    image.save(file, name.split(",")[0].upper(), **options)
    return file.getvalue()


def forged():
    """Files that claim more than they hold."""

    def png(width, height, depth=8, color=0, rows=b""):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4)

        head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
        body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body

    bomb = zlib.compress(bytes(50_000_000))
    text = struct.pack(">I", len(bomb) + 3) + b"zTXta\0\0" + bomb
    return {
        "PNG of 60,000 × 60,000": png(60_000, 60_000),
        "PNG of 2^31 × 2^31": png(2**31 - 1, 2**31 - 1),
        "PNG without width": png(0, 10),
        "PNG of depth 3": png(8, 8, depth=3),
        "PNG of one line of 100,000": png(100_000, 1, rows=bytes(100_001)),
        "PNG of a million lines": png(1, 1_000_000, rows=bytes(2_000_000)),
        "PNG with a filter 9": png(2, 2, rows=b"\t\0\0\t\0\0"),
        "PNG with more rows than it says": png(2, 2, rows=bytes(10_000_000)),
        "PNG with text that unpacks to 50 MB": png(4, 4, rows=bytes(20))[:33] + text,
        "PPM of 10^9 lines": b"P6 1 1000000000 255\n",
        "PPM of negative size": b"P5 -1 -1 255\n\0",
        "PPM of endless digits": b"P6 " + b"9" * 100_000,
        "BMP of height -2^31": b"BM"
        + bytes(12)
        + struct.pack("<IiiHHI", 40, 8, -(2**31), 1, 24, 0)
        + bytes(40),
        "GIF of no frame": b"GIF89a\1\0\1\0\0\0\0;",
        "TIFF whose directory points to itself": b"II*\0\10\0\0\0\0\0\10\0\0\0",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n%%EOF",
        "nothing": b"",
        "a byte": b"\x89",
        "text": "속보".encode(),
        "zeros": bytes(100_000),
    }


@pytest.fixture(scope="module")
def files(picture, words):
    """Makes named image files, ``count`` of each format, and those that are forged."""

    def make(count):
        rng = chance("images")
        whole = {name: sound(name, picture(words[4])) for name in FORMATS}
        made = list(forged().items())
        for name, content in whole.items():
            others = list(whole.values())
            for number in range(count):
                made.append((f"{name} {number}", mutated(content, rng, others)))
        return made

    return make


@pytest.fixture(scope="module")
def reader(checkpoint):
    return Reader(checkpoint, device="cpu", batch_size=4)


def test_whole_files_are_read(reader, picture, words):
    refused = {"EPS", "PDF", "ICO", "TGA", "SGI"}
    for name in FORMATS:
        reading = reader.read(sound(name, picture(words[4])))
        assert bool(reading.problem) == (name in refused), name
        assert reading.text in ("", words[4])


@pytest.mark.parametrize("count", COUNTS)
def test_a_forged_image_is_a_reading_with_a_problem_and_costs_no_other(
    count, files, reader, picture, words, tally
):
    def read(content):
        return reader.read([picture(words[4]), content, picture(words[5])])

    def judge(what, readings):
        first, reading, last = readings
        assert (first.text, last.text) == (words[4], words[5])
        assert 0 <= reading.confidence <= 1
        assert not (reading.problem and reading.text)
        assert "\n" not in reading.problem

    with tally("images, by the Reader") as attempts:
        attempts.in_child(read, files(count), judge)


@pytest.mark.parametrize("count", COUNTS)
def test_a_forged_image_is_a_bad_row_or_packed_unchanged(
    count, files, picture, words, tmp_path, tally
):
    given = files(count)
    (tmp_path / "images").mkdir()
    rows = []
    for number, (_, content) in enumerate(given):
        (tmp_path / "images" / f"{number}.png").write_bytes(content)
        rows.append(f"images/{number}.png\t{number}\n")
    picture(words[4]).save(tmp_path / "images" / "sound.png")
    rows.insert(len(rows) // 2, "images/sound.png\tsound\n")
    (tmp_path / "gt.txt").write_text("".join(rows), encoding="utf-8")

    def packed(_):
        report = pack(tmp_path / "gt.txt", tmp_path / "set", processes=1)
        store = LMDBStore(tmp_path / "set")
        bad = {row.label for row in report.bad_rows}
        return bad, {label: image for image, label in store.read(range(len(store)))}

    with tally("images, by pack") as attempts:
        results = []
        attempts.in_child(
            packed, [("all", None)], lambda _, result: results.append(result), tmp_path, 600
        )
        bad, images = results[0]
        assert bad | images.keys() == {*map(str, range(len(given))), "sound"}
        assert "sound" in images
        for number, (what, content) in enumerate(given):
            with attempts.one(what):
                assert str(number) in bad or images[str(number)] == content
