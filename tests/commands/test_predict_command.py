"""`predict` and `evaluate` as their users run them, on folders of pictures of known words."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from hanline.cli.hydra_app import CONF


@pytest.fixture
def demo(picture, words, tmp_path):
    """A folder named 데모, with a sub-folder, whose pictures' names sort as their words stand."""
    folder = tmp_path / "데모"
    (folder / "더 많이").mkdir(parents=True)
    for number, word in enumerate(words):
        name = f"img{number + 1}.png" if number < 8 else f"더 많이/사진 {number}.PNG"
        picture(word).save(folder / name)
    return folder


@pytest.fixture
def names(words):
    """The paths of the pictures in their natural order."""
    return [f"img{n}.png" for n in range(1, 9)] + ["더 많이/사진 8.PNG", "더 많이/사진 9.PNG"]


def rows(folder):
    lines = (folder / "readings.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


def test_a_folder_is_read(demo, names, words, checkpoint, command, tmp_path):
    ended = command("predict", "input=데모", f"checkpoint={checkpoint}", "output=결과")
    assert ended.status == 0
    table = rows(tmp_path / "결과")
    assert table[0] == ["path", "text", "confidence", "problem"]
    assert [row[:2] for row in table[1:]] == [list(row) for row in zip(names, words, strict=True)]
    assert all(0.5 < float(row[2]) <= 1 and row[3] == "" for row in table[1:])
    jsonl = (tmp_path / "결과" / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in jsonl] == words
    printed = [line.split() for line in ended.out.splitlines()]
    head = printed.index(["path", "text", "confidence"])
    assert [line[:-1] for line in printed[head + 1 : head + 11]] == [
        f"{name} {word}".split() for name, word in zip(names, words, strict=True)
    ]
    assert "written: 결과/readings.tsv, 결과/readings.jsonl" in ended.out
    assert "accuracy" not in ended.out


def test_nothing_else_is_written(demo, checkpoint, command, tmp_path):
    before = {*tmp_path.rglob("*")}
    assert command("predict", "input=데모", f"checkpoint={checkpoint}").status == 0
    written = {path.name for path in {*tmp_path.rglob("*")} - before}
    assert written == {"readings.tsv", "readings.jsonl"}


def test_the_rest_is_read_when_something_cannot_be(demo, words, checkpoint, command, tmp_path):
    (demo / "img2.png").write_bytes(b"no image")
    whole = (demo / "img3.png").read_bytes()
    (demo / "img3.png").write_bytes(whole[:60])
    ended = command("predict", "input=데모", f"checkpoint={checkpoint}", "batch_size=2")
    assert ended.status == 1
    assert "Traceback" not in ended.err
    assert "2 of 10 images could not be read" in ended.err
    table = rows(tmp_path)[1:]
    assert [row[1] for row in table] == [words[0], "", "", *words[3:]]
    assert [bool(row[3]) for row in table] == [False, True, True] + [False] * 7
    assert "not read: no image of a known format (JPEG" in ended.out
    assert "not read: damaged image" in ended.out
    jsonl = (tmp_path / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(jsonl) == 10


def test_known_labels_give_figures(demo, names, words, checkpoint, command, tmp_path):
    labels = dict(zip(names, words, strict=True)) | {"img1.png": "7"}
    del labels["img2.png"]
    lines = [f"{name}\t{label}\n" for name, label in labels.items()]
    lines[2] = f"./{lines[2]}"
    lines += ["gone.png\t가\n", f"{tmp_path}/elsewhere.png\t나\n", "../up.png\t다\n", "no tab\n"]
    (demo / "gt.txt").write_text("".join(lines).replace("더 많이/", "더 많이\\"), encoding="utf-8")
    ended = command("predict", "input=데모", f"checkpoint={checkpoint}")
    assert ended.status == 0
    assert "9 samples: accuracy 88.89 %, CER" in ended.out
    assert ["path", "text", "label", "confidence"] in map(str.split, ended.out.splitlines())


def test_labels_that_cannot_be_read_are_told_before_the_work(demo, checkpoint, command, tmp_path):
    (demo / "gt.txt").write_bytes("img1.png\t속보\n".encode("cp949"))
    ended = command("predict", "input=데모", f"checkpoint={checkpoint}")
    assert ended.status == 1
    assert "gt.txt: expected UTF-8" in ended.err
    assert not (tmp_path / "readings.tsv").exists()


def test_one_file_is_read(demo, checkpoint, command, tmp_path):
    place = demo / "더 많이" / "사진 9.PNG"
    ended = command("predict", f"input={place}", f"checkpoint={checkpoint}", "device=cpu")
    assert ended.status == 0
    assert [row[:2] for row in rows(tmp_path)[1:]] == [["사진 9.PNG", "美中"]]


def test_names_that_are_no_utf_8_are_read_and_written(picture, checkpoint, command, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    picture("가나").save(folder / os.fsdecode("뉴스.png".encode("cp949")))
    ended = command("predict", "input=old", f"checkpoint={checkpoint}")
    assert ended.status == 0
    assert [row[:2] for row in rows(tmp_path)[1:]] == [[r"\xb4\xba\xbd\xba.png", "가나"]]
    assert r"\xb4\xba\xbd\xba.png" in ended.out


def test_a_folder_named_like_a_number_is_read(picture, checkpoint, command, tmp_path):
    (tmp_path / "20240101").mkdir()
    picture("A").save(tmp_path / "20240101" / "a.png")
    assert command("predict", "input=20240101", f"checkpoint={checkpoint}").status == 0
    assert rows(tmp_path)[1][1] == "A"


@pytest.fixture
def refused(command, demo, checkpoint):
    """What `predict` says of the folder 데모 that it does not read."""

    def refused(*arguments):
        given = {argument.partition("=")[0] for argument in arguments}
        defaults = {"input": "데모", "checkpoint": checkpoint}
        rest = [f"{key}={value}" for key, value in defaults.items() if key not in given]
        ended = command("predict", *arguments, *rest)
        assert ended.status == 1
        assert ended.err.startswith("error: ")
        assert "Traceback" not in ended.err
        return ended.err

    return refused


def test_what_cannot_be_read_at_all_is_told(refused, demo, tmp_path):
    assert "there is no folder nowhere" in refused("input=nowhere")
    (tmp_path / "empty").mkdir()
    assert "there is no image in empty" in refused("input=empty")
    assert "none.ckpt: expected a model's file" in refused("checkpoint=none.ckpt")
    assert "there is no device 'gpu'" in refused("device=gpu")
    assert "batch_size is 0" in refused("batch_size=0")
    (tmp_path / "file").touch()
    assert "cannot write the readings into file" in refused("output=file")
    (tmp_path / "words.ckpt").write_text("속보", encoding="utf-8")
    assert "words.ckpt" in refused("checkpoint=words.ckpt")


def test_dtrbs_weights_are_told_from_a_checkpoint(refused, tmp_path):
    weights = {"module.FeatureExtraction.ConvNet.0.weight": torch.zeros(4, 1, 3, 3)}
    torch.save(weights, tmp_path / "TPS-ResNet-BiLSTM-Attn.pth")
    message = refused("checkpoint=TPS-ResNet-BiLSTM-Attn.pth")
    assert "expected a file that says its charset" in message
    assert "hanline import dtrb TPS-ResNet-BiLSTM-Attn.pth" in message


def labelled(demo, names, words):
    lines = [f"{name}\t{word}\n" for name, word in zip(names, words, strict=True)]
    lines[0] = f"{names[0]}\t{words[0]}가\n"
    lines[9] = f"{names[9]}\t韓中\n"
    (demo / "gt.txt").write_text("".join(lines) + "gone.png\t가\n", encoding="utf-8")


def test_a_folder_and_its_lmdb_set_get_the_same_figures(
    demo, names, words, checkpoint, command, tmp_path
):
    labelled(demo, names, words)
    assert command("pack", "input=데모/gt.txt", "output=sets/데모", "processes=1").status == 0
    records = []
    for dataset in ("데모", "sets/데모", "sets"):
        ended = command(
            "evaluate",
            f"input={dataset}",
            f"checkpoint={checkpoint}",
            f"output=figures of {dataset}",
            "confusions=1",
        )
        assert ended.status == 0
        assert ended.out.startswith("10 samples: accuracy 80.00 %, CER")
        file = tmp_path / f"figures of {dataset}" / "evaluation.json"
        assert f"written: figures of {dataset}/evaluation.json" in ended.out
        records.append(json.loads(file.read_text(encoding="utf-8")))
    folder, *sets = records
    assert folder.pop("unread") == {"no such file": 1}
    for record in sets:
        assert record.pop("unread") == {}
        assert record == folder
    assert folder["total"]["samples"] == 10
    confusions = {(c["label"], c["read"]): c["times"] for c in folder["confusions"]}
    assert confusions == {("가", ""): 1, ("韓", "美"): 1}
    assert folder["by_length"]["2"]["samples"] == 6


def test_what_cannot_be_evaluated_is_told(demo, checkpoint, command, tmp_path):
    (tmp_path / "file").touch()
    for arguments, reason in (
        (["input=데모"], "there is nothing to evaluate"),
        (["input=nowhere"], "nowhere: expected a folder"),
        (["input=데모", "checkpoint=none.ckpt"], "none.ckpt: expected a model's file"),
    ):
        if len(arguments) < 2:
            arguments.append(f"checkpoint={checkpoint}")
        ended = command("evaluate", *arguments)
        assert ended.status == 1
        assert ended.err.startswith("error: ")
        assert reason in ended.err
    (demo / "gt.txt").write_text("img1.png\t1\n", encoding="utf-8")
    ended = command("evaluate", "input=데모", f"checkpoint={checkpoint}", "output=file")
    assert ended.status == 1
    assert "cannot write file/evaluation.json" in ended.err


def test_the_commands_of_a_shell(demo, words, checkpoint, process, tmp_path):
    """Processes of their own: exit status, streams, and encodings are those that a user gets."""
    (demo / "img2.png").write_bytes(b"no image")
    predict = CONF.parent / "predict.py"
    ended = process(predict, f"checkpoint={checkpoint}", "input=데모", LC_ALL="C")
    assert ended.status == 1, ended.err
    assert ended.err.splitlines()[-1] == "1 of 10 images could not be read; see above"
    assert "속보 1" in ended.out
    assert [row[1] for row in rows(tmp_path)[1:]] == [words[0], "", *words[2:]]

    ended = process(Path(sys.executable).with_name("hanline"), "predict", "chekpoint=x")
    assert ended.status == 1
    assert ended.out == ""
    assert ended.err.startswith("error: 'chekpoint': expected a key")
    assert "did you mean checkpoint?" in ended.err


def test_an_output_without_hangul_gets_it_escaped(demo, words, checkpoint, process, tmp_path):
    """As where Windows sends it to a file: in an encoding of its own."""
    predict = CONF.parent / "predict.py"
    arguments = [f"checkpoint={checkpoint}", "input=데모"]
    ended = process(predict, *arguments, PYTHONIOENCODING="ascii")
    assert ended.status == 0, ended.err
    assert r"\uac00\ub098" in ended.out
    assert [row[1] for row in rows(tmp_path)[1:]] == words

    ended = process("-m", "hanline.cli.main", PYTHONIOENCODING="ascii")
    assert ended.status == 0, ended.err
    assert r"[key=value \u2026]" in ended.out


def test_the_readings_are_kept_whoever_closes_the_output(demo, words, checkpoint, tmp_path):
    line = [sys.executable, CONF.parent / "predict.py", f"checkpoint={checkpoint}"]
    line += ["input=데모"]
    with subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        run.stderr.read()
    assert [row[1] for row in rows(tmp_path)[1:]] == words


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_read_is_kept_when_the_command_is_stopped(number, picture, checkpoint, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    picture("A").save(folder / "0.png")
    for name in range(1, 20_000):
        os.link(folder / "0.png", folder / f"{name}.png")
    line = [sys.executable, CONF.parent / "predict.py", f"checkpoint={checkpoint}"]
    line += ["input=many", "batch_size=1", "device=cpu", "output=out"]
    with subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        while run.poll() is None:
            # Readings are there while others are being read.
            partial = [*(tmp_path / "out").glob("readings.tsv.*")]
            if partial and partial[0].read_bytes().count(b"\n") > 5:
                run.send_signal(number)
                break
            time.sleep(0.02)
        _, errors = run.communicate()
    assert run.returncode == 128 + number, errors
    assert "Traceback" not in errors
    table = rows(tmp_path / "out")
    assert 5 < len(table) < 20_000
    assert f"stopped; {len(table) - 1} of 20000 images were read" in errors
    assert [row[:2] for row in table[1:]] == [[f"{n}.png", "A"] for n in range(len(table) - 1)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("readings.tsv", "readings.jsonl")
    }


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    demo, checkpoint, command, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    read = []
    monkeypatch.setattr("hanline.inference.reader.decode_image", read.append)
    ended = command("predict", "input=데모", f"checkpoint={checkpoint}", "output=file")
    assert ended.status == 1
    assert "output=file: expected a folder for the readings" in ended.err
    assert read == []


def test_a_picture_is_read_as_the_checkpoint_wants_it(
    make_recognizer, save_checkpoint, command, tmp_path
):
    recognizer = make_recognizer("tps", "vgg", charset="韓美", image=(48, 64, 3)).eval()
    save_checkpoint(recognizer, tmp_path / "other.ckpt")
    (tmp_path / "in").mkdir()
    Image.effect_noise((64, 48), 90).convert("RGB").save(tmp_path / "in" / "a.png")
    ended = command("predict", "input=in", "checkpoint=other.ckpt")
    assert ended.status == 0, ended.err
    assert set(rows(tmp_path)[1][1]) <= set("韓美")
