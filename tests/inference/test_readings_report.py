"""Readings as a table on the screen and as files."""

import json

import pytest

from hanline.errors import HanlineError
from hanline.inference.reader import Reading
from hanline.inference.readings_report import print_readings, write_readings

PATHS = ["img2.png", "가/img10.png", "broken.png"]
READINGS = [
    Reading("속보 [속보]", 0.98765432),
    Reading("", 0.25),
    Reading(problem="damaged image: cut\noff"),
]


def test_the_files_hold_every_reading(tmp_path):
    tsv, jsonl = write_readings(tmp_path / "out" / "deep", PATHS, READINGS)
    assert (tsv.name, jsonl.name) == ("readings.tsv", "readings.jsonl")
    assert tsv.parent == tmp_path / "out" / "deep"
    assert tsv.read_bytes().decode("utf-8") == (
        "path\ttext\tconfidence\tproblem\n"
        "img2.png\t속보 [속보]\t0.987654\t\n"
        "가/img10.png\t\t0.250000\t\n"
        "broken.png\t\t0.000000\tdamaged image: cut off\n"
    )
    assert [json.loads(line) for line in jsonl.read_text(encoding="utf-8").splitlines()] == [
        {"path": "img2.png", "text": "속보 [속보]", "confidence": 0.98765432, "problem": ""},
        {"path": "가/img10.png", "text": "", "confidence": 0.25, "problem": ""},
        {
            "path": "broken.png",
            "text": "",
            "confidence": 0.0,
            "problem": "damaged image: cut\noff",
        },
    ]
    assert "속보" in jsonl.read_text(encoding="utf-8")


def test_a_strange_path_leaves_the_table_whole(tmp_path):
    path = "a\tb\nc\u2028d\r.png"
    tsv, jsonl = write_readings(tmp_path, [path, "b.png"], [Reading("가\t나", 1.0), READINGS[0]])
    rows = [line.split("\t") for line in tsv.read_text(encoding="utf-8").splitlines()]
    assert [len(row) for row in rows] == [4, 4, 4]
    assert rows[1][:2] == ["a b c d .png", "가 나"]
    assert json.loads(jsonl.read_text(encoding="utf-8").split("\n")[0])["path"] == path


def test_former_files_are_replaced(tmp_path):
    write_readings(tmp_path, PATHS, READINGS)
    tsv, jsonl = write_readings(tmp_path, PATHS[:1], READINGS[:1])
    assert len(tsv.read_text(encoding="utf-8").splitlines()) == 2
    assert len(jsonl.read_text(encoding="utf-8").splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readings.jsonl", "readings.tsv"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(HanlineError, match="cannot write the readings into"):
            write_readings(folder, PATHS, READINGS)


def lines(capsys):
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_the_table(capsys):
    print_readings(PATHS, READINGS, {})
    printed = lines(capsys)
    assert printed[0].split() == ["path", "text", "confidence"]
    assert printed[1].split() == ["img2.png", "속보", "[속보]", "0.9877"]
    assert printed[2].split() == ["가/img10.png", "0.2500"]
    assert printed[3].startswith("broken.png")
    assert "not read: damaged image: cut" in printed[3]
    assert "0.0000" not in "".join(printed)


def test_the_table_with_labels(capsys):
    print_readings(PATHS, READINGS, {"img2.png": "속보 [속보]", "broken.png": "끝"})
    printed = lines(capsys)
    assert printed[0].split() == ["path", "text", "label", "confidence"]
    assert printed[1].split() == ["img2.png", "속보", "[속보]", "속보", "[속보]", "0.9877"]
    assert printed[3].rstrip().endswith("끝")


def test_no_path_and_no_reading_is_cut_in_a_log(capsys):
    path = "아주 긴 폴더/" * 20 + "그림.png"
    text = "긴 제목이 있는 속보 " * 20
    print_readings([path], [Reading(text, 0.5)], {path: text})
    (row,) = lines(capsys)[1:]
    assert row.startswith(path)
    assert row.count(text.strip()) == 2


def test_what_looks_like_markup_is_printed_as_it_is(capsys):
    print_readings(["[red]a.png"], [Reading("[bold]:smile:[/bold]", 1.0)], {})
    assert lines(capsys)[1].split() == ["[red]a.png", "[bold]:smile:[/bold]", "1.0000"]
