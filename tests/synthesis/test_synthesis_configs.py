import io
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

CONF = Path(__file__).parents[2] / "conf"
LOOKS = sorted(path.stem for path in (CONF / "renderer").glob("*.yaml"))
TEXTS = ["가나다", "8·15", "'韓美", "속보…", "1,440원", "A"] * 4


@pytest.fixture
def look(sans, korean):
    def build(name, *overrides):
        fonts = f"synthesis.fonts=['{sans.path}']"
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(
                overrides=["+synthesis=default", f"+renderer={name}", "+seed=3", fonts, *overrides]
            )
        return instantiate(config.synthesis, characters=korean)

    return build


@pytest.mark.parametrize("name", LOOKS)
def test_every_look_draws(name, look):
    if name in ("trdg", "mixed"):
        pytest.importorskip("trdg")
    synthesis = look(name)
    (samples,) = synthesis.draw(TEXTS, processes=1)
    assert [sample.label for sample in samples] == TEXTS
    for sample in samples:
        image = Image.open(io.BytesIO(sample.image))
        low, high = image.convert("L").getextrema()
        assert image.height == (44 if name == "varied" else 32)
        assert high - low > (10 if name == "varied" else 50)
    assert synthesis.digest_parts()["seed"] == 3
    assert synthesis.processes == 0


def test_the_height_alone_decides_the_resolution(look):
    small, large = (look("broadcast_tilt", f"renderer.height={height}") for height in (32, 96))
    widths = []
    for synthesis in (small, large):
        (samples,) = synthesis.draw(TEXTS, processes=1)
        widths.append(sum(Image.open(io.BytesIO(s.image)).width for s in samples))
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.05)


def test_the_looks_differ(look):
    pytest.importorskip("trdg")
    first = [next(look(name).draw(["가나다"], processes=1))[0].image for name in LOOKS]
    assert len(set(first)) == len(LOOKS)
