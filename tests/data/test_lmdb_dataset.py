import logging
import os
import pickle
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from hanline.data.base import Batch
from hanline.data.dataset import LMDBDataset
from hanline.data.images import ImageFormat, decode_image, to_pixels
from hanline.data.labels import LabelRules
from hanline.data.transfer import _PIPED_BYTES, BatchLoader
from hanline.errors import HanlineError
from hanline.text.charset import Charset, named_charset

FORMAT = ImageFormat(height=8, width=12, channels=1, keep_ratio=False)
KOREAN = LabelRules(named_charset("korean"), max_length=5, lowercase=False, invalid="skip")
LABELS = ["가", "나나", "다 다", "라라라", "마", "바"]


def dataset(*paths, rules=KOREAN, image_format=FORMAT, **options):
    return LMDBDataset(paths, image_format, rules, **options)


def greys(batch):
    """Which image each of a batch is, as ``make_set`` colours them."""
    return batch.images[:, 0, 0, 0].tolist()


class Checked(LMDBDataset):
    """Says of each batch in which process it was read."""

    def __getitems__(self, indices):
        batch = super().__getitems__(indices)
        return Batch(batch.images, [f"{os.getpid()} {label}" for label in batch.labels])


class TestBatches:
    def test_are_pixels_and_labels(self, make_set):
        batch = dataset(make_set("set", LABELS)).__getitems__([4, 0, 2])
        assert batch.labels == ["마", "가", "다 다"]
        assert batch.images.shape == (3, 1, 8, 12)
        assert batch.images.dtype == torch.uint8
        assert greys(batch) == [4, 0, 2]

    def test_a_single_sample_is_a_batch_of_one(self, make_set):
        batch = dataset(make_set("set", LABELS))[3]
        assert (batch.labels, greys(batch)) == (["라라라"], [3])

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("keep_ratio", [False, True])
    def test_pixels_are_those_of_the_format(self, make_set, encode, channels, keep_ratio):
        picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        content = encode(Image.fromarray(picture))
        image_format = ImageFormat(16, 64, channels, keep_ratio)
        path = make_set("set", ["가"], {0: content})
        images = dataset(path, image_format=image_format)[0].images
        expected = to_pixels(decode_image(content), image_format)
        assert np.array_equal(images[0].permute(1, 2, 0).numpy(), expected)

    def test_several_sets_are_numbered_through(self, make_set):
        paths = [make_set("a", ["가", "나"]), make_set("b", ["다"]), make_set("c", ["라", "마"])]
        together = dataset(*paths)
        assert len(together) == 5
        assert [together[i].labels[0] for i in range(5)] == ["가", "나", "다", "라", "마"]
        batch = together.__getitems__([4, 2, 0, 1])
        # A batch need not keep the order, as long as images and labels go together.
        assert sorted(zip(batch.labels, greys(batch), strict=True)) == [
            *(("가", 0), ("나", 1), ("다", 0), ("마", 1))
        ]


class TestFiltering:
    def test_unfit_labels_are_left_out_and_counted(self, make_set):
        labels = ["가", "", "너무너무긺", "너무너무길다", "☃", "마", "겶"]
        kept = dataset(make_set("set", labels))
        assert len(kept) == 3
        assert kept.invalid == {"empty label": 1, "longer than 5": 1, "outside the charset": 2}
        batch = kept.__getitems__([0, 1, 2])
        assert batch.labels == ["가", "너무너무긺", "마"]
        assert greys(batch) == [0, 2, 5]

    def test_special_characters(self, make_set):
        rules = LabelRules(Charset("az]\\^-"), 9, lowercase=False, invalid="skip")
        kept = dataset(make_set("set", ["a]", "\\z", "^a", "a-z", "m", "[a"]), rules=rules)
        assert kept.__getitems__(range(len(kept))).labels == ["a]", "\\z", "^a", "a-z"]

    def test_labels_are_nfc(self, make_set):
        nfd = unicodedata.normalize("NFD", "한글")
        assert len(nfd) == 6  # too long by its letters, and they are not in the charset
        kept = dataset(make_set("set", [nfd]))
        assert kept[0].labels == ["한글"]

    def test_fold_case(self, make_set):
        path = make_set("set", ["AbC", "abc", "A-1", "ÀB"])
        rules = LabelRules(named_charset("dtrb_36"), 25, lowercase=True, invalid="skip")
        folded = dataset(path, rules=rules)
        assert folded.__getitems__(range(len(folded))).labels == ["abc", "abc"]
        assert folded.invalid == {"outside the charset": 2}
        strict = LabelRules(named_charset("dtrb_36"), 25, lowercase=False, invalid="skip")
        assert dataset(path, rules=strict).__getitems__([0]).labels == ["abc"]
        assert len(dataset(path, rules=strict)) == 1

    def test_an_unfit_label_can_be_an_error(self, make_set):
        path = make_set("set", ["가", "나", "☃", ""])
        rules = LabelRules(KOREAN.charset, 5, lowercase=False, invalid="error")
        with pytest.raises(
            HanlineError, match=r"label 3 of .* '☃' is outside the charset"
        ) as error:
            dataset(path, rules=rules)
        assert str(path) in str(error.value)
        assert "invalid_labels=skip" in str(error.value)

    def test_nothing_left_says_why(self, make_set):
        paths = [make_set("a", ["☃", "☃☃"]), make_set("b", ["", "너무너무 길다"])]
        with pytest.raises(HanlineError, match="no sample is left of 4 in") as error:
            dataset(*paths)
        for part in (
            *map(str, paths),
            "outside the charset: 2",
            "empty label: 1",
            "longer than 5: 1",
            f"charset has {len(KOREAN.charset)} characters",
            "a label at most 5",
        ):
            assert part in str(error.value)

    def test_an_empty_set(self, dtrb_set):
        with pytest.raises(HanlineError, match="no sample is left of 0"):
            dataset(dtrb_set("set", []))

    @pytest.mark.parametrize(
        ("ratio", "used"),
        # 0.07 × 100 and 0.29 × 100 are not quite whole numbers to a computer.
        [(1.0, 100), (0.5, 50), (0.07, 7), (0.29, 29), (0.001, 1)],
    )
    def test_usage_ratio_takes_the_beginning_of_each_set(self, make_set, ratio, used):
        labels = [f"{i}" for i in range(100)]
        part = dataset(make_set("a", labels), make_set("b", labels), usage_ratio=ratio)
        assert part.__getitems__(range(len(part))).labels == labels[:used] * 2

    def test_usage_ratio_counts_before_filtering(self, make_set):
        labels = ["☃", "가", "나", "다", "라", "☃"]
        part = dataset(make_set("a", labels), usage_ratio=0.5)
        assert part.__getitems__(range(len(part))).labels == ["가", "나"]
        assert part.invalid == {"outside the charset": 1}


def test_label_shapes_are_those_of_the_samples(make_set):
    paths = [make_set("a", ["☃", "AbB", "나나나", ""]), make_set("b", ["다", "라", "마"])]
    rules = LabelRules(Charset("ab나다라마"), max_length=5, lowercase=True, invalid="skip")
    data = dataset(*paths, rules=rules, usage_ratio=0.75)
    assert data.label_lengths() == {(3, 1): 1, (3, 2): 1, (1, 0): 2}


class TestDamaged:
    @pytest.fixture
    def holed(self, make_set, grey):
        """A set of six, of which the second and the fifth cannot be decoded."""
        return make_set("holed", LABELS, {1: b"no image", 4: grey(4)[:50]})

    def test_are_counted_named_and_left_out(self, holed, caplog):
        data = dataset(holed)
        with caplog.at_level(logging.WARNING):
            batch = data.__getitems__(range(6))
        assert batch.labels == ["가", "다 다", "라라라", "바"]
        assert greys(batch) == [0, 2, 3, 5]
        assert data.damaged == 2
        assert f"image 2 of {holed}: no image" in caplog.messages[0]
        assert f"image 5 of {holed}: damaged" in caplog.messages[1]

    @pytest.mark.parametrize("context", ["fork", "spawn"])
    def test_are_counted_in_workers(self, holed, context):
        data = dataset(holed)
        loader = BatchLoader(
            data,
            batch_sampler=[[0, 1], [2, 3, 4], [4, 5, 1]],
            num_workers=2,
            multiprocessing_context=context,
        )
        assert [batch.labels for batch in loader] == [["가"], ["다 다", "라라라"], ["바"]]
        assert data.damaged == 4

    def test_a_batch_of_nothing_else_is_an_error(self, holed):
        with pytest.raises(HanlineError, match="every image of a batch is damaged"):
            dataset(holed).__getitems__([1, 4])

    def test_the_error_comes_out_of_a_worker(self, holed):
        loader = BatchLoader(dataset(holed), batch_sampler=[[1, 4]], num_workers=1)
        with pytest.raises(HanlineError, match="every image of a batch is damaged"):
            next(iter(loader))


class TestWorkers:
    @pytest.mark.parametrize("context", ["fork", "spawn"])
    @pytest.mark.parametrize("read_before", [False, True])
    def test_read_in_other_processes(self, make_set, context, read_before):
        paths = [make_set("a", [f"{i}" for i in range(200)]), make_set("b", ["가", "나"])]
        data = Checked(paths, FORMAT, KOREAN)
        if read_before:  # the sets are open in this process then
            data.__getitems__([0, 200])
        loader = BatchLoader(
            data,
            batch_sampler=[[i, i + 101] for i in range(0, 101, 2)],
            num_workers=2,
            multiprocessing_context=context,
        )
        words = [label.split() for batch in loader for label in batch.labels]
        expected = [f"{i}" for i in range(200)] + ["가", "나"]
        assert [label for _, label in words] == [
            expected[i] for step in range(0, 101, 2) for i in (step, step + 101)
        ]
        assert str(os.getpid()) not in {process for process, _ in words}
        assert len({process for process, _ in words}) == 2
        # And in this one, besides.
        assert data.__getitems__([1])[1] == [f"{os.getpid()} 1"]

    @pytest.mark.parametrize("context", ["fork", "spawn"])
    def test_batches_of_any_size_come_whole(self, make_set, encode, context):
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (2, 800, 900), dtype=np.uint8)
        images = {i: encode(Image.fromarray(pixels[i])) for i in range(2)}
        image_format = ImageFormat(800, 900, 1, False)
        data = dataset(make_set("set", ["가", "나"], images), image_format=image_format)
        loader = BatchLoader(
            data, batch_sampler=[[0], [1, 0]], num_workers=1, multiprocessing_context=context
        )
        small, large = loader
        assert small.images.nbytes < _PIPED_BYTES < large.images.nbytes
        for batch, places in ((small, [0]), (large, [1, 0])):
            assert np.array_equal(batch.images[:, 0], pixels[places])
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
            assert batch.labels == [["가", "나"][place] for place in places]

    def test_two_data_sets_on_one_set(self, make_set):
        path = make_set("set", LABELS)
        first, second = dataset(path), dataset(path)
        loaders = [
            BatchLoader(data, batch_sampler=[[0], [1], [2]], num_workers=1)
            for data in (first, second)
        ]
        for one, other in zip(*loaders, strict=True):
            assert one.labels == other.labels
            assert torch.equal(one.images, other.images)
        assert first[5].labels == second[5].labels == ["바"]

    def test_survives_pickling(self, make_set):
        data = dataset(make_set("set", [*LABELS, "☃"]))
        copy = pickle.loads(pickle.dumps(data))
        assert copy.invalid == data.invalid
        assert copy.__getitems__([0, 5]).labels == ["가", "바"]
