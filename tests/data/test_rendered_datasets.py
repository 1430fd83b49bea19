import json
import logging
import multiprocessing
from dataclasses import dataclass, replace

import pytest

import hanline
from hanline.data.lmdb_store import LMDBStore
from hanline.data.rendered_datasets import RenderedDatasets, choose_texts
from hanline.errors import HanlineError
from hanline.synthesis.broadcast import BroadcastRenderer
from hanline.synthesis.fonts import Font, FontSet, bundled_files
from hanline.text.charset import Charset, named_charset
from hanline.text.corpus import Corpus, Texts

TEXTS = Texts(train=[f"낱말 {i}" for i in range(700)], validation=[f"검증 {i}" for i in range(20)])


@dataclass(frozen=True)
class WatchedRenderer(BroadcastRenderer):
    """Notes what it draws, and is interrupted where that is asked for."""

    def draw(self, text, font, seed):
        if len(drawn) == stop_at[0]:
            raise KeyboardInterrupt
        drawn.append(text)
        return super().draw(text, font, seed)


drawn: list[str] = []
stop_at: list[int | None] = [None]


@pytest.fixture
def watched(look):
    drawn.clear()
    stop_at[0] = None
    return replace(look, renderer=WatchedRenderer(**vars(look.renderer)))


@pytest.fixture
def sets(tmp_path, look):
    return RenderedDatasets(tmp_path, TEXTS, look)


def samples(path):
    store = LMDBStore(path)
    return store.read(range(len(store)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestPath:
    def test_is_the_same_for_the_same(self, sets, look):
        again = RenderedDatasets(
            sets.folder, Texts(list(TEXTS.train), list(TEXTS.validation)), look
        )
        for part in ("train", "validation"):
            assert again.path(part) == sets.path(part)
            assert sets.path(part).name.startswith(f"{part}-")

    def test_whatever_changes_the_pictures_changes_it(self, sets, look):
        train = TEXTS.train
        others = [
            RenderedDatasets(sets.folder, Texts(train[:-1], []), look),
            RenderedDatasets(sets.folder, Texts([*train[:-1], "낱말 -"], []), look),
            RenderedDatasets(sets.folder, Texts([train[1], train[0], *train[2:]], []), look),
            RenderedDatasets(sets.folder, Texts([*train, train[0]], []), look),
            *(
                replace(sets, synthesis=changed)
                for changed in (
                    replace(look, seed=8),
                    replace(look, image_format="jpg"),
                    replace(look, jpeg_quality=91),
                    replace(look, fonts=FontSet([Font(bundled_files()[1])])),
                    replace(look, renderer=replace(look.renderer, height=17)),
                    replace(look, renderer=replace(look.renderer, spacing=[-0.08, 0.03])),
                    replace(look, renderer=WatchedRenderer(**vars(look.renderer))),
                )
            ),
        ]
        paths = [sets.path("train"), *(other.path("train") for other in others)]
        assert len(set(paths)) == len(others) + 1

    def test_what_changes_no_picture_does_not(self, sets, look):
        assert replace(sets, synthesis=replace(look, processes=3)).path("train") == sets.path(
            "train"
        )
        # The other part has a set of its own.
        other = RenderedDatasets(sets.folder, Texts(TEXTS.train, ["다른 검증"]), look)
        assert other.path("train") == sets.path("train")
        assert other.path("validation") != sets.path("validation")


class TestMake:
    def test_draws_the_texts_in_their_order(self, sets, look):
        path = sets.make("validation")
        assert path == sets.path("validation")
        assert [label for _, label in samples(path)] == TEXTS.validation
        (expected,) = look.draw(TEXTS.validation)
        assert [image for image, _ in samples(path)] == [sample.image for sample in expected]
        assert names(sets.folder) == [path.name]

    def test_remembers_what_made_it(self, sets, look):
        provenance = json.loads((sets.make("validation") / "provenance.json").read_text())
        assert provenance.pop("made_by") == f"hanline {hanline.__version__}"
        assert provenance.pop("checksums") == "crc32"
        assert provenance == sets.fingerprint("validation")
        assert provenance["part"] == "validation"
        assert provenance["samples"] == 20
        assert provenance["seed"] == 7
        assert provenance["image_format"] == "png"
        assert provenance["fonts"] == [[look.fonts[0].digest()]]
        assert provenance["renderer"]["class"] == "BroadcastRenderer"
        assert provenance["renderer"]["height"] == 16
        assert len(provenance["texts"]) == 64

    def test_an_unchanged_set_is_left_as_it_is(self, sets, watched):
        sets = replace(sets, synthesis=watched)
        path = sets.make("validation")
        before = {file: file.stat().st_mtime_ns for file in [path, *path.iterdir()]}
        count = len(drawn)
        assert RenderedDatasets(sets.folder, TEXTS, watched).make("validation") == path
        assert {file: file.stat().st_mtime_ns for file in [path, *path.iterdir()]} == before
        assert len(drawn) == count == 20

    def test_a_changed_one_is_made_beside(self, sets, look):
        first = sets.make("validation")
        before = samples(first)
        second = replace(sets, synthesis=replace(look, seed=8)).make("validation")
        assert names(sets.folder) == sorted([first.name, second.name])
        assert samples(first) == before
        assert samples(second) != before
        assert [label for _, label in samples(second)] == TEXTS.validation

    def test_goes_on_where_it_was_interrupted(self, sets, watched, tmp_path):
        whole = samples(replace(sets, folder=tmp_path / "whole", synthesis=watched).make("train"))
        drawn.clear()
        sets = replace(sets, folder=tmp_path / "sets", synthesis=watched)
        stop_at[0] = 600  # in the third chunk of 256
        with pytest.raises(KeyboardInterrupt):
            sets.make("train")
        path = sets.path("train")
        assert not path.exists()
        assert names(sets.folder) == [path.name + ".partial"]

        drawn.clear()
        stop_at[0] = None
        assert sets.make("train") == path
        assert drawn == TEXTS.train[512:]
        assert samples(path) == whole
        assert names(sets.folder) == [path.name]

    def test_two_runs_at_once(self, sets):
        """Two processes want the same set at the same moment: one draws it, both have it."""
        context = multiprocessing.get_context("spawn")
        barrier, results = context.Barrier(2), context.Queue()
        processes = [
            context.Process(target=make_with_others, args=(sets, barrier, results))
            for _ in range(2)
        ]
        for process in processes:
            process.start()
        found = [results.get(timeout=300) for _ in processes]
        for process in processes:
            process.join(300)
        path = sets.path("train")
        assert [result[0] for result in found] == [path, path]
        assert sorted(drew for _, drew in found) == [False, True]
        assert [label for _, label in samples(path)] == TEXTS.train
        assert names(sets.folder) == [path.name]

    def test_a_folder_that_cannot_be(self, sets, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(HanlineError, match="cannot write to"):
            replace(sets, folder=tmp_path / "file").make("train")


def make_with_others(sets, barrier, results):
    """For a process of its own: make the set; where it is, and whether this process drew it."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("hanline.data.rendered_datasets")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    barrier.wait(300)
    path = sets.make("train")
    results.put((path, any(message.startswith("rendered") for message in messages)))


class TestChooseTexts:
    def test_keeps_what_charset_and_fonts_have(self, look, tmp_path, caplog):
        file = tmp_path / "corpus.txt"
        file.write_text("\n".join(f"가{i} ☃{i} 하{i} 𠀀" for i in range(20)), encoding="utf-8")
        charset = Charset(named_charset("korean").characters + "𠀀")
        with caplog.at_level(logging.INFO):
            texts = choose_texts(Corpus([str(file)], max_length=3), charset, look, 30, None)
        # The korean charset lacks ☃, and Noto Sans KR 𠀀.
        assert len(texts.train) == 30
        assert set("".join(texts.train + texts.validation)) <= set("가하0123456789")
        assert texts.dropped["outside the charset"] == 20
        assert texts.dropped["no font draws it"] == 20
        assert "corpus: 30 texts for training" in caplog.text
        assert "no font draws it: 20" in caplog.text
