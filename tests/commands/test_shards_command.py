"""`hanline synthesize` and `hanline pack` in shards, as Hydra's launchers run them."""

import shlex

import pytest

from hanline.data.lmdb_store import LMDBStore, find_datasets
from hanline.data.shards import check_shards_complete
from hanline.errors import HanlineError

LOOK = ("synthesis.fonts=bundled", "charset=corpus", "synthesis.processes=1")
WHOLE = ("output_format=lmdb", "samples=50", *LOOK)
SHARDS = (*WHOLE, "synthesis.shards=3", "output=set")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
# Where a job of joblib's cannot have two processes, it works alone.
TWO = "synthesis.processes=2"


@pytest.fixture
def hanline(process):
    """Runs ``hanline`` in a process of its own."""
    return lambda *arguments: process("-m", "hanline.cli.main", *arguments)


def samples(folder):
    return [
        sample
        for path in check_shards_complete(folder, find_datasets(folder))
        for sample in LMDBStore(path).read(range(len(LMDBStore(path))))
    ]


def test_joblib_draws_the_whole_set_in_shards(hanline, tmp_path):
    ended = hanline("synthesize", "-m", *SHARDS, "synthesis.shard=range(0,3)", *JOBLIB, TWO)
    assert ended.status == 0, ended.err
    shards = [f"shard-0000{number}-of-00003" for number in range(3)]
    # Beside the shards only Hydra's note of the sweep, and nothing where the user is.
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["multirun.yaml", *shards]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]

    assert hanline("synthesize", *WHOLE, "output=whole").status == 0
    assert samples(tmp_path / "set") == samples(tmp_path / "whole")


def test_what_one_job_refuses_is_told_and_the_others_go_on(hanline, tmp_path):
    ended = hanline("synthesize", "-m", *SHARDS, "synthesis.shard=3,1", *JOBLIB)
    assert ended.status == 1
    message = ended.err.rpartition("error: ")[2]
    assert message.startswith("synthesis.shard=3: expected 0 to 2, since synthesis.shards is 3")
    assert message.count("\n") == 1
    assert "Traceback" not in ended.err
    assert [path.name for path in find_datasets(tmp_path)] == ["shard-00001-of-00003"]
    with pytest.raises(HanlineError) as refused:
        samples(tmp_path / "set")
    ended = hanline(*shlex.split(str(refused.value).partition("make them: hanline ")[2]))
    assert ended.status == 0, ended.err
    assert len(samples(tmp_path / "set")) == 50
    # Once more makes nothing anew.
    ended = hanline("synthesize", "-m", *SHARDS, "synthesis.shard=0,2")
    assert ended.status == 0, ended.err
    assert "shard-00002-of-00003 is there already" in ended.out


def test_pack_in_shards(command, tmp_path):
    assert command("synthesize", *WHOLE[1:], "output=images").status == 0
    shards = ("input=images/gt.txt", "output=set", "shards=4", "processes=1")
    ended = command("pack", "-m", *shards, "shard=range(0,4)")
    assert ended.status == 0, ended.err
    assert command("pack", "input=images/gt.txt", "output=whole", "processes=1").status == 0
    assert samples(tmp_path / "set") == samples(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "set", "whole"]
    ended = command("pack", *shards, "shard=1")
    assert "shard 1 of set exists already" in ended.out


def test_a_folder_of_images_has_no_shards(command, tmp_path):
    ended = command("synthesize", "output=set", "synthesis.shard=1")
    assert ended.status == 1
    assert "shards are LMDB sets; set output_format=lmdb" in ended.err
    assert not list(tmp_path.iterdir())


def test_the_keys_are_checked(command):
    for wrong, message in (
        ("synthesis.shard=first", "synthesis.shard=first: expected a valid integer"),
        ("synthesis.shards=null", "synthesis.shards=null"),
        ("synthesis.shrad=1", "did you mean synthesis.shard"),
    ):
        ended = command("synthesize", "output=set", wrong)
        assert ended.status == 1
        assert message in ended.err


def test_a_training_has_no_such_key(command):
    ended = command("train", "+synthesis.shard=1")
    assert ended.status == 1
    assert "'synthesis.shard': expected a key" in ended.err
