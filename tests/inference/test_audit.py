"""Labels that are wrong are found, whatever is wrong with them."""

import pytest
from auditing import spoil
from PIL import Image

from hanline.data.packing import pack
from hanline.errors import HanlineError
from hanline.inference.audit import AUDIT, PAGE, audit, read_audit
from hanline.inference.reader import Reader


def relabel(folder, change):
    gt = folder / "gt.txt"
    rows = [line.split("\t") for line in gt.read_text(encoding="utf-8").splitlines()]
    labels, changed = change([label for _, label in rows])
    lines = [f"{path}\t{label}\n" for (path, _), label in zip(rows, labels, strict=True)]
    gt.write_text("".join(lines), encoding="utf-8")
    return {rows[i][0] for i in changed}


# Of 2,000 lines with 40 spoiled labels 36 are among the first 60: benchmarks/auditing.py. This is
# the same in small.
@pytest.mark.slow
def test_spoiled_labels_are_among_the_first(command, tmp_path):
    drawn = command(
        *("synthesize", "output=words", "part=validation", "samples=400", "synthesis.fonts=bundled")
    )
    assert drawn.status == 0, drawn.err
    spoiled = relabel(tmp_path / "words", lambda labels: spoil(labels, 8, 1))
    ended = command("audit", "dataset=words", "output=audit")
    assert ended.status == 0, ended.err
    first = [row.sample for row in read_audit(tmp_path / "audit" / AUDIT)][:12]
    assert len(spoiled & {*first}) >= 7


@pytest.fixture
def reader(checkpoint):
    return Reader(checkpoint, device="cpu")


def ranked(reader, folder, output):
    return {row.sample: row for row in audit(reader, folder, output, 100)}


@pytest.mark.parametrize("form", ["folder", "lmdb"])
def test_a_swapped_label_is_first_in_a_folder_and_in_lmdb(reader, folder, tmp_path, form):
    relabel(folder, lambda labels: (["뉴스", *labels[1:]], [0]))
    place, name = folder, "0.png"
    if form == "lmdb":
        place, name = tmp_path / "packed", "packed#1"
        pack(folder / "gt.txt", place, 1)
    first, *others = audit(reader, place, tmp_path / "audit", 3)
    assert (first.sample, first.label, first.reading) == (name, "뉴스", "1")
    assert first.reasons == "read otherwise"
    assert all(row.score < 5 < first.score for row in others)
    assert [row.image for row in (first, *others)][:4] == [
        *(f"images/{rank:06d}.png" for rank in (1, 2, 3)),
        "",
    ]
    assert "뉴스" in (tmp_path / "audit" / PAGE).read_text(encoding="utf-8")
    assert list(read_audit(tmp_path / "audit" / AUDIT)) == [first, *others]


def test_what_cannot_be_right_is_named(reader, folder, tmp_path):
    Image.new("L", (96, 32), 128).save(folder / "blank.png")
    (folder / "broken.png").write_bytes(b"no image")
    Image.open(folder / "5.png").save(folder / "copy.png")
    with (folder / "gt.txt").open("a", encoding="utf-8") as gt:
        gt.write("blank.png\t1\nbroken.png\t1\ncopy.png\t뉴스\n")
        gt.write(f"2.png\t{'10' * 40}\n3.png\t10%\n../outside.png\t1\nlost.png\t1\n")
    rows = audit(reader, folder, tmp_path / "audit", 100)
    reasons = {}
    for row in rows:
        reasons.setdefault(row.sample, []).append(row.reasons)
    assert "blank picture" in reasons["blank.png"][0]
    assert "not readable" in reasons["broken.png"][0]
    assert "not readable" in reasons["lost.png"][0]
    assert "labeled 뉴스" in reasons["5.png"][0]
    assert "labeled 한글" in reasons["copy.png"][0]
    assert any("room" in reason for reason in reasons["2.png"])
    assert any("1 characters that the reader does not know" in r for r in reasons["3.png"])
    assert "../outside.png" not in reasons


def test_a_foreign_table_is_refused(tmp_path):
    (tmp_path / AUDIT).write_text("rank\tscore\n1\tx\n", encoding="utf-8")
    with pytest.raises(HanlineError, match="expected the columns"):
        list(read_audit(tmp_path / AUDIT))


def test_a_missing_dataset_is_refused(command):
    ended = command("audit", "dataset=nowhere")
    assert ended.status == 1
    assert "dataset=nowhere: expected a dataset that exists" in ended.err
