"""Commands that SIGKILL ends in their work, with all their processes, or that are there twice."""

import shutil
import sys

import pytest
import torch
from support.attack import chance
from support.forked import Running, kill_in_work, run, work_seconds
from support.tiny_commands import COMMANDS, clear, content, names, prepared

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the timer that kills is Linux's"),
    pytest.mark.attack,  # each starts commands, seconds long
]
KILLS = 20
PARTS = 4  # of those of a training, which take the longest
# Of 100 moments some come after the last write.
MOMENTS = 100
IN_TWO_PROCESSES = {
    "pack": ["processes=2"],
    "synthesize, LMDB": ["synthesis.processes=2", "samples=600"],
    "synthesize, folder": ["synthesis.processes=2", "samples=600"],
}


@pytest.mark.parametrize("name", IN_TWO_PROCESSES)
def test_killed_in_its_work_it_is_whole_after_the_next_run(name, place, tally):
    words = [*COMMANDS[name], *IN_TWO_PROCESSES[name]]
    made = place / "made"
    seconds = work_seconds(place, made, *words)
    expected = content(place)
    clear(place)
    rng = chance(f"kill {name}")
    with tally("SIGKILL: " + name.split(",")[0]) as attempts:
        for moment in range(MOMENTS):
            ended = run(place, *words, prepare=kill_in_work(made, rng.uniform(0, 0.9) * seconds))
            if ended.status == -9 and not made.exists():
                attempts.tried += 1
                if attempts.tried == KILLS:
                    break
                continue
            with attempts.one(f"{name}, whole at moment {moment}"):
                assert ended.status in (0, -9), ended.text
                assert content(place) == expected
            attempts.tried -= 1  # no kill
            clear(place)
        assert attempts.tried == KILLS
        with attempts.one(f"{name}, the last run"):
            ended = run(place, *words)
            assert ended.status == 0, ended.text
            assert content(place) == expected
            assert not list(place.glob("*.partial"))


def weights(place):
    return torch.load(place / "made" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_training_goes_on_exactly_where_it_or_its_resumption_was_killed(part, place, tally):
    prepared(place, "train")
    words = [*COMMANDS["train"], "data.num_workers=2"]
    resume = ["train", "resume=made/last.ckpt"]
    made = place / "made"
    seconds = work_seconds(place, made, *words)
    expected = weights(place)
    shutil.rmtree(made)
    rng = chance(f"kill train {part}")
    kills = KILLS // PARTS

    def killed(command):
        moment = rng.uniform(0, 0.9) * seconds
        ended = run(place, *command, prepare=kill_in_work(made, moment))
        assert ended.status in (0, -9), ended.text
        assert made.exists()
        return ended.status == -9

    with tally("SIGKILL: train") as training, tally("SIGKILL: resume") as resuming:
        for _ in range(MOMENTS):
            if training.tried < kills:
                with training.one("train"):
                    training.tried -= not killed(words)
            else:
                killed(words)
            if (made / "last.ckpt").exists():
                with resuming.one("resume"):
                    resuming.tried -= not killed(resume)
                with resuming.one("the resumption after it"):
                    ended = run(place, *resume)
                    assert ended.status == 0, ended.text
                    after = weights(place)
                    assert after.keys() == expected.keys()
                    for key, tensor in after.items():
                        assert torch.equal(tensor, expected[key]), key
                    assert not [path for path in names(made) if "partial" in path]
                resuming.tried -= 1
            shutil.rmtree(made)
            if training.tried >= kills and resuming.tried >= kills:
                break
        assert min(training.tried, resuming.tried) >= kills


@pytest.mark.parametrize("name", COMMANDS)
def test_two_at_once_make_what_one_makes(name, place, tally):
    prepared(place, name)
    done = run(place, *COMMANDS[name])
    assert done.status == 0, done.text
    expected = content(place)
    clear(place)
    with tally("two at once") as attempts, attempts.one(name):
        both = [Running(place, COMMANDS[name]) for _ in range(2)]
        ends = [running.wait() for running in both]
        for ended in ends:
            assert ended.status in (0, 1), ended.text
            assert "Traceback" not in ended.text, ended.text
        assert 0 in {ended.status for ended in ends}
        assert content(place) == expected
        assert not [path for path in names(place) if "partial" in path]
