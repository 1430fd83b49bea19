"""Readings as files, written as they come."""

import json
import os
import subprocess
import sys

import pytest

from hanline.errors import HanlineError
from hanline.inference.reader import Reading
from hanline.inference.readings_files import ReadingsWriter

PATHS = ["img2.png", "가/img10.png", "broken.png"]
READINGS = [
    Reading("속보 [속보]", 0.98765432),
    Reading("", 0.25),
    Reading(problem="damaged image: cut\noff"),
]


def write_readings(folder, paths, readings):
    with ReadingsWriter(folder) as writer:
        for path, reading in zip(paths, readings, strict=True):
            writer.add(path, reading)
    return writer.paths


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


def test_what_was_read_is_there_whatever_ends_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), ReadingsWriter(tmp_path) as writer:
        writer.add(PATHS[0], READINGS[0])
        raise KeyboardInterrupt
    tsv, jsonl = writer.paths
    assert len(tsv.read_text(encoding="utf-8").splitlines()) == 2
    assert json.loads(jsonl.read_text(encoding="utf-8"))["text"] == "속보 [속보]"
    assert {path.name for path in tmp_path.iterdir()} == {"readings.tsv", "readings.jsonl"}


def test_former_files_stay_where_nothing_was_read(tmp_path):
    write_readings(tmp_path, PATHS, READINGS)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt), ReadingsWriter(tmp_path):
        raise KeyboardInterrupt
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_reading_is_in_the_files_when_it_is_made(tmp_path):
    with ReadingsWriter(tmp_path) as writer:
        writer.add(PATHS[0], READINGS[0])
        (tsv,) = tmp_path.glob("readings.tsv.*.partial")
        assert tsv.read_text(encoding="utf-8").endswith("img2.png\t속보 [속보]\t0.987654\t\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for a file's size")
def test_a_full_disk_keeps_whole_readings(tmp_path):
    script = """
import resource, signal, sys
from pathlib import Path
from hanline.inference.reader import Reading
from hanline.inference.readings_files import ReadingsWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with ReadingsWriter(Path(sys.argv[1])) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    for number in range(100):
        writer.add(f"{number}.png", Reading("속보", 0.5))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True, text=True, encoding="utf-8", env=os.environ,
    )  # fmt: skip
    assert "HanlineError: output=" in done.stderr
    assert "cannot write the readings" in done.stderr
    rows = (tmp_path / "readings.tsv").read_text(encoding="utf-8").splitlines()[1:]
    records = (tmp_path / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    assert 0 < len(rows) == len(records) < 100
    assert [json.loads(record)["path"] for record in records] == [
        row.split("\t")[0] for row in rows
    ]
    assert all(row.endswith("\t0.500000\t") for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {"readings.tsv", "readings.jsonl"}
