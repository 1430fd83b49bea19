"""``hanline update`` with a tiny model: a better day, poisoned days, kills, two at once, disks."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest
from PIL import Image
from small_days import FIRST, log_of, write_lines

from hanline.inference.reader import Reader
from hanline.pretrained.model_registry import ModelRegistry

pytestmark = [pytest.mark.slow, pytest.mark.process]


def outcome(registry, day):
    return json.loads((registry.folder / "days" / day / "outcome.json").read_text(encoding="utf-8"))


@pytest.fixture
def update(start, words_of_update, registry):
    """Runs a day to its end; returns what it printed."""

    def run(day, *more, status=0, **how):
        steps = how.pop("steps", 60)
        models = how.pop("models", registry.folder)
        process = start(words_of_update(day, *more, steps=steps, models=models), **how)
        out, err = process.communicate(timeout=300)
        assert process.returncode == status, out + err
        return out + err

    return run


@pytest.fixture
def new_look(place, lines, inverted):
    """Real lines in a look that the first model cannot read."""
    return write_lines(place / "real" / "monday", lines(80, 2, inverted))


def test_a_better_day_is_promoted_and_followed(
    update, registry, place, new_look, command, monkeypatch
):
    printed = update("2026-03-02")
    assert "2026-03-02: promoted, since today is better: CER" in printed
    assert registry.in_use() == "2026-03-02"
    about = registry.about("2026-03-02")
    assert about.parents == [FIRST, "shipped"]
    assert about.promoted
    assert set(about.metrics) == {"today", "fixed"}
    gains = outcome(registry, "2026-03-02")["gains"]
    assert gains["today"]["low"] > 0
    assert gains["fixed"]["gain"] > -1
    # The names are followed wherever a checkpoint is taken.
    monkeypatch.setenv("HANLINE_MODELS", str(registry.folder))
    picture = new_look / "5.png"
    label = (new_look / "gt.txt").read_text(encoding="utf-8").splitlines()[5].partition("\t")[2]
    assert Reader("in-use").read(picture).text == label
    assert Reader(FIRST).read(picture).text != label
    done = command("predict", f"input={picture}", "checkpoint=in-use", f"output={place / 'read'}")
    assert done.status == 0, done.err
    assert label in (place / "read" / "readings.tsv").read_text(encoding="utf-8")
    # The page, the list, and the way back.
    page = (registry.folder / "history.html").read_text(encoding="utf-8")
    assert "2026-03-02" in page and "promoted" in page and "http" not in page.replace("http-", "")
    listed = command("models").out
    assert FIRST in listed and "in use" in listed
    compared = command("models", "compare", FIRST, "2026-03-02", f"input={place / 'fixed'}")
    assert "30 samples" in compared.out, compared.err
    rolled = command("models", "rollback")
    assert f"in use: {FIRST}, before 2026-03-02" in rolled.out, rolled.err
    assert Reader("in-use").read(picture).text != label
    # The day is done, and stays so; the next day has nothing new.
    assert "2026-03-02: promoted" in update("2026-03-02")
    assert registry.in_use() == FIRST
    assert "2026-03-03: kept the former model, since nothing is new" in update("2026-03-03")


def test_a_day_with_shifted_labels_is_not_promoted(update, registry, place, lines):
    shifted = lines(80, 3)
    labels = [label for _, label in shifted]
    moved = [(image, labels[(i + 1) % 80]) for i, (image, _) in enumerate(shifted)]
    write_lines(place / "real" / "shifted", moved)
    printed = update("2026-03-02")
    assert "kept the former model" in printed
    assert "shifted: the labels are shifted by a line" in printed
    assert registry.in_use() == FIRST
    # Had nobody compared the labels, the comparison of the models would have refused it.
    printed = update("2026-03-03", "check_labels=false")
    assert "2026-03-03: kept the former model" in printed
    assert registry.in_use() == FIRST
    assert "nothing is new" not in printed


def test_a_day_of_blank_pictures_is_not_promoted(update, registry, place, lines):
    blank = [(Image.new("L", (96, 32), 250), label) for _, label in lines(40, 4)]
    write_lines(place / "real" / "blank", blank)
    assert "kept the former model, since nothing is new" in update("2026-03-02")
    assert outcome(registry, "2026-03-02")["real"]["left_out"] == {"blank picture": 40}
    assert registry.in_use() == FIRST


def test_new_headlines_are_rendered_divided_and_trained_on(update, registry, place, words):
    draw = random.Random(5)
    characters = sorted(set("".join(words)) - {" "})
    headlines = ["".join(draw.sample(characters, 4)) for _ in range(80)]
    folder = place / "none"
    folder.mkdir()
    (folder / "headlines.txt").write_text("\n".join(headlines) + "\n", encoding="utf-8")
    (place / "real").mkdir()
    more = (
        "new_lines=40",
        "compared_lines=20",
    )
    update("2026-03-02", *more, steps=2)
    day = registry.folder / "days" / "2026-03-02"
    parts = {
        name: (day / f"{name}.txt").read_text(encoding="utf-8").split()
        for name in ("new", "choose", "today", "train", "new_train")
    }
    assert parts["new"] == headlines
    assert len(parts["choose"]) == len(parts["today"]) == 8
    assert sorted(parts["choose"] + parts["today"] + parts["train"]) == sorted(headlines)
    assert parts["train"] == parts["new_train"]
    assert "gains" in outcome(registry, "2026-03-02")
    # What was held out stays so on the next day, whose headlines alone are new.
    later = ["".join(draw.sample(characters, 5)) for _ in range(40)]
    text = "\n".join(headlines + later) + "\n"
    (folder / "headlines.txt").write_text(text, encoding="utf-8")
    update("2026-03-03", *more, steps=2)
    train = (registry.folder / "days" / "2026-03-03" / "train.txt").read_text(encoding="utf-8")
    assert not {*parts["choose"], *parts["today"]} & {*train.split()}
    assert outcome(registry, "2026-03-03")["headlines"]["new"] == 40


def test_two_at_once_refuse(start, words_of_update, registry, new_look):
    first = start(words_of_update("2026-03-02"))
    while not (registry.folder / "days" / "2026-03-02").exists():
        time.sleep(0.05)
        assert first.poll() is None, first.communicate()
    second = start(words_of_update("2026-03-02"))
    _, err = second.communicate(timeout=100)
    assert second.returncode == 1
    assert "expected a registry that no other hanline update is at work in" in err
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err


def test_a_full_disk_ends_with_a_message_and_the_old_model(update, registry, new_look, place):
    def full():
        # Every file ends at this size, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    printed = update("2026-03-02", status=1, preexec_fn=full)
    assert "Traceback" not in printed, printed
    assert "The model in use is first" in printed
    assert registry.in_use() == FIRST
    assert registry.names() == [FIRST]
    # With room again, the same command goes on.
    assert "2026-03-02: promoted" in update("2026-03-02"), log_of(place, "2026-03-02")


def test_a_broken_crawl_ends_with_a_message_and_the_old_model(update, registry, new_look):
    printed = update("2026-03-02", "crawl=[python3, -c, exit(5)]", status=1)
    assert "expected the exit status 0 or 7, not 5" in printed
    assert registry.in_use() == FIRST


def test_wherever_it_is_killed_the_registry_is_whole_and_the_end_the_same(
    start, update, words_of_update, place, new_look, tmp_path
):
    def made(registry):
        day = outcome(registry, "2026-03-02")
        weights = (registry.folder / "2026-03-02" / "model.safetensors").read_bytes()
        return registry.in_use(), weights, day["gains"], day["promoted"]

    copy = tmp_path / "uninterrupted"
    shutil.copytree(place / "models", copy)
    began = time.monotonic()
    update("2026-03-02", models=copy)
    seconds = time.monotonic() - began
    expected = made(ModelRegistry(copy))
    pristine = tmp_path / "pristine"
    registry = ModelRegistry(place / "models")
    shutil.copytree(registry.folder, pristine)
    draw = random.Random(int(os.environ.get("HANLINE_ATTACK_SEED", "0")))
    kills = 0
    while kills < 10:
        process = start(words_of_update("2026-03-02"))
        try:
            process.wait(timeout=draw.uniform(0.1, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        # Whole: each model that is listed can be opened, and so can the one in use.
        for name in registry.names():
            Reader(registry.model_file(name))
        assert registry.in_use() in (FIRST, "2026-03-02")
        if process.returncode == 0:
            assert made(registry) == expected
            shutil.rmtree(registry.folder)
            shutil.copytree(pristine, registry.folder)
    assert "2026-03-02: promoted" in update("2026-03-02")
    assert made(registry) == expected
