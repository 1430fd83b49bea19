"""Where a reading says that its characters are, against where they were rendered."""

import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

import hanline
from hanline.cli.hydra_app import CONF
from hanline.errors import HanlineError
from hanline.inference.parts import located
from hanline.models.stage import Letter, Prediction
from hanline.text.charset import named_charset

TEXTS = [
    "코스닥 2.7% 급락…환율 1,392원",
    "서울 지하철 2호선 오전 한때 지연",
    "밤사이 눈",
    "北, 동해상으로 미사일 발사",
]


@pytest.fixture(scope="module")
def renderings():
    """Lines in the plain look, in the bundled fonts."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", ["synthesis.fonts=bundled", "renderer.bold_probability=0"])
    look = instantiate(config.synthesis, characters=named_charset("korean").characters)
    return [look.rendering(look.task(text, number)) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def reader():
    return hanline.Reader(device="cpu", deskew=False)


@pytest.mark.parametrize("zoom", [1, 2.5])
def test_the_shipped_reader_says_where_the_characters_are(zoom, reader, renderings):
    measured = []
    for text, rendering in zip(TEXTS, renderings, strict=True):
        image = rendering.image
        large = image.resize((round(zoom * image.width), round(zoom * image.height)))
        reading = reader.read(large, parts=True)
        if reading.text == text:
            read = np.array([[part.left, part.right] for part in reading.parts.characters])
            measured.append(np.abs(read / zoom - rendering.boxes[:, [0, 2]]))
    assert len(measured) >= 3
    # Of lines 32 pixels high, in pixels: the ends of the ink of characters that have any.
    assert np.nanmean(np.concatenate(measured)) < 2


def test_parts_change_neither_text_nor_confidence(reader, renderings):
    images = [rendering.image for rendering in renderings]
    plain, full = reader.read(images), reader.read(images, parts=True)
    assert [r.text for r in full] == [r.text for r in plain]
    assert [r.confidence for r in full] == pytest.approx([r.confidence for r in plain])
    assert all(r.parts is None for r in plain)
    for reading in full:
        parts = reading.parts
        assert "".join(part.text for part in parts.characters) == reading.text
        assert [word.text for word in parts.words] == reading.text.split()
        for part in parts.characters:
            assert len(part.alternatives) == 2
            assert part.text not in dict(part.alternatives)
            assert 0 <= part.alternatives[1][1] <= part.alternatives[0][1] <= part.confidence <= 1
        ends = [end for part in parts.characters for end in (part.left, part.right)]
        assert ends == sorted(ends)


def test_a_deskewed_reading_says_so(renderings):
    image = renderings[1].image.convert("L")
    paper = image.getpixel((0, 0))
    turned = image.rotate(9, Image.Resampling.BICUBIC, True, fillcolor=paper)
    parts = hanline.Reader(device="cpu").read(turned, parts=True).parts
    assert parts.deskewed
    assert 0.7 * turned.width < parts.characters[-1].right <= turned.width
    assert not hanline.Reader(device="cpu", deskew=False).read(turned, parts=True).parts.deskewed


@pytest.mark.parametrize("transformation", ["none", "tps"])
def test_attention_gives_every_character_a_place_and_its_confidence(
    transformation, make_recognizer, words, picture
):
    recognizer = make_recognizer(transformation=transformation, prediction="attn").eval()
    pictures = [picture(word) for word in words]
    reader = hanline.Reader(recognizer, device="cpu")
    for plain, reading in zip(reader.read(pictures), reader.read(pictures, True), strict=True):
        parts = reading.parts.characters
        assert "".join(part.text for part in parts) == reading.text == plain.text
        assert all(0 <= part.left <= part.right <= 96 for part in parts)
        if parts:
            product = np.prod([part.confidence for part in parts])
            assert product == pytest.approx(plain.confidence, rel=1e-4)


def test_attention_is_at_the_mean_of_its_weights(make_recognizer):
    prediction = make_recognizer(prediction="attn").prediction.eval()
    features = torch.randn(4, 12, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        texts, _, letters = prediction.read_letters(features)
        scores = prediction(features)
        best = scores.argmax(dim=2)
        before = torch.cat([torch.zeros(4, 1, dtype=torch.int64), best[:, :-1]], dim=1)
        forced, weights = prediction.teacher_forced(features, before)
    torch.testing.assert_close(forced, scores)
    assert any(texts)
    expected = weights @ ((torch.arange(12) + 0.5) / 12)
    for line, middles, classes in zip(letters, expected.tolist(), best.tolist(), strict=True):
        written = [middle for middle, c in zip(middles, classes, strict=True) if c >= 2]
        assert [letter.middle for letter in line] == pytest.approx(written[: len(line)])


def test_a_space_takes_its_share_wherever_it_was_written():
    letters = [Letter("가", 0.25, 0.9, ()), Letter(" ", 0.3, 0.9, ()), Letter("나", 0.75, 0.9, ())]
    one, space, other = located(letters, 200.0, (200, 32))
    assert one.right == space.left
    assert space.right == other.left
    assert (one.left + one.right) / 2 == pytest.approx(50)
    assert (space.left + space.right) / 2 == pytest.approx(100)
    assert space.right - space.left < (one.right - one.left) / 2


def test_a_prediction_that_does_not_know_its_places_refuses(make_recognizer):
    prediction = make_recognizer().prediction
    with pytest.raises(HanlineError, match="parts=true: expected a prediction that knows"):
        Prediction.read_letters(prediction, torch.zeros(1, 4, 32))


def test_predict_writes_the_parts(folder, words, checkpoint, command, tmp_path):
    done = command("predict", "input=pictures", f"checkpoint={checkpoint}", "parts=true")
    assert done.status == 0, done.err
    lines = (tmp_path / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["text"] for record in records] == words
    for record in records:
        assert record["deskewed"] is False
        assert "".join(part["text"] for part in record["characters"]) == record["text"]
        assert [word["text"] for word in record["words"]] == record["text"].split()
