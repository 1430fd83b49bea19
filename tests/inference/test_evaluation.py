"""The metrics of an evaluation, on readings made by hand."""

import json

import pytest

from hanline.data.packing import pack
from hanline.errors import HanlineError
from hanline.inference.evaluation import as_json, compare, evaluate, print_evaluation, summary
from hanline.inference.reader import Reading


class Recites:
    """A reader that reads what it was told, whatever the images."""

    def __init__(self, *readings: Reading | str) -> None:
        self.known = readings
        self.images = []

    def readings(self, images):
        for image, reading in zip(images, self.known, strict=True):
            self.images.append(image)
            yield Reading(reading, 0.5) if isinstance(reading, str) else reading


@pytest.fixture
def folder(tmp_path):
    """A folder with a gt.txt of the given lines; the images are not there, for none is opened."""

    def folder(*lines):
        (tmp_path / "set").mkdir()
        text = "".join(f"{line}\n" for line in lines)
        (tmp_path / "set" / "gt.txt").write_text(text, encoding="utf-8")
        return tmp_path / "set"

    return folder


@pytest.fixture
def evaluation(folder):
    place = folder(
        "1.png\t가나",
        "2.png\t가나다",
        "no tab",
        "3.png\t속보",
        "4.png\t한글날",
        "5.png\t",
        "6.png\tA",
        "7.png\t나",
        "8.png\t뉴스",
    )
    reader = Recites(
        "가나",
        "가너다",
        "속보!",
        "한날",
        "",
        Reading(problem="damaged image: cut off at byte 3"),
        Reading(problem="damaged image: cut off at byte 9"),
    )
    made = evaluate(reader, place, lowercase=False)
    assert [image.name for image in reader.images] == [f"{n}.png" for n in (1, 2, 3, 4, 6, 7, 8)]
    return made


def test_the_metrics_over_all(evaluation):
    total = evaluation.total
    assert total.samples == 5
    assert total["accuracy"] == pytest.approx(100 * 1 / 5)
    # 1, then one edit in three characters three times, then nothing read.
    assert total["edit_similarity"] == pytest.approx(100 * (1 + 3 * (2 / 3) + 0) / 5)
    assert total["cer"] == pytest.approx(100 * 4 / (2 + 3 + 2 + 3 + 1))


def test_the_metrics_by_length(evaluation):
    by_length = {
        length: (c.samples, *(round(c[name], 2) for name in ("accuracy", "edit_similarity", "cer")))
        for length, c in evaluation.by_length.items()
    }
    assert by_length == {
        1: (1, 0.0, 0.0, 100.0),
        2: (2, 50.0, 83.33, 25.0),
        3: (2, 0.0, 66.67, 33.33),
    }
    assert list(by_length) == sorted(by_length)


def test_the_confusions(evaluation):
    assert evaluation.confusions == {
        ("나", "너"): 1,
        ("", "!"): 1,
        ("글", ""): 1,
        ("A", ""): 1,
    }


def test_the_most_frequent_confusion_comes_first(folder):
    place = folder("1.png\t가가가", "2.png\t나가")
    made = evaluate(Recites("갸갸가", "냐갸"), place, lowercase=False)
    assert made.confusions.most_common() == [(("가", "갸"), 3), (("나", "냐"), 1)]


def test_what_could_not_be_read_is_counted_by_reason(evaluation):
    assert evaluation.unread == {
        "damaged image": 2,
        "no tab between path and label": 1,
        "empty label": 1,
    }


def test_case_counts_unless_it_is_folded(folder):
    place = folder("1.png\tSK 하이닉스", "2.png\tlg")
    readings = ("sk 하이닉스", "LG")
    assert evaluate(Recites(*readings), place, lowercase=False).total["accuracy"] == 0
    folded = evaluate(Recites(*readings), place, lowercase=True)
    assert folded.total["accuracy"] == folded.total["edit_similarity"] == 100
    assert not folded.confusions


def test_the_json_holds_all_of_it(evaluation):
    record = json.loads(as_json(evaluation))
    assert "너" in as_json(evaluation)
    assert record["total"] == {
        "samples": 5,
        "accuracy": pytest.approx(20),
        "cer": pytest.approx(400 / 11),
        "edit_similarity": pytest.approx(60),
        "sums": {
            "accuracy": {"correct": 1, "samples": 5},
            "cer": {"distance": 4, "characters": 11},
            "edit_similarity": {"similarity_millionths": 3_000_001, "samples": 5},
        },
    }
    assert {length: part["samples"] for length, part in record["by_length"].items()} == {
        "1": 1,
        "2": 2,
        "3": 2,
    }
    assert {"label": "나", "read": "너", "times": 1} in record["confusions"]
    assert {"label": "", "read": "!", "times": 1} in record["confusions"]
    assert len(record["confusions"]) == 4
    assert record["unread"]["damaged image"] == 2


def test_what_is_printed(evaluation, capsys):
    print_evaluation(evaluation, confusions=2)
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "5 samples: accuracy 20.00 %, CER 36.36 %, 1-NED 60.00 %"
    assert "not read: 2 × damaged image" in lines
    assert "length samples accuracy CER 1-NED" in lines
    assert "2 2 50.00 25.00 83.33" in lines
    shown = lines[lines.index("label read as times") + 1 :]
    assert len([line for line in shown if line]) == 2
    assert all(line.endswith(" 1") for line in shown if line)


@pytest.mark.parametrize("lines", [[], ["no tab"], ["1.png\t"]])
def test_a_set_without_samples_is_told(lines, folder):
    with pytest.raises(HanlineError, match=r"no sample of .* can be read"):
        evaluate(Recites(), folder(*lines), lowercase=False)


def test_a_set_none_of_whose_images_can_be_read_is_told(folder):
    place = folder("1.png\t가", "2.png\t나")
    gone = Reading(problem="no such file")
    with pytest.raises(HanlineError, match=r"no such file.*2"):
        evaluate(Recites(gone, gone), place, lowercase=False)


def test_a_place_that_is_no_set_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(HanlineError, match=r"no gt\.txt: there is nothing to evaluate"):
            evaluate(Recites(), place, lowercase=False)


@pytest.fixture
def packed(folder, picture):
    """A folder of three pictures, and the LMDB sets that hold the same below one folder."""
    place = folder("1.png\t가나", "2.png\t한글", "3.png\t뉴스")
    for number, word in enumerate(("가나", "한글", "뉴스"), start=1):
        picture(word).save(place / f"{number}.png")
    sets = place.parent / "sets"
    pack(place / "gt.txt", sets / "one", processes=1)
    return place, sets


def test_lmdb_sets_are_evaluated_as_folders_are(packed):
    place, sets = packed
    readings = ("가나", "한굴", "")
    from_folder, from_set, from_sets = (
        evaluate(Recites(*readings), dataset, lowercase=False)
        for dataset in (place, sets / "one", sets)
    )
    assert from_folder == from_set == from_sets
    assert from_folder.total.sums["accuracy"]["correct"] == 1


def test_an_lmdb_set_hands_over_its_images(packed):
    place, sets = packed
    reader = Recites("", "", "")
    evaluate(reader, sets, lowercase=False)
    assert reader.images == [(place / f"{n}.png").read_bytes() for n in (1, 2, 3)]


def test_readings_are_compared_with_what_is_known_of_them():
    readings = {
        "a.png": Reading("가나", 0.9),
        "b.png": Reading("가", 0.9),
        "c.png": Reading(problem="no such file"),
        "d.png": Reading("다", 0.9),
    }
    compared = compare(readings, {"a.png": "가나", "b.png": "나", "c.png": "가나", "e.png": "라"})
    assert compared.samples == 3
    assert compared.sums["accuracy"]["correct"] == 1
    assert compared.sums["cer"]["distance"] == 3
    assert summary(compared).startswith("3 samples: accuracy 33.33 %")
    assert compare(readings, {}).samples == 0
