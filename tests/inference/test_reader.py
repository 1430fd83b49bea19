"""Image files of all kinds, read with a recogniser that knows ten words."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hanline.errors import HanlineError
from hanline.formats.registry import open_model
from hanline.inference.reader import Reader, Reading, image_files, natural_key
from hanline.raster import NO_IMAGE

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def reader(checkpoint):
    return Reader(checkpoint, device="cpu", batch_size=3)


def in_16_bits(image):
    return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)


def ink_alone(image):
    """Black ink on what is transparent."""
    made = Image.new("RGBA", image.size, (0, 0, 0, 0))
    made.putalpha(image.point(lambda value: 255 - value))
    return made


def palette_with_transparency(image):
    """Ink in the colours of a palette whose paper colour is transparent and black."""
    made = image.point(lambda value: 255 if value > 127 else 0).convert("P")
    made.putpalette([0, 0, 0] * 256)
    made.info["transparency"] = made.getpixel((0, 0))
    return made


# A file's name, what becomes of the grey picture, and how it is written.
KINDS = {
    "png": ("a.png", lambda image: image, {}),
    "jpeg": ("a.jpg", lambda image: image, {"quality": 95}),
    "progressive jpeg in colour": (
        "a.jpeg",
        lambda image: image.convert("RGB"),
        {"quality": 95, "progressive": True},
    ),
    "cmyk jpeg": ("a.JPG", lambda image: image.convert("RGB").convert("CMYK"), {"quality": 95}),
    "cmyk tiff": ("a.tiff", lambda image: image.convert("RGB").convert("CMYK"), {}),
    "bmp": ("a.bmp", lambda image: image.convert("RGB"), {}),
    "webp": ("a.webp", lambda image: image.convert("RGB"), {"lossless": True}),
    "tiff": ("a.TIF", lambda image: image, {"compression": "tiff_lzw"}),
    "gif": ("a.gif", lambda image: image, {}),
    "ppm": ("a.ppm", lambda image: image.convert("RGB"), {}),
    "16-bit png": ("a.png", in_16_bits, {}),
    "16-bit tiff": ("a.tif", in_16_bits, {}),
    "palette": ("a.png", lambda image: image.convert("RGB").quantize(16), {}),
    "palette with transparency": ("a.png", palette_with_transparency, {}),
    "transparency": ("a.png", ink_alone, {}),
    "grey with transparency": ("a.png", lambda image: ink_alone(image).convert("LA"), {}),
    "one bit": ("a.png", lambda image: image.convert("1", dither=Image.Dither.NONE), {}),
    "large": ("a.png", lambda image: image.resize((960, 320), Image.Resampling.BICUBIC), {}),
}


@pytest.mark.parametrize("name, change, options", KINDS.values(), ids=KINDS.keys())
def test_a_picture_is_read_whatever_its_file(
    name, change, options, reader, picture, words, tmp_path
):
    files = []
    for number, word in enumerate(words):
        files.append(tmp_path / f"{number}{name}")
        change(picture(word)).save(files[-1], **options)
    readings = list(reader.readings(files))
    assert [reading.problem for reading in readings] == [""] * len(words)
    assert [reading.text for reading in readings] == words
    assert min(reading.confidence for reading in readings) > 0.1


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(
    "orientation, undo",
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_picture_is_turned_as_its_exif_says(orientation, undo, suffix, reader, picture, tmp_path):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lying = picture("한글").transpose(undo)
    # Lossless where it can be.
    options = {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    lying.save(path, exif=exif, **options)
    lying.save(tmp_path / "plain.png")
    turned, plain = reader.read([path, tmp_path / "plain.png"])
    assert turned.text == "한글"
    assert plain.text != "한글"


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_of_an_animation_counts(name, reader, picture, tmp_path):
    path = tmp_path / name
    options = {"lossless": True} if name.endswith("webp") else {}
    frames = [picture(word) for word in ("뉴스", "가나", "A")]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert Image.open(path).n_frames == 3
    assert next(reader.readings([path])).text == "뉴스"


def test_a_picture_of_a_hundred_megapixels_is_read(reader, picture, tmp_path, recwarn):
    large = picture("한글").convert("1", dither=Image.Dither.NONE).resize((18000, 6000))
    large.save(tmp_path / "large.tif", compression="group4")
    assert next(reader.readings([tmp_path / "large.tif"])).text == "한글"
    assert not [w for w in recwarn if w.category is Image.DecompressionBombWarning]


def test_a_far_too_large_picture_is_refused_with_the_reason(reader, picture, tmp_path):
    Image.new("1", (20000, 20000)).save(tmp_path / "huge.png")
    picture("A").save(tmp_path / "a.png")
    huge, good = reader.read([tmp_path / "huge.png", tmp_path / "a.png"])
    assert huge.problem.startswith("too large")
    assert huge.text == ""
    assert good.text == "A"


def test_what_cannot_be_read_does_not_disturb_the_rest(reader, picture, words, tmp_path):
    files = []
    for number, word in enumerate(words):
        path = tmp_path / f"{number}.png"
        picture(word).save(path)
        whole = path.read_bytes()
        files += [path, tmp_path / f"{number}cut.png"]
        files[-1].write_bytes(whole[: len(whole) // 2])
    text = tmp_path / "text.jpg"
    text.write_text("속보", encoding="utf-8")
    empty = tmp_path / "empty.bmp"
    empty.touch()
    readings = list(reader.readings([text, *files, empty, tmp_path / "gone.png"]))
    assert [reading.text for reading in readings[1:-2:2]] == words
    problems = [reading.problem for reading in (readings[0], *readings[-2:])]
    assert problems == [NO_IMAGE, NO_IMAGE, "no such file"]
    for cut in readings[2:-2:2]:
        assert cut.problem.startswith("damaged image")
        assert (cut.text, cut.confidence) == ("", 0.0)


def test_only_unreadable_files_are_no_error(reader, tmp_path):
    gone = [tmp_path / f"{i}.png" for i in range(7)]
    assert list(reader.readings(gone)) == [Reading(problem="no such file")] * 7
    assert list(reader.readings([])) == []


def test_bytes_are_read_as_files_are(reader, picture, tmp_path):
    path = tmp_path / "a.png"
    picture("속보 1").save(path)
    from_path, from_bytes = reader.read([path, path.read_bytes()])
    assert from_path == from_bytes
    assert from_path.text == "속보 1"


@pytest.mark.processor
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_change_nothing(batch_size, checkpoint, reader, picture, words, tmp_path):
    files = []
    for number, word in enumerate(words):
        files.append(tmp_path / f"{number}.png")
        picture(word).save(files[-1])
    other = Reader(checkpoint, device="cpu", batch_size=batch_size)
    for reading, same in zip(reader.read(files), other.read(files), strict=True):
        assert reading.text == same.text
        assert reading.confidence == pytest.approx(same.confidence, rel=1e-4)


def test_images_are_taken_only_as_they_are_needed(reader, picture, tmp_path):
    picture("A").save(tmp_path / "a.png")
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield tmp_path / "a.png"

    readings = reader.readings(endless())
    assert [next(readings).text for _ in range(5)] == ["A"] * 5
    assert taken < 40
    readings.close()


@pytest.mark.processor
def test_whatever_is_handed_over(reader, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    image = Image.fromarray(pixels)
    image.save(path)
    one = reader.read(path)
    assert reader.read(str(path)) == reader.read(image) == reader.read(pixels) == one
    # A batch of three is multiplied in another order than one image, so it has a batch beside it.
    three = [path.read_bytes(), image, pixels[:, :, [0, 1, 2]]]
    assert reader.read(three) == reader.read([path] * 3)
    grey = reader.read(image.convert("L"))
    assert reader.read(np.asarray(image.convert("L"))) == grey
    assert reader.read(np.asarray(image.convert("L"))[:, :, None]) == grey
    for wrong in (pixels.astype(np.float32), pixels[None], pixels[:, :, :2]):
        assert "it takes uint8" in reader.read(wrong).problem


def test_the_checkpoints_own_size_colours_and_characters_are_used(
    make_recognizer, save_checkpoint, tmp_path
):
    recognizer = make_recognizer("tps", "vgg", charset="韓美", image=(48, 64, 3)).eval()
    file = save_checkpoint(recognizer, tmp_path / "a.ckpt")
    reader = Reader(file, "cpu", precision="32-true")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (reading,) = reader.read([tmp_path / "a.png"])
    (text,), (confidence,) = recognizer.read(torch.from_numpy(pixels.transpose(2, 0, 1))[None])
    assert reading.text == text
    assert reading.confidence == pytest.approx(confidence, rel=1e-3)
    assert set(reading.text) <= set("韓美")


def test_a_recogniser_reads_in_evaluation(checkpoint):
    recognizer = open_model(checkpoint).train()
    Reader(recognizer, "cpu")
    assert not any(module.training for module in recognizer.modules())


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu", "meta", "", "cpu:x"])
def test_a_device_that_is_not_there_is_told(device, checkpoint):
    with pytest.raises(HanlineError, match="no device"):
        Reader(checkpoint, device)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_holds_at_least_one_image(batch_size, checkpoint):
    with pytest.raises(HanlineError, match=f"batch_size is {batch_size}"):
        Reader(checkpoint, "cpu", batch_size)


def test_files_come_in_natural_order_with_those_of_sub_folders(tmp_path):
    names = [
        "b/img1.png",
        "img1.png",
        "img2.PNG",
        "img10.jpg",
        "IMG11.JpEg",
        "img100.bmp",
        "가 1/끝.webp",
        "가 2/2.tif",
        "가 2/10.TIFF",
        "가 10/1.gif",
        "나.png",
    ]
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for other in ("gt.txt", "notes.md", "png", "a.png.partial"):
        (tmp_path / other).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)] == names


def test_names_that_differ_in_case_alone_have_an_order(tmp_path):
    names = ["A.png", "a.png", "B.png", "b.png"]
    for order in itertools.permutations(names):
        assert sorted(order, key=natural_key) == names


def test_all_kinds_of_digits_have_an_order():
    names = ["a2.png", "a10.png", "a²3.png", "a٢.png", "10.png", "९.png", "㉑.png", ".png", ""]
    assert len({str(natural_key(name)) for name in names}) == len(names)
    assert sorted(names, key=natural_key) == sorted(names, key=natural_key)


def test_a_link_that_leads_nowhere_is_told_like_a_missing_file(reader, picture, tmp_path):
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone.png")
    picture("2").save(tmp_path / "good.png")
    files = image_files(tmp_path)
    assert [path.name for path in files] == ["broken.png", "good.png"]
    assert [(r.text, r.problem) for r in reader.read(files)] == [("", "no such file"), ("2", "")]


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_told(reader, picture, tmp_path):
    picture("2").save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    (reading,) = reader.read([tmp_path / "a.png"])
    assert "ermission" in reading.problem


def test_a_single_file_is_taken_whatever_its_name(picture, reader, tmp_path):
    path = tmp_path / "scan"
    picture("10").save(path, "PNG")
    assert image_files(path) == [path]
    assert next(reader.readings([path])).text == "10"


def test_a_folder_without_images_is_told(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(HanlineError, match=r"no image in .*\.jpeg .*\.png"):
        image_files(tmp_path)
    with pytest.raises(HanlineError, match="there is no folder"):
        image_files(Path("nowhere"))
