import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

from hanline.data.images import ImageError, ImageFormat, check_image, decode_image, to_pixels
from hanline.errors import HanlineError

FORMATS = ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"] + ["AVIF"] * features.check("avif")
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def format_of(height=32, width=100, channels=1, keep_ratio=False):
    return ImageFormat(height, width, channels, keep_ratio)


def noise(width, height, mode="RGB", seed=0):
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def with_text(mode, text_color, behind):
    """A picture a tenth of which is 'text', the rest being what is behind it."""
    image = Image.new(mode, (100, 20), behind)
    ImageDraw.Draw(image).rectangle((20, 5, 39, 14), fill=text_color)
    return image


def text_and_paper(image):
    image = image.convert("RGB")
    return image.getpixel((30, 10)), image.getpixel((80, 10))


class TestModes:
    @pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_plain_images_stay_what_they_are(self, encode, mode, file_format):
        image = noise(30, 20, mode)
        decoded = decode_image(encode(image, file_format))
        assert decoded.mode == mode
        assert np.array_equal(np.asarray(decoded), np.asarray(image))

    def test_a_path_does_as_well(self, tmp_path):
        noise(30, 20).save(tmp_path / "a.png")
        assert decode_image(tmp_path / "a.png").tobytes() == noise(30, 20).tobytes()

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_no_file_is_mapped_into_memory(self, encode, orientation, tmp_path):
        # Pillow maps uncompressed TIFFs that it opens itself, and turns those wrongly.
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encode(noise(30, 20, "L"), "TIFF", exif=exif)
        (tmp_path / "a.tif").write_bytes(content)
        from_path, from_bytes = decode_image(tmp_path / "a.tif"), decode_image(content)
        assert from_path.size == from_bytes.size
        assert from_path.tobytes() == from_bytes.tobytes()

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize(("text", "paper"), [(0, 255), (255, 0), (60, 255), (200, 0)])
    @pytest.mark.parametrize("below", [0, 255])
    def test_text_on_nothing_gets_paper_that_shows_it(self, encode, mode, text, paper, below):
        bands = 3 if mode == "RGBA" else 1
        # What colour a transparent pixel has must not matter.
        image = with_text(mode, (text,) * bands + (255,), (below,) * bands + (0,))
        decoded = decode_image(encode(image))
        assert text_and_paper(decoded) == ((text,) * 3, (paper,) * 3)
        assert decoded.mode == "RGB"

    @pytest.mark.parametrize("file_format", ["PNG", "GIF"])
    @pytest.mark.parametrize(("text", "paper"), [(BLACK, WHITE), (WHITE, BLACK)])
    def test_palette_with_transparency(self, encode, text, paper, file_format):
        image = with_text("P", 1, 0)
        image.putpalette([9, 99, 199, *text])
        decoded = decode_image(encode(image, file_format, transparency=0))
        assert text_and_paper(decoded) == (text, paper)

    def test_palette_without_transparency(self, encode):
        image = with_text("P", 1, 0)
        image.putpalette([9, 99, 199, 250, 150, 50])
        assert text_and_paper(decode_image(encode(image))) == ((250, 150, 50), (9, 99, 199))

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_a_transparent_colour(self, encode, mode):
        behind = 7 if mode == "L" else (7, 7, 7)
        image = with_text(mode, 0 if mode == "L" else BLACK, behind)
        decoded = decode_image(encode(image, transparency=behind))
        assert text_and_paper(decoded) == (BLACK, WHITE)

    def test_light_text_on_its_own_paper_keeps_it(self, encode):
        # Wholly opaque, or nearly so: the paper is in the picture.
        image = with_text("RGBA", (255, 255, 255, 255), (0, 0, 80, 255))
        assert text_and_paper(decode_image(encode(image))) == (WHITE, (0, 0, 80))

    def test_light_paper_with_clear_corners_is_no_light_text(self, encode):
        image = with_text("RGBA", (0, 0, 0, 255), (250, 250, 250, 255))
        ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill=(0, 0, 0, 0))
        assert decode_image(encode(image)).getpixel((4, 4)) == WHITE

    def test_half_transparent_is_mixed_with_the_paper(self, encode):
        image = with_text("RGBA", (0, 0, 0, 128), (0, 0, 0, 0))
        text, paper = text_and_paper(decode_image(encode(image)))
        assert paper == WHITE
        assert text == pytest.approx((127, 127, 127), abs=1)

    def test_nothing_but_transparency_is_white(self, encode):
        image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
        assert decode_image(encode(image)).getcolors() == [(100, WHITE)]

    def test_cmyk_jpeg(self, encode):
        image = with_text("CMYK", (0, 0, 0, 255), (0, 200, 200, 0))
        text, paper = text_and_paper(decode_image(encode(image, "JPEG", quality=95)))
        assert text == pytest.approx((0, 0, 0), abs=8)
        assert paper == pytest.approx((255, 55, 55), abs=8)

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
    def test_16_bit_grey_loses_its_lower_bits(self, encode, file_format):
        values = np.array([[0, 257, 128 * 257, 255 * 257] * 5] * 9, dtype=np.uint16)
        decoded = decode_image(encode(Image.fromarray(values), file_format))
        assert decoded.mode == "L"
        assert np.asarray(decoded)[0, :4].tolist() == [0, 1, 128, 255]

    def test_dark_16_bit_grey_stays_dark(self, encode):
        values = np.full((8, 8), 200, dtype=np.uint16)  # less than a 255th of the range
        assert np.asarray(decode_image(encode(Image.fromarray(values)))).max() == 0

    def test_1_bit(self, encode):
        decoded = decode_image(encode(with_text("1", 0, 1)))
        assert decoded.mode == "L"
        assert text_and_paper(decoded) == (BLACK, WHITE)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    def test_exif_rotation_is_done(self, encode, orientation, file_format):
        upright = Image.new("L", (60, 20), 255)
        ImageDraw.Draw(upright).rectangle((0, 0, 15, 7), fill=0)  # dark at the top left
        transposition = Image.Transpose
        # How the camera held it: what undoes the rotation that the orientation asks for.
        stored = {
            1: None,
            2: transposition.FLIP_LEFT_RIGHT,
            3: transposition.ROTATE_180,
            4: transposition.FLIP_TOP_BOTTOM,
            5: transposition.TRANSPOSE,
            6: transposition.ROTATE_90,
            7: transposition.TRANSVERSE,
            8: transposition.ROTATE_270,
        }[orientation]
        image = upright if stored is None else upright.transpose(stored)
        exif = Image.Exif()
        exif[0x0112] = orientation
        decoded = decode_image(encode(image, file_format, exif=exif)).convert("L")
        assert decoded.size == (60, 20)
        corners = [decoded.getpixel(at) > 128 for at in ((4, 3), (55, 3), (4, 16), (55, 16))]
        assert corners == [False, True, True, True]

    @pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_the_first_frame_of_an_animation_counts(self, encode, file_format):
        frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue", "lime")]
        options = {"lossless": True} if file_format == "WEBP" else {}
        content = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
        with Image.open(io.BytesIO(content)) as image:
            assert image.n_frames == 3
        assert decode_image(content).convert("RGB").getcolors() == [(200, (255, 0, 0))]


class TestDamaged:
    @pytest.mark.parametrize("file_format", FORMATS)
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_cut_off(self, encode, file_format, share):
        content = encode(noise(120, 60), file_format)
        with pytest.raises(ImageError):
            decode_image(content[: int(share * len(content))])

    @pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"text, no picture"])
    def test_no_image(self, tmp_path, content):
        file = tmp_path / "a.png"
        file.write_bytes(content)
        for what in (file, content):
            with pytest.raises(ImageError):
                decode_image(what)

    def test_the_message_says_what_it_is(self, encode, tmp_path):
        with pytest.raises(ImageError, match="no image of a known format"):
            decode_image(b"just text")
        with pytest.raises(ImageError, match="no such file"):
            decode_image(tmp_path / "missing.png")
        with pytest.raises(ImageError, match="unreadable file: "):
            decode_image(tmp_path)
        with pytest.raises(ImageError, match="damaged image"):
            decode_image(encode(noise(30, 20))[:-30])

    def test_a_decompression_bomb(self):
        # 400 megapixels of one colour in 50 kB.
        def chunk(name, data):
            checksum = zlib.crc32(name + data)
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

        header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
        rows = zlib.compress(bytes(2501) * 20_000, 9)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
        bomb += chunk(b"IEND", b"")
        assert len(bomb) < 100_000
        with pytest.raises(ImageError, match="too large"):
            decode_image(bomb)

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    @pytest.mark.parametrize("file_format", FORMATS)
    def test_whatever_the_bytes_the_error_is_ours(self, encode, file_format):
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {} if file_format in ("GIF", "BMP") else {"exif": exif}
        whole = encode(noise(40, 20), file_format, **options)
        rng = random.Random(file_format)
        refused = 0
        for _ in range(150):
            damaged = bytearray(whole)
            within = rng.choice([60, 400, len(whole)])
            for _ in range(rng.choice([1, 3, 20])):
                damaged[rng.randrange(min(within, len(whole)))] = rng.randrange(256)
            try:
                decode_image(bytes(damaged))
            except ImageError:
                refused += 1
        assert refused > 5


class TestPlainPng:
    """PNGs without anything but pixels are not given to Pillow's reader, and nobody can tell."""

    @staticmethod
    def read_by_pillow(content):
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                return image.mode, image.size, image.tobytes()
        except Exception:
            return None

    @staticmethod
    def read(content):
        try:
            image = decode_image(content)
        except ImageError:
            with pytest.raises(ImageError):
                check_image(content)
            return None
        check_image(content)
        return image.mode, image.size, image.tobytes()

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (97, 33), (300, 400)])
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_of_any_size(self, encode, mode, size, level):
        content = encode(noise(*size, mode), compress_level=level)
        assert self.read(content) == self.read_by_pillow(content)

    def test_with_every_filter(self):
        rows = np.random.default_rng(1).integers(0, 256, (5, 31), dtype=np.uint8)
        rows[:, 0] = range(5)
        content = b"\x89PNG\r\n\x1a\n"
        for kind, data in (
            (b"IHDR", struct.pack(">II5B", 30, 5, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows.tobytes())),
            (b"IEND", b""),
        ):
            crc = zlib.crc32(kind + data)
            content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
        assert self.read(content) == self.read_by_pillow(content)
        assert self.read(content)[:2] == ("L", (30, 5))

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    def test_damaged_anywhere(self, encode, mode):
        image = Image.new(mode, (40, 20), "white")
        ImageDraw.Draw(image).ellipse((3, 3, 30, 15), fill="black")
        whole = encode(image)
        read = 0
        for place in range(len(whole)):
            for value in (0, 1, whole[place] ^ 1, 255):
                damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
                found = self.read(damaged)
                # A byte can make it another kind of PNG, which as_seen changes.
                if found and found[0] == mode:
                    assert found == self.read_by_pillow(damaged), place
                    read += 1
        assert read > 20

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_cut_off_anywhere(self, encode, mode):
        whole = encode(noise(9, 7, mode))
        for length in range(len(whole)):
            assert self.read(whole[:length]) == self.read_by_pillow(whole[:length])


class TestToPixels:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("size", [(37, 21), (100, 32), (400, 9), (3, 70)])
    def test_stretches_as_pillow_does(self, channels, size):
        image = noise(*size)
        pixels = to_pixels(image, format_of(channels=channels))
        mode = "L" if channels == 1 else "RGB"
        expected = image.convert(mode).resize((100, 32), Image.Resampling.BICUBIC)
        assert pixels.shape == (32, 100, channels)
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, np.asarray(expected).reshape(32, 100, channels))

    def test_grey_becomes_rgb(self):
        pixels = to_pixels(noise(50, 32, "L"), format_of(channels=3))
        assert np.array_equal(pixels[..., 0], pixels[..., 1])
        assert np.array_equal(pixels[..., 0], pixels[..., 2])

    @pytest.mark.parametrize(
        # DTRB's width: the ratio times the height, rounded up, at most the whole.
        ("size", "width"),
        [((60, 32), 60), ((61, 64), 31), ((33, 10), 100), ((500, 32), 100), ((1, 200), 1)],
    )
    @pytest.mark.parametrize("channels", [1, 3])
    def test_keep_ratio_repeats_the_last_column(self, size, width, channels):
        image = noise(*size)
        pixels = to_pixels(image, format_of(channels=channels, keep_ratio=True))
        mode = "L" if channels == 1 else "RGB"
        resized = np.asarray(image.convert(mode).resize((width, 32), Image.Resampling.BICUBIC))
        assert pixels.shape == (32, 100, channels)
        assert np.array_equal(pixels[:, :width], resized.reshape(32, width, channels))
        last = np.repeat(resized.reshape(32, width, channels)[:, -1:], 100 - width, axis=1)
        assert np.array_equal(pixels[:, width:], last)

    def test_stretch_and_keep_ratio_differ(self):
        image = noise(40, 32)
        assert not np.array_equal(
            to_pixels(image, format_of()), to_pixels(image, format_of(keep_ratio=True))
        )


@pytest.mark.parametrize(
    ("wrong", "key"),
    [({"channels": 2}, "channels"), ({"height": 0}, "height"), ({"width": -1}, "width")],
)
def test_a_wrong_format_is_refused(wrong, key):
    with pytest.raises(HanlineError, match=rf"image\.{key} is {wrong[key]}"):
        format_of(**wrong)
