"""``decoding=beam`` through the commands, and its refusals."""

import json

import pytest


def test_predict_reads_with_a_language_model_and_writes_the_best_texts(
    folder, words, checkpoint, command, tmp_path
):
    (tmp_path / "lines.txt").write_text("\n".join(words), encoding="utf-8")
    done = command("language-model", "corpus.files=[lines.txt]", "output=words.lm", "order=2")
    assert done.status == 0, done.err
    done = command(
        "predict",
        "input=pictures",
        f"checkpoint={checkpoint}",
        "decoding=beam",
        "decoding.language_model=words.lm",
        "decoding.words=lines.txt",
        "decoding.best=3",
        "parts=true",
    )
    assert done.status == 0, done.err
    lines = (tmp_path / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["text"] for record in records] == words
    for record in records:
        assert len(record["others"]) == 2
        assert record["text"] not in [other["text"] for other in record["others"]]
        assert "".join(part["text"] for part in record["characters"]) == record["text"]


def test_a_lexicon_restricts_what_predict_writes(folder, words, checkpoint, command, tmp_path):
    (tmp_path / "lexicon.txt").write_text("가나\n한글\n", encoding="utf-8")
    done = command(
        "predict",
        "input=pictures",
        f"checkpoint={checkpoint}",
        "decoding=beam",
        "decoding.lexicon=lexicon.txt",
    )
    assert done.status == 0, done.err
    lines = (tmp_path / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert {word for text in texts for word in text.split()} <= {"가나", "한글"}
    in_lexicon = [text for text, word in zip(texts, words, strict=True) if word in ("가나", "한글")]
    assert in_lexicon == ["가나", "한글"]


@pytest.mark.parametrize(
    "setting, message",
    [
        ("decoding.width=0", "decoding.width=0: expected"),
        ("decoding.sure=2", "decoding.sure=2"),
        ("decoding.weight=-1", "decoding.weight=-1"),
        ("decoding.best=99", "decoding.best=99: expected at most decoding.width=16"),
        ("decoding.language_model=none.lm", "expected a language model's file"),
        ("decoding.words=none.txt", "decoding.words=none.txt: expected a text file"),
        ("decoding.widht=3", "width"),
    ],
)
def test_bad_settings_say_the_rule(setting, message, folder, checkpoint, command):
    done = command(
        "predict", "input=pictures", f"checkpoint={checkpoint}", "decoding=beam", setting
    )
    assert done.status == 1
    assert message in done.err
    assert "Traceback" not in done.err
