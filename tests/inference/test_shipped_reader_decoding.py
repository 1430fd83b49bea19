"""The shipped reader with a language model, and how late it writes."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import ImageFilter
from rapidfuzz.distance import Levenshtein

import hanline
from hanline.cli.hydra_app import CONF
from hanline.inference.calibrating import measure_delay
from hanline.inference.decoding import beam
from hanline.text.charset import named_charset
from hanline.text.corpus import EMBEDDED, read_headlines
from hanline.text.language_model import count, save_language_model


@pytest.fixture(scope="module")
def headlines():
    charset = named_charset("korean")
    return [line for line in read_headlines([EMBEDDED]) if charset.covers(line)]


@pytest.fixture(scope="module")
def blurred(headlines):
    """Twelve blurred lines, and their texts."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", ["synthesis.fonts=bundled", "renderer.bold_probability=0"])
    look = instantiate(config.synthesis, characters=named_charset("korean").characters)
    texts = [text for text in headlines[:100] if look.fonts.can_draw(text)][:12]
    images = [look.picture(look.task(text, i)) for i, text in enumerate(texts)]
    return [image.filter(ImageFilter.GaussianBlur(2.2)) for image in images], texts


def test_a_language_model_repairs_blurred_lines(headlines, blurred, tmp_path):
    images, texts = blurred
    # The lines themselves are not counted.
    rest = [line for line in headlines if line not in texts]
    save_language_model(count(rest, 5), tmp_path / "headlines.lm")
    greedy = hanline.Reader(device="cpu")
    search = beam(str(tmp_path / "headlines.lm"))
    searching = hanline.Reader(device="cpu", decoding=search)
    read, repaired = greedy.read(images), searching.read(images, parts=True)
    before = sum(Levenshtein.distance(r.text, t) for r, t in zip(read, texts, strict=True))
    after = sum(Levenshtein.distance(r.text, t) for r, t in zip(repaired, texts, strict=True))
    assert before >= 5, "the lines are too easy to show anything"
    assert after < before
    for reading in repaired:
        assert "".join(part.text for part in reading.parts.characters) == reading.text
        assert 0 <= reading.confidence <= 1


def test_a_search_without_knowledge_reads_as_the_greedy_reader_where_it_is_sure(blurred):
    images, _ = blurred
    greedy = hanline.Reader(device="cpu")
    searching = hanline.Reader(greedy.recognizer, "cpu", precision="32-true", decoding=beam(sure=0))
    assert [r.text for r in searching.read(images)] == [r.text for r in greedy.read(images)]
    assert [r.confidence for r in searching.read(images)] == pytest.approx(
        [r.confidence for r in greedy.read(images)], rel=1e-3, abs=1e-6
    )


def test_the_delay_is_measured_from_the_places_in_a_rendered_dataset(command, tmp_path):
    done = command(
        "synthesize",
        "output_format=lmdb",
        "output=lines",
        "samples=24",
        "synthesis.fonts=bundled",
        "synthesis.processes=1",
        "corpus.min_words=3",
        "corpus.max_words=3",
    )
    assert done.status == 0, done.err
    reader = hanline.Reader(device="cpu")
    kept = reader.recognizer.delay
    assert measure_delay(reader, tmp_path / "lines") == pytest.approx(kept, abs=0.03)
    assert reader.recognizer.delay == kept
