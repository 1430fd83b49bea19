"""Where each character is: written beside DTRB's keys, and right in the pixels of a batch."""

import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from hanline.data.base import Sample, batch_of
from hanline.data.dataset import LMDBDataset
from hanline.data.dataset_writer import NewSample
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.lmdb_store import LMDBStore
from hanline.data.lmdb_writer import LMDBWriter
from hanline.data.pixel_cache import cache_pixels_of
from hanline.data.transfer import BatchLoader
from hanline.text.charset import named_charset

RULES = LabelRules(named_charset("korean"), max_length=25, lowercase=False, invalid="skip")


def picture(width, bars, height=20):
    """A white picture with a black bar for each character, and where they are."""
    image = np.full((height, width), 255, dtype=np.uint8)
    for left, right in bars:
        image[:, left:right] = 0
    return Image.fromarray(image), np.array(bars, dtype=np.float32) / width


def bars_of(pixels):
    """The bars that a row of pixels has, as shares of its width."""
    dark = np.flatnonzero(np.diff(np.r_[0, (pixels[0, 0] < 128).astype(int), 0]))
    return dark.reshape(-1, 2) / pixels.shape[-1]


# Wider and narrower than what they become, and shorter than two heights.
PICTURES = [
    picture(200, [(10, 50), (90, 120)]),
    picture(60, [(4, 16), (30, 50)]),
    picture(26, [(2, 8), (14, 20)]),
]


@pytest.fixture
def written(tmp_path, encode):
    """A dataset of the three pictures, and of one whose positions nobody knows."""
    writer = LMDBWriter(tmp_path / "set", resume=False)
    writer.add([NewSample(encode(image), "가나", known) for image, known in PICTURES])
    writer.add([(encode(PICTURES[0][0]), "모름")])
    return writer.finish({})


def test_are_float16_beside_dtrbs_keys(written):
    store = LMDBStore(written)
    with store._environment().begin() as transaction:
        stored = transaction.get(b"position-000000002")
        assert transaction.get(b"position-000000004") is None
    assert np.array_equal(np.frombuffer(stored, "<f2").reshape(2, 2), PICTURES[1][1].astype("<f2"))
    assert np.allclose(store.samples([0])[0].positions, PICTURES[0][1], atol=1e-3)
    assert store.labels_at([3])[0].positions is None


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("keep_ratio", [False, True])
def test_follow_the_pixels_of_a_fixed_width(written, keep_ratio, cached):
    image_format = ImageFormat(height=32, width=160, channels=1, keep_ratio=keep_ratio)
    data = LMDBDataset([written], image_format, RULES)
    if cached:
        cache_pixels_of(data.cacheable(), image_format, automatic=False)
        assert data.use_cached_pixels()
    batch = data.__getitems__(range(4))
    assert batch.positions[3] is None
    for pixels, positions in zip(batch.images[:3].numpy(), batch.positions, strict=False):
        assert positions.dtype == np.float32
        assert np.abs(positions - bars_of(pixels)).max() < 1.5 / 160


def test_follow_the_width_of_the_batch():
    image_format = ImageFormat(height=32, width=None, channels=1, keep_ratio=True)
    for index in ([0], [1], [2], [0, 1, 2]):
        samples = [Sample(PICTURES[i][0], "가나", PICTURES[i][1]) for i in index]
        batch = batch_of(samples, image_format)
        width = batch.images.shape[3]
        for pixels, positions in zip(batch.images.numpy(), batch.positions, strict=True):
            assert np.abs(positions - bars_of(pixels)).max() < 1.5 / width


def test_unknown_characters_stay_unknown(tmp_path, encode):
    known = np.array([[0.1, 0.2], [np.nan, np.nan], [0.5, 0.9]], dtype=np.float32)
    writer = LMDBWriter(tmp_path / "set", resume=False)
    writer.add([NewSample(encode(PICTURES[0][0]), "가 나", known)])
    (sample,) = LMDBStore(writer.finish({})).samples([0])
    assert np.isnan(sample.positions).tolist() == np.isnan(known).tolist()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_come_out_of_a_loader(written, num_workers):
    image_format = ImageFormat(height=32, width=160, channels=1, keep_ratio=False)
    data = LMDBDataset([written], image_format, RULES)
    loader = BatchLoader(data, batch_sampler=[[0, 3], [3]], num_workers=num_workers)
    both, without = loader
    assert np.allclose(both.positions[0], PICTURES[0][1], atol=1e-3)
    assert both.positions[1] is None
    assert without.positions is None
    assert torch.equal(both.images[1], without.images[0])


def test_a_label_that_changes_its_length_loses_them(tmp_path, encode):
    nfd = unicodedata.normalize("NFD", "가")
    writer = LMDBWriter(tmp_path / "set", resume=False)
    writer.add([NewSample(encode(PICTURES[0][0]), nfd, np.zeros((2, 2), np.float32))])
    data = LMDBDataset([writer.finish({})], ImageFormat(8, 16, 1, False), RULES)
    (sample,) = data.samples([0])
    assert (sample.label, sample.positions) == ("가", None)


def test_of_another_length_are_refused(tmp_path):
    writer = LMDBWriter(tmp_path / "set", resume=False)
    with pytest.raises(ValueError, match="positions"):
        writer.add([NewSample(b"x", "가나다", np.zeros((2, 2)))])
    writer.discard()
