"""The language model of characters: what it knows, and which files it refuses."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hanline.errors import HanlineError
from hanline.text.language_model import (
    BEGIN,
    END,
    FIRST,
    count,
    load_language_model,
    save_language_model,
)

LINES = ["대통령 거부권 행사", "대통령 순방", "대법원 판결", "환율 급락", "코스닥 급락", "가"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "headlines.lm"
    save_language_model(count(LINES, 4), path)
    return path


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("context", ["", "대", "대통", "급", "락", "힣", "가나다라마"])
def test_probabilities_sum_to_one_after_any_context(order, context):
    model = count(LINES, order)
    state = BEGIN
    for symbol in model.symbols(context):
        state = model.after(state, symbol)
    symbols = np.arange(END, FIRST + len(model.characters), dtype=np.uint64)
    scores = model.score(np.full(len(symbols), state, np.uint64), symbols)
    assert np.exp(scores).sum() == pytest.approx(1, rel=1e-5)


def test_a_seen_text_is_more_probable_than_a_misread_one(file):
    model = load_language_model(file)
    assert model.line("대통령 순방") > model.line("대퉁령 순방") + 2
    assert model.line("환율 급락") > model.line("급락 환율")
    # A character that was never seen has a probability too.
    assert np.isfinite(model.line("힣힣"))


def test_a_file_says_the_same_as_what_was_counted(file):
    counted, loaded = count(LINES, 4), load_language_model(file)
    assert loaded.characters == counted.characters
    for text in [*LINES, "처음 보는 글"]:
        assert loaded.line(text) == counted.line(text)
    assert not loaded.keys[0].flags.writeable


def test_one_long_line_and_one_character_are_enough():
    for lines in (["가"], ["가" * 5000], ["가나"] * 3):
        assert np.isfinite(count(lines, 5).line("가나다"))


@pytest.mark.parametrize("order", [1, 6])
def test_another_order_is_refused(order):
    with pytest.raises(HanlineError, match="order="):
        count(LINES, order)


def test_no_text_is_refused():
    with pytest.raises(HanlineError, match="expected text"):
        count(["", ""], 3)


def damaged(path, change):
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.__setitem__(-3, content[-3] ^ 1),
        lambda content: content.__delitem__(slice(len(content) // 2, None)),
        lambda content: content.__setitem__(slice(0, 8), struct.pack("<Q", 1 << 60)),
        lambda content: content.clear(),
        lambda content: content.__setitem__(slice(0, None), b"\x80\x04cos\nsystem\n."),
    ],
)
def test_a_damaged_file_is_refused(file, change):
    damaged(file, change)
    with pytest.raises(HanlineError, match=r"headlines\.lm: expected"):
        load_language_model(file)


def rewritten(file, arrays=(), **metadata):
    """Write a hostile file whose checksum is right."""
    from hanline.text import language_model

    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    said = json.loads(content[8 : 8 + size])["__metadata__"] | metadata
    del said["sha256"]
    tables = load_file(file) | dict(arrays)
    save_file(tables, file, said)
    said["sha256"] = language_model._checksum(memoryview(file.read_bytes()), said)
    save_file(tables, file, said)


def test_the_checksum_of_a_rewritten_file_is_right(file):
    rewritten(file)
    assert load_language_model(file).line("가") == count(LINES, 4).line("가")


@pytest.mark.parametrize(
    "arrays, metadata",
    [
        ({"keys.2": np.array([5, 3], np.uint64)}, {}),
        ({"keys.2": np.zeros((0,), np.uint64)}, {}),
        ({"log_probabilities.1": np.full(30, np.nan, np.float32)}, {}),
        ({"log_backoffs.3": np.zeros(7, np.float64)}, {}),
        ({}, {"order": "5"}),
        ({}, {"order": "1"}),
        ({}, {"order": "x"}),
        ({}, {"characters": "가가"}),
        ({}, {"format": "other"}),
        ({}, {"format_version": "2"}),
    ],
)
def test_a_hostile_file_with_a_right_checksum_is_refused(file, arrays, metadata):
    rewritten(file, arrays, **metadata)
    with pytest.raises(HanlineError, match="expected"):
        load_language_model(file)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(HanlineError, match="hanline language-model"):
        load_language_model(tmp_path / "none.lm")


def test_the_command_counts_a_corpus(command, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    done = command(
        "language-model", "corpus.files=[lines.txt]", "output=out/headlines.lm", "order=3"
    )
    assert done.status == 0, done.err
    model = load_language_model(tmp_path / "out" / "headlines.lm")
    assert model.order == 3
    # One headline is kept apart for validation.
    assert sum(model.line(line) > -25 for line in LINES) >= len(LINES) - 1
