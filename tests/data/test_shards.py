"""Sets that are made in shards: what these hold together, and what a folder of them may lack."""

import json
import shlex
import shutil
from dataclasses import dataclass, replace

import pytest

from hanline.data.dataset import LMDBDataset
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.data.lmdb_writer import LMDBWriter
from hanline.data.packing import pack
from hanline.data.rendered_datasets import RenderedDatasets, render
from hanline.data.shards import Shard, check_shards_complete
from hanline.data.stored import select_datasets
from hanline.errors import HanlineError
from hanline.synthesis.broadcast import BroadcastRenderer
from hanline.text.charset import named_charset
from hanline.text.corpus import Texts

TEXTS = [f"낱말 {i}" for i in range(50)]
MANY = [f"낱말 {i}" for i in range(600)]
COMMAND = ["synthesize", "synthesis.shards=3", "corpus.files=[내 글.txt]"]


def shard(number, of=3):
    return Shard(number, of, "synthesis.shard", COMMAND)


@pytest.fixture
def make(tmp_path, look):
    """Draws a shard of the texts, or with None all of them, into a folder."""

    def make(number, of=3, folder="set", texts=TEXTS, look=look):
        facts = RenderedDatasets(tmp_path, Texts(texts, []), look).fingerprint("train")
        which = None if number is None else shard(number, of)
        path = which.path(tmp_path / folder) if which else tmp_path / folder
        return render(texts, look, LMDBWriter(path, resume=True), facts, which)

    return make


def samples(paths):
    return [s for path in paths for s in LMDBStore(path).read(range(len(LMDBStore(path))))]


def refusal(root):
    with pytest.raises(HanlineError) as refused:
        check_shards_complete(root, find_datasets(root))
    return str(refused.value)


class TestParts:
    @pytest.mark.parametrize("of", [1, 2, 7, 64, 100])
    def test_are_the_whole_in_its_order(self, of):
        parts = [shard(number, of).part(100) for number in range(of)]
        assert [i for part in parts for i in part] == list(range(100))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1

    @pytest.mark.parametrize(
        "number, of, message",
        [
            (3, 3, "synthesis.shard=3: expected 0 to 2, since synthesis.shards is 3"),
            (-1, 3, "synthesis.shard=-1: expected 0 to 2"),
            (0, 0, "synthesis.shards=0: expected 1 or more"),
        ],
    )
    def test_there_is_no_such_shard(self, number, of, message):
        with pytest.raises(HanlineError, match=message):
            shard(number, of)

    def test_none_is_empty(self):
        with pytest.raises(HanlineError, match=r"synthesis\.shards=3: expected at most 2"):
            shard(0).part(2)


class TestDrawn:
    def test_together_are_the_whole_set(self, make, tmp_path, look):
        whole = make(None, folder="whole")
        # Made in any order, the last in two processes.
        for number in (2, 0):
            make(number)
        make(1, look=replace(look, processes=2))
        together = check_shards_complete(tmp_path / "set", find_datasets(tmp_path / "set"))
        assert [path.name for path in together] == [
            *("shard-00000-of-00003", "shard-00001-of-00003", "shard-00002-of-00003")
        ]
        assert [len(LMDBStore(path)) for path in together] == [16, 17, 17]
        assert samples(together) == samples([whole])

    def test_are_read_as_the_whole_set_is(self, make, tmp_path):
        make(None, folder="whole")
        for number in range(3):
            make(number)
        rules = LabelRules(named_charset("korean"), 25, False, "error")
        image = ImageFormat(height=16, width=48, channels=1, keep_ratio=False)
        numbers = [0, 15, 16, 32, 33, 49]
        whole, shards = (
            LMDBDataset(select_datasets(tmp_path / name, None)[0], image, rules).__getitems__(
                numbers
            )
            for name in ("whole", "set")
        )
        assert shards.labels == whole.labels == [TEXTS[i] for i in numbers]
        assert shards.images.equal(whole.images)

    def test_go_on_where_they_were_stopped(self, make, look):
        watched = replace(look, renderer=StoppedRenderer(**vars(look.renderer)))
        drawn[:] = []
        with pytest.raises(KeyboardInterrupt):
            make(1, of=2, texts=MANY, look=watched)
        path = make(1, of=2, texts=MANY, look=watched)
        # The first task of 256 texts was not lost.
        assert drawn == [*MANY[300:570], *MANY[556:]]
        whole = make(1, of=2, texts=MANY, folder="whole")
        assert samples([path]) == samples([whole])

    def test_of_another_number_do_not_go_on(self, make, tmp_path):
        make(0)
        partial = tmp_path / "set" / "shard-00001-of-00003.partial"
        (tmp_path / "set" / "shard-00000-of-00003").rename(partial)
        with pytest.raises(HanlineError, match=r"had other settings"):
            make(1)


@dataclass(frozen=True)
class StoppedRenderer(BroadcastRenderer):
    """Notes what it draws, and is interrupted once."""

    def draw(self, text, font, seed):
        if len(drawn) == 270 and text == MANY[570]:
            raise KeyboardInterrupt
        drawn.append(text)
        return super().draw(text, font, seed)


drawn: list[str] = []


class TestFolder:
    def test_missing_ones_are_named_with_the_command_that_makes_them(self, make, tmp_path):
        for number in (1, 3):
            make(number, of=5)
        message = refusal(tmp_path)
        assert f"of the 5 shards of {tmp_path / 'set'}, counted from 0, 0, 2, 4 are" in message
        command = shlex.split(message.partition("make them: ")[2])
        assert command == [
            *("hanline", "synthesize", "-m", *COMMAND[1:]),
            *(f"output={tmp_path / 'set'}", "synthesis.shard=0,2,4"),
        ]

    def test_one_that_is_still_drawn_is_missing(self, make, tmp_path):
        for number in (0, 1):
            make(number)
        last = make(2)
        last.rename(last.with_name(last.name + ".partial"))
        message = refusal(tmp_path / "set")
        assert "counted from 0, 2 is missing" in message
        assert message.endswith(f" output={tmp_path / 'set'} synthesis.shard=2")

    def test_one_that_is_there_twice_is_named(self, make, tmp_path):
        for number in range(3):
            path = make(number)
        copy = tmp_path / "from_elsewhere" / path.name
        shutil.copytree(path, copy)
        assert f"shard 2 of 3 is there twice: remove {copy} or {path}" in refusal(tmp_path)

    def test_machines_may_have_folders_of_their_own(self, make, tmp_path):
        make(0, folder="a")
        make(1, folder="b")
        make(2, folder="a")
        assert len(check_shards_complete(tmp_path, find_datasets(tmp_path))) == 3

    def test_several_sets_may_lie_below_a_folder(self, make, make_set, tmp_path, look):
        make_set("plain", ["가"])
        for number in range(3):
            make(number, folder="seven")
            make(number, folder="eight", look=replace(look, seed=8))
        assert len(check_shards_complete(tmp_path, find_datasets(tmp_path))) == 7
        shutil.rmtree(tmp_path / "eight" / "shard-00001-of-00003")
        assert f"of the 3 shards of {tmp_path / 'eight'}" in refusal(tmp_path)
        # What is not selected may be under way.
        assert len(select_datasets(tmp_path, ["seven", "plain"])) == 2
        with pytest.raises(HanlineError, match="1 is missing"):
            select_datasets(tmp_path, ["eight"])

    def test_different_sets_in_one_folder(self, make, tmp_path, look):
        make(0)
        make(1, look=replace(look, seed=8))
        message = refusal(tmp_path)
        assert "shard-00000-of-00003 and" in message
        assert "are shards of different datasets, which differ in seed:" in message

    def test_one_set_cut_twice(self, make, tmp_path):
        for number in range(3):
            make(number, folder="a")
        for number in range(2):
            make(number, of=2, folder="b")
        message = refusal(tmp_path)
        assert f"{tmp_path / 'a' / 'shard-00000-of-00003'} and {tmp_path / 'b'}" in message
        assert "cut into 3 and into 2 parts" in message

    def test_one_shard_may_be_looked_at_alone(self, make):
        path = make(1)
        assert check_shards_complete(path, find_datasets(path)) == [path]

    @pytest.mark.parametrize("content", ["", "[]", "3", '{"shard": 3}', '{"shard": {}}', "{"])
    def test_what_others_keep_in_a_provenance_json_says_nothing(self, make_set, content, tmp_path):
        path = make_set("set", ["가"])
        (path / "provenance.json").write_text(content)
        assert check_shards_complete(tmp_path, find_datasets(tmp_path)) == [path]


class TestMaking:
    def test_what_is_there_is_not_made_again(self, make, tmp_path, look):
        make(0)
        facts = RenderedDatasets(tmp_path, Texts(TEXTS, []), look).fingerprint("train")
        assert shard(0).exists_matching(tmp_path / "set", facts)
        assert not shard(1).exists_matching(tmp_path / "set", facts)
        assert not shard(0).exists_matching(tmp_path / "other", facts)

    @pytest.mark.parametrize("number", [0, 1])
    def test_not_into_the_folder_of_another_set(self, make, tmp_path, number):
        made = make(0)
        with pytest.raises(HanlineError) as refused:
            shard(number).exists_matching(tmp_path / "set", {"seed": 8})
        assert f"the shard to make and {made} are shards of different" in str(refused.value)

    def test_not_with_another_total(self, make, tmp_path, look):
        make(0)
        facts = RenderedDatasets(tmp_path, Texts(TEXTS, []), look).fingerprint("train")
        with pytest.raises(HanlineError, match="cut into 4 and into 3 parts"):
            shard(1, of=4).exists_matching(tmp_path / "set", facts)

    def test_not_into_a_whole_set(self, make_set, tmp_path):
        with pytest.raises(HanlineError, match="is a whole dataset"):
            shard(0).exists_matching(make_set("set", ["가"]), {})


class TestPacked:
    @pytest.fixture
    def gt(self, tmp_path, grey):
        for i in range(10):
            (tmp_path / f"{i}.png").write_bytes(grey(i))
        (tmp_path / "1.png").write_text("no image")
        gt = tmp_path / "gt.txt"
        gt.write_text("".join(f"{i}.png\t글{i}\n" for i in range(10)), encoding="utf-8")
        return gt

    def packed(self, gt, number, output, of=5):
        return pack(gt, output, 1, Shard(number, of, "shard", ["pack", f"input={gt}"]))

    def test_together_are_the_whole_set(self, gt, tmp_path):
        pack(gt, tmp_path / "whole", 1)
        reports = [self.packed(gt, number, tmp_path / "set") for number in range(5)]
        assert [report.packed for report in reports] == [1, 2, 2, 2, 2]
        assert [row.number for row in reports[0].bad_rows] == [2]
        together = check_shards_complete(tmp_path / "set", find_datasets(tmp_path / "set"))
        assert samples(together) == samples([tmp_path / "whole"])

    def test_one_of_bad_rows_alone_is_a_shard_too(self, gt, tmp_path):
        for number in range(10):
            self.packed(gt, number, tmp_path / "set", of=10)
        assert (
            len(samples(check_shards_complete(tmp_path / "set", find_datasets(tmp_path / "set"))))
            == 9
        )
        provenance = tmp_path / "set" / "shard-00001-of-00010" / "provenance.json"
        assert json.loads(provenance.read_text(encoding="utf-8"))["bad_rows"] == {"broken image": 1}

    def test_what_is_there_is_not_packed_again(self, gt, tmp_path):
        assert self.packed(gt, 0, tmp_path / "set")
        assert self.packed(gt, 0, tmp_path / "set") is None
        message = refusal(tmp_path / "set")
        output = tmp_path / "set"
        assert message.endswith(f"hanline pack -m input={gt} output={output} shard=1,2,3,4")

    def test_not_of_another_list(self, gt, tmp_path):
        self.packed(gt, 0, tmp_path / "set")
        gt.write_text(gt.read_text(encoding="utf-8") + "3.png\t또\n", encoding="utf-8")
        with pytest.raises(HanlineError, match="differ in rows, gt_sha256"):
            self.packed(gt, 1, tmp_path / "set")
