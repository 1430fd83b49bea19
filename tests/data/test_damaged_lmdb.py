"""Damaged LMDB files: read to their end, refused with a message, or skipped sample by sample."""

import multiprocessing
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image
from support.damaged_lmdb import FORMAT, PAGE, RULES, SAMPLES, damage, read_all, whole

from hanline.data.dataset import LMDBDataset
from hanline.data.lmdb_store import LMDBStore
from hanline.data.lmdb_writer import LMDBWriter
from hanline.errors import HanlineError


def answer_of(path, answer):
    """Send what reading a dataset gives; for a process of its own."""
    try:
        answer.send(read_all(path))
    except HanlineError as error:
        answer.send(str(error))
    except BaseException as error:
        answer.send(repr(error) + " is a defect")
        raise


def outcome_of(path, context):
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=answer_of, args=(path, theirs))
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(60) else "it hung, which is a defect"
    except EOFError:
        answer = "it died, which is a defect"
    process.join(10)
    if process.exitcode and process.exitcode < 0:
        answer = f"it died of {signal.Signals(-process.exitcode).name}, which is a defect"
    return answer


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("first", range(0, 150, 30))
def test_of_300_damaged_files_none_ends_a_process_or_is_read_wrong(
    tmp_path, encode, checksums, first
):
    source, expected = whole(tmp_path / "whole", encode, checksums)
    content = (source / "data.mdb").read_bytes()
    context = multiprocessing.get_context("fork")
    for seed in range(first, first + 30):
        path = tmp_path / f"damaged-{seed}"
        shutil.copytree(source, path)
        (path / "data.mdb").write_bytes(damage(bytearray(content), seed))
        answer = outcome_of(path, context)
        assert "a defect" not in answer, seed
        if isinstance(answer, str):
            assert str(path) in answer, seed
            continue
        samples, labels = answer
        if not checksums:
            continue
        assert len(samples) == len(labels) == SAMPLES, seed
        for (image, label, problem), known, sample in zip(samples, labels, expected, strict=True):
            assert problem or (image, label) == sample, seed
            assert known in (None, sample[1]), seed


@pytest.mark.parametrize("checksums", [True, False])
def test_samples_on_a_broken_page_are_counted_named_and_skipped(
    tmp_path, encode, checksums, caplog
):
    path, expected = whole(tmp_path / "set", encode, checksums)
    content = bytearray((path / "data.mdb").read_bytes())
    at = content.index(expected[55][0]) // PAGE * PAGE
    content[at : at + PAGE] = bytes(PAGE)
    (path / "data.mdb").write_bytes(content)
    data = LMDBDataset([path], FORMAT, RULES)
    served = {sample.label for sample in data.samples(range(len(data)))}
    assert 0 < data.damaged < SAMPLES / 2
    assert len(served) + data.damaged == len(data) == SAMPLES
    lost = [number for number in range(SAMPLES) if f"제{number}" not in served]
    for number in lost:
        assert f"skipped image {number + 1} of {path}: it is on a broken page" in caplog.text
    assert "1 pages of its data.mdb are broken" in caplog.text
    with pytest.raises(
        HanlineError, match=rf"sample {lost[0] + 1} of the LMDB dataset {path} is damaged"
    ):
        LMDBStore(path).read(range(SAMPLES))


@pytest.mark.parametrize("what", ["image", "label"])
def test_a_single_bit_is_noticed(tmp_path, encode, what):
    path, expected = whole(tmp_path / "set", encode, True)
    content = (path / "data.mdb").read_bytes()
    image, label = expected[33]
    sought = image if what == "image" else b"label-000000034" + label.encode()
    # LMDB has left copies on pages that it does not use any more.
    (path / "data.mdb").write_bytes(content.replace(sought, sought[:-1] + bytes([sought[-1] ^ 1])))
    store = LMDBStore(path)
    problems = [sample.problem for sample in store.samples(range(SAMPLES))]
    assert problems[33] == "its checksum is wrong; it is damaged or was changed"
    assert not any(problems[:33] + problems[34:])
    labels = list(store.labels())
    assert labels[33] == (None if what == "label" else label)
    data = LMDBDataset([path], FORMAT, RULES)
    assert data.invalid == ({"damaged": 1} if what == "label" else {})


def test_a_label_that_is_not_utf8_is_left_out(dtrb_set, encode):
    samples = [(encode(Image.new("L", (24, 8), i)), f"{i}") for i in range(5)]
    path = dtrb_set("set", samples)
    content = bytearray((path / "data.mdb").read_bytes())
    at = content.index(b"label-0000000033"[:15] + b"2")
    content[at + 15] = 0xFF
    (path / "data.mdb").write_bytes(content)
    data = LMDBDataset([path], FORMAT, RULES)
    assert data.invalid == {"damaged": 1}
    assert [sample.label for sample in data.samples(range(4))] == ["0", "1", "3", "4"]


def test_a_partial_dataset_of_an_older_hanline_is_completed_without_checksums(tmp_path, grey):
    writer = LMDBWriter(tmp_path / "set", resume=True)
    writer._has_checksums = False
    writer.add([(grey(1), "가")])
    writer._environment.close()
    writer = LMDBWriter(tmp_path / "set", resume=True)
    writer.add([(grey(2), "나")])
    store = LMDBStore(writer.finish({}))
    assert not store.has_checksums
    assert list(store.labels()) == ["가", "나"]


def test_a_spawned_process_reads_a_damaged_file(tmp_path, encode):
    path, _ = whole(tmp_path / "set", encode, True)
    content = bytearray((path / "data.mdb").read_bytes())
    (path / "data.mdb").write_bytes(damage(content, 1))
    answer = outcome_of(Path(path), multiprocessing.get_context("spawn"))
    assert "a defect" not in answer
