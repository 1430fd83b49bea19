import io
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from PIL import Image
from support.renderers import PLAIN

from hanline.data.lmdb_writer import LMDBWriter
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.synthesis.fonts import Font, FontSet, bundled_files

Encode = Callable[..., bytes]
MakeSet = Callable[..., Path]


@pytest.fixture(scope="session")
def encode() -> Encode:
    """The bytes of an image file."""

    def encode(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
        file = io.BytesIO()
        image.save(file, file_format, **options)
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def grey(encode) -> Callable[[int], bytes]:
    """A small PNG of one grey, so that a sample can be told by its pixels."""

    def grey(value: int) -> bytes:
        return encode(Image.new("L", (12, 8), value))

    return grey


@pytest.fixture
def make_set(tmp_path, grey) -> MakeSet:
    """Writes a set of the given labels; its image i is of grey i, unless ``images`` has it."""

    def make(name: str, labels: list[str], images: dict[int, bytes] | None = None) -> Path:
        writer = LMDBWriter(tmp_path / name, resume=False)
        given = images or {}
        writer.add([(given.get(i, grey(i % 256)), label) for i, label in enumerate(labels)])
        return writer.finish({"made_by": "a test"})

    return make


@pytest.fixture
def dtrb_set(tmp_path) -> MakeSet:
    """Writes a set with nothing but the lmdb package, as DTRB's create_lmdb_dataset.py does."""

    def make(
        name: str, samples: list[tuple[bytes, str]], leave_out: tuple[bytes, ...] = ()
    ) -> Path:
        path = tmp_path / name
        path.mkdir(parents=True)
        environment = lmdb.open(str(path), map_size=2**26)
        with environment.begin(write=True) as transaction:
            for number, (image, label) in enumerate(samples, start=1):
                transaction.put(f"image-{number:09d}".encode(), image)
                transaction.put(f"label-{number:09d}".encode(), label.encode())
            transaction.put(b"num-samples", str(len(samples)).encode())
            for key in leave_out:
                transaction.delete(key)
        environment.close()
        return path

    return make


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if not shutil.which("mount"):
            pytest.skip("there is no mount command to make a small disk with")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for mount_point in mounted:
        # Lazily: a test that fails may have files open there.
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


@pytest.fixture(scope="session")
def look() -> DatasetRenderer:
    """Small and quick to draw, in one process and one bundled font."""
    renderer = replace(
        PLAIN,
        height=16,
        font_size=[0.6, 0.9],
        full_height_probability=0.2,
        rotation_degrees=4,
        rotation_probability=0.3,
        letter_width=[0.75, 1.05],
        spacing=[-0.08, 0.02],
        bold_probability=0.5,
        margin=[0.06, 0.3],
        shift=0.6,
        text_color=["#000000", "#404040"],
        background_color=["#CCCCCC", "#FFFFFF"],
        light_on_dark_probability=0.25,
    )
    return DatasetRenderer(
        renderer=renderer,
        fonts=FontSet([Font(bundled_files()[0])]),
        image_format="png",
        jpeg_quality=90,
        seed=7,
        processes=1,
    )
