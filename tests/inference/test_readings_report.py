"""Readings as a table on the screen."""

from hanline.inference.reader import Reading
from hanline.inference.readings_report import print_readings

PATHS = ["img2.png", "가/img10.png", "broken.png"]
READINGS = [
    Reading("속보 [속보]", 0.98765432),
    Reading("", 0.25),
    Reading(problem="damaged image: cut\noff"),
]


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
