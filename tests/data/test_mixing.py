"""Online lines and stored datasets that share the batches of one run."""

import math
from collections import Counter
from functools import partial
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hanline.cli.config_check import check_config
from hanline.cli.hydra_app import CONF
from hanline.commands.train import Settings
from hanline.data.datamodule import TextImageData
from hanline.data.online import OnlineSource
from hanline.data.stored import StoredSource
from hanline.errors import HanlineError
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.synthesis.fonts import Font, FontSet, bundled_files
from hanline.synthesis.varied import VariedRenderer
from hanline.text.charset import named_charset
from hanline.text.corpus import Corpus

LOOK = OmegaConf.to_object(OmegaConf.load(CONF / "renderer" / "varied.yaml"))
STRONG = partial(instantiate, OmegaConf.load(CONF / "augmentation" / "strong.yaml"))
FIXED = {"height": 16, "width": 64, "channels": 1, "keep_ratio": False}
FOLLOWING = {"height": 16, "width": None, "channels": 1, "keep_ratio": True}
both_widths = pytest.mark.parametrize("image", [FIXED, FOLLOWING], ids=["fixed", "following"])
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*will create . worker processes"),
]


@pytest.fixture
def data(tmp_path, make_set):
    """Makes data of online lines, which are digits, and of two datasets, which are letters."""
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(f"{i}{j}" for i in range(9) for j in range(60)), encoding="utf-8")
    letters = named_charset("korean").characters
    hangul = [c for c in letters if "가" <= c <= "힣"]
    for name, count in (("real", 40), ("forms", 7), ("validation", 3)):
        make_set(name, [name[0] + hangul[i] for i in range(count)])
    look = DatasetRenderer(
        renderer=VariedRenderer(**{k: v for k, v in LOOK.items() if k[0] != "_"} | {"height": 20}),
        fonts=FontSet(Font(path) for path in bundled_files() if path.name.startswith("Noto")),
        image_format="png",
        jpeg_quality=90,
        seed=7,
        processes=1,
    )
    online = partial(
        OnlineSource,
        texts={"corpus": 1, "random": 0, "numbers": 0, "latin": 0},
    )

    def make(mix=(("real", 0.3), ("forms", 0.1)), train=online, **settings):
        given = {
            "train": train,
            "validation": partial(StoredSource, dir=str(tmp_path / "validation")),
            "mix": [{"dir": str(tmp_path / name), "share": share} for name, share in mix],
            "rendered_dir": str(tmp_path / "rendered"),
            "batch_size": 10,
            "num_workers": 0,
            "cache_pixels": False,
            "lowercase": False,
            "invalid_labels": "skip",
            "seed": 3,
            "max_label_length": 25,
            "image": FIXED,
            "charset": named_charset("korean"),
            "corpus": lambda: Corpus([str(file)], seed=1, max_words=2),
            "synthesis": lambda: look,
        }
        return TextImageData(**(given | settings))

    return make


def served(data, rank=0, world_size=1, **run):
    """The batches that a device is served with in a run."""
    given = {"max_steps": 12, "accumulate_grad_batches": 1, "global_step": 0}
    data.prepare_data()
    data.setup("fit")
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, **(given | run))
    return [(batch.labels, batch.images.numpy()) for batch in data.train_dataloader()]


def comparable(batches):
    return [(labels, images.shape, images.tobytes()) for labels, images in batches]


def kinds(labels):
    """How many of some labels are of each source."""
    return Counter("online" if label[0].isdigit() else label[0] for label in labels)


class TestShares:
    def test_each_source_has_its_share_of_every_batch(self, data):
        for labels, _ in served(data()):
            assert kinds(labels) == {"online": 6, "r": 3, "f": 1}

    def test_shares_are_exact_on_average(self, data):
        counts = Counter()
        for labels, _ in served(data([("real", 0.27), ("forms", 0.015)]), max_steps=200):
            counts += kinds(labels)
        assert counts == {"r": 540, "f": 30, "online": 1430}

    def test_of_lines_that_keep_their_width_a_chunk_has_the_shares(self, data):
        counts = Counter()
        for labels, images in served(data(image=FOLLOWING), max_steps=128):
            counts += kinds(labels)
            assert len(labels) == len(images)
        assert counts == {"r": 384, "f": 128, "online": 768}

    def test_any_number_of_datasets_and_groups(self, data, tmp_path):
        train = partial(
            StoredSource,
            dir=str(tmp_path),
            select_data=["validation", "forms"],
            batch_ratio=[0.75, 0.25],
        )
        for labels, _ in served(data([("real", 0.6)], train, batch_size=20)):
            assert kinds(labels) == {"r": 12, "v": 6, "f": 2}

    @pytest.mark.parametrize("cache_pixels", [True, None])
    def test_stored_pixels_are_cached_and_the_same(self, data, cache_pixels, tmp_path):
        plain, cached = (served(data(cache_pixels=given)) for given in (False, cache_pixels))
        assert comparable(cached) == comparable(plain)
        assert len(list(tmp_path.rglob("*.pixels"))) == 3


class TestRuns:
    @both_widths
    @pytest.mark.parametrize("num_workers", [1, 3])
    def test_workers_change_nothing(self, data, image, num_workers):
        expected = comparable(served(data(image=image)))
        assert comparable(served(data(image=image, num_workers=num_workers))) == expected

    @both_widths
    def test_augmented_images_depend_on_neither_workers_nor_stops(self, data, image):
        whole = comparable(served(data(image=image, augmentation=STRONG), max_steps=40))
        assert whole != comparable(served(data(image=image), max_steps=40))
        workers = served(data(image=image, augmentation=STRONG, num_workers=2), max_steps=40)
        assert comparable(workers) == whole
        rest = served(data(image=image, augmentation=STRONG), global_step=37, max_steps=40)
        assert comparable(rest) == whole[37:]
        for labels, _ in served(data(augmentation=STRONG)):
            assert kinds(labels) == {"online": 6, "r": 3, "f": 1}

    @both_widths
    @pytest.mark.parametrize("step", [1, 37, 130])
    def test_a_run_begins_at_any_step(self, data, image, step):
        whole = comparable(served(data(image=image), max_steps=step + 3))
        rest = served(data(image=image), global_step=step, max_steps=step + 3)
        assert comparable(rest) == whole[step:]

    def test_devices_share_a_batch(self, data):
        together = served(data(batch_size=20))
        for rank in (0, 1):
            own = [(labels[rank::2], images[rank::2]) for labels, images in together]
            # What a batch has of each source is divided among the devices.
            assert comparable(served(data(), rank, 2)) == comparable(own)

    def test_devices_take_turns_where_widths_follow(self, data):
        ranks = [comparable(served(data(image=FOLLOWING), rank, 2)) for rank in (0, 1)]
        together = comparable(served(data(image=FOLLOWING), max_steps=24))
        assert [batch for step in zip(*ranks, strict=True) for batch in step] == together

    def test_no_mix_changes_nothing(self, data):
        alone = served(data([]))
        assert all(kinds(labels) == {"online": 10} for labels, _ in alone)
        mixed = [label for labels, _ in served(data(), max_steps=20) for label in labels]
        own = [label for label in mixed if label[0].isdigit()]
        assert own == [label for labels, _ in alone for label in labels]

    def test_seeds_decide(self, data):
        first, again, other = (comparable(served(data(seed=seed))) for seed in (3, 3, 4))
        assert first == again != other


class TestRefused:
    @pytest.mark.parametrize(
        "shares", [[0.0], [1.0], [0.6, 0.4], [-0.1], [math.nan], [math.inf], [0.3, -0.2]]
    )
    def test_shares_out_of_bounds(self, data, shares):
        with pytest.raises(HanlineError, match=r"data\.mix has the shares"):
            data([("real", share) for share in shares])

    def test_a_folder_without_datasets(self, data):
        with pytest.raises(HanlineError, match="expected a folder with LMDB datasets"):
            served(data([("missing", 0.5)]))

    @pytest.mark.parametrize(
        ("argument", "words"),
        [
            ("+data.train.txets=2", "'data.train.txets'"),
            ("data.train.texts.corpus=two", "data.train.texts.corpus=two: expected"),
            ("+data.batch_sise=2", "'data.batch_sise'"),
            ("data.num_workers=many", "data.num_workers=many: expected"),
            ("+data.validation.smaples=2", "'data.validation.smaples'"),
            ("data.mix=[{dir: a, shares: 0.3}]", "data.mix"),
            ("data.mix=[{dir: a, share: half}]", "data.mix"),
            ("data.mix=[a]", "data.mix"),
        ],
    )
    def test_misspelt_keys_of_online_data(self, argument, words):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", ["data=online", "run_dir=run", argument])
        with pytest.raises(HanlineError) as error:
            check_config(config, CONF / "train.yaml", Settings)
        assert words in str(error.value)

    def test_mixing_is_a_key_of_the_command_line(self):
        mix = "data.mix=[{dir: real/2026, share: 0.3}, {dir: '한글/폴더', share: 0.1}]"
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", ["data=online", "run_dir=run", mix])
        check_config(config, CONF / "train.yaml", Settings)
        assert [entry.dir for entry in config.data.mix] == ["real/2026", "한글/폴더"]
