"""The reader that comes with Hanline."""

import io

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

import hanline
from hanline.cli.hydra_app import CONF
from hanline.metrics.comparison import Comparison
from hanline.metrics.punctuation import fold_punctuation
from hanline.pretrained import SHIPPED, model_path
from hanline.text.charset import named_charset

TEXTS = [
    '"빗길 교통사고 잇따라"…3명 부상',
    "尹 대통령, 내일 美 상원의원단 접견",
    "코스닥 2.7% 급락…환율 1,392원",
    "서울 지하철 2호선 오전 한때 지연",
    "AI 반도체 수출 18조원 돌파",
    "가을 태풍 '북상'…제주 항공편 결항",
    "밤사이 눈",
    "北, 동해상으로 미사일 발사",
]


@pytest.fixture(scope="module")
def reader():
    return hanline.Reader()


@pytest.fixture(scope="module")
def lines():
    """Lines in the plain look, in the bundled fonts."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", ["synthesis.fonts=bundled", "renderer.bold_probability=0"])
    look = instantiate(config.synthesis, characters=named_charset("korean").characters)
    return [look.picture(look.task(text, number)) for number, text in enumerate(TEXTS)]


def test_it_is_small_and_knows_itself():
    assert model_path(SHIPPED).stat().st_size <= 12_000_000
    reader = hanline.Reader(device="cpu")
    assert reader.image_format.width is None
    assert reader.recognizer.ranges, "it cannot read in 8 bits"
    assert reader.recognizer.spec["charset"] == named_charset("korean").characters
    for suffix in (".json", ".safetensors.md"):
        assert model_path(SHIPPED).with_suffix(suffix).is_file()


def test_it_reads_headlines(reader, lines):
    readings = reader.read(lines)
    figures = Comparison.of(
        [fold_punctuation(t) for t in TEXTS], [fold_punctuation(r.text) for r in readings]
    )
    assert figures.sums["accuracy"]["correct"] >= len(TEXTS) - 1, [
        reading.text for reading in readings
    ]
    assert figures["cer"] < 2


def test_it_reads_turned_and_inverted_lines(reader, lines):
    turned = [
        line.convert("L").rotate(9, Image.Resampling.BICUBIC, True, fillcolor=line.getpixel((0, 0)))
        for line in lines
        if line.mode == "L"
    ]
    labels = [text for text, line in zip(TEXTS, lines, strict=True) if line.mode == "L"]
    inverted = [Image.eval(line, lambda value: 255 - value) for line in turned]
    expected = [fold_punctuation(label) for label in labels]

    def cer(by, images):
        return Comparison.of(expected, [fold_punctuation(r.text) for r in by.read(images)])["cer"]

    assert cer(reader, turned) < 10
    assert cer(reader, inverted) < 10
    assert cer(hanline.Reader(deskew=False), turned) > 30


def test_a_file_an_array_and_a_list(reader, lines, tmp_path):
    lines[0].save(tmp_path / "line.png")
    one = reader.read(tmp_path / "line.png")
    assert fold_punctuation(one.text) == fold_punctuation(TEXTS[0])
    file = io.BytesIO()
    lines[0].save(file, "PNG")
    for same in (str(tmp_path / "line.png"), file.getvalue(), np.asarray(lines[0]), lines[0]):
        assert reader.read(same) == one
        assert reader.read([same]) == [one]


def test_predict_takes_it_by_itself(command, lines, tmp_path):
    lines[3].save(tmp_path / "line.png")
    done = command("predict", "input=line.png")
    assert done.status == 0, done.err
    assert TEXTS[3] in done.out
