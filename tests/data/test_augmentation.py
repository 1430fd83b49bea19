"""Augmentation of stored images: by seed and number alone, of the same size."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from hanline.cli.hydra_app import CONF
from hanline.data.augmentation import AugmentedSamples
from hanline.data.dataset import LMDBDataset
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.packing import pack
from hanline.errors import HanlineError
from hanline.text.charset import Charset


def augmentation(name, **changes):
    config = OmegaConf.load(CONF / "augmentation" / f"{name}.yaml")
    return instantiate(OmegaConf.merge(config, changes))


@pytest.fixture
def stored(folder, words, tmp_path):
    pack(folder / "gt.txt", tmp_path / "packed", 1)
    rules = LabelRules(Charset("".join(sorted(set("".join(words))))), 8, False, "error")
    return LMDBDataset([tmp_path / "packed"], ImageFormat(32, None, 1, True), rules)


def looks(samples, numbers):
    return [
        (sample.label, hashlib.sha256(sample.image.tobytes()).hexdigest())
        for number in numbers
        for sample in samples.samples([number])
    ]


def test_each_round_has_every_sample_once_in_another_look(stored):
    samples = AugmentedSamples(stored, augmentation("strong"), seed=1)
    rounds = [looks(samples, range(10 * i, 10 * i + 10)) for i in range(3)]
    for one, other in pairwise(rounds):
        assert sorted(label for label, _ in one) == sorted(label for label, _ in other)
        assert [label for label, _ in one] != [label for label, _ in other]
        assert len(set(one) & set(other)) <= 2


def test_a_sample_follows_from_seed_and_number_alone(stored):
    samples = AugmentedSamples(stored, augmentation("strong"), seed=1)
    expected = dict(enumerate(looks(samples, range(40))))
    again = AugmentedSamples(stored, augmentation("strong"), seed=1)
    for number in (33, 2, 17, 39, 0):
        assert looks(again, [number]) == [expected[number]]
    other = AugmentedSamples(stored, augmentation("strong"), seed=2)
    assert looks(other, range(10)) != [expected[number] for number in range(10)]


def test_widths_are_known_without_making_the_images(stored):
    samples = AugmentedSamples(stored, augmentation("light"), seed=1)
    numbers = np.arange(5, 15)
    aspects = samples.aspects(numbers)
    images = [sample.image for sample in samples.samples(numbers.tolist())]
    assert aspects == pytest.approx([image.width / image.height for image in images])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(96, 32), (1, 1), (300, 5), (7, 200)])
def test_size_and_mode_stay(mode, size):
    image = Image.new(mode, size, "gray")
    strong = augmentation("strong")
    for seed in range(30):
        changed = strong.apply(image, seed)
        assert (changed.size, changed.mode) == (size, mode)


def test_none_changes_nothing():
    assert not augmentation("none").changes
    assert augmentation("light").changes


@pytest.mark.parametrize(
    ("key", "value"), [("blur_probability", 1.5), ("noise", -1.0), ("jpeg_quality", 0)]
)
def test_a_value_out_of_range_is_refused(key, value):
    with pytest.raises(Exception, match=f"augmentation.{key}={value}: expected") as raised:
        augmentation("light", **{key: value})
    assert isinstance(raised.value.__cause__, HanlineError)
