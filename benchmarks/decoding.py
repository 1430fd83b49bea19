"""Errors of greedy decoding and of beam search with a language model, by kind of line.

    python benchmarks/decoding.py MODEL LINES [--folder FOLDER ...] [--samples N]

MODEL is a file of `hanline language-model`, LINES a text file with a text a line that the model was
not counted on. They are drawn in the bundled fonts by `renderer=varied`: plain, blurred, small, and
dark on photographs. The names are those of people that nobody has, put together of rare syllables,
with a title and a word of LINES. A folder has images and gt.txt.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from measuring import describe_machine
from PIL import Image
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from hanline import Reader
from hanline.cli.hydra_app import CONF
from hanline.data.image_folder import GT, read_gt
from hanline.inference.decoding import beam
from hanline.text.charset import named_charset
from hanline.text.corpus import read_headlines

# The effects of the renderer that are switched off where a look does not want them.
_EFFECTS = (
    "wave",
    "taper",
    "slant",
    "rotation",
    "outline",
    "shadow",
    "strong_blur",
    "blur",
    "rescale",
    "noise",
    "jpeg",
    "gradient",
)
_LOOKS: dict[str, list[str]] = {
    "plain": [],
    "blurred": ["renderer.strong_blur_probability=1", "renderer.strong_blur=[0.06,0.1]"],
    "small": ["renderer.rescale_probability=1", "renderer.rescale=[0.15,0.24]"],
    "dark": [
        "renderer.min_contrast=20",
        "renderer.backgrounds.plain=0",
        "renderer.backgrounds.gradient=0",
        "renderer.backgrounds.stripes=0",
        "renderer.backgrounds.plate=0",
        "renderer.noise_probability=1",
        "renderer.noise=[10,24]",
    ],
}
# Which looks are drawn of which texts.
_STRATA = [
    ("plain", "lines"),
    ("blurred", "lines"),
    ("small", "lines"),
    ("dark", "lines"),
    ("plain", "names"),
    ("blurred", "names"),
]
_LONGEST = 40
_SURNAMES = "곽남궁노도류맹반방변빈석설소승심안양엄염왕용우위육은음인제좌주지차천채추태표함현형홍황"
_GIVEN = (
    "갑걸결곤겸굉궁균긍길난담덕돈득란렬롱륜률립맥목묵벽별빛살섭솔숙슬쌍앵엽"
    "옥온욱웅윤율을음읍직집찬철초쾌탁택튼편품풍필학한향헌혁협형혜훈휘흔흠흥"
)
_TITLES = ("의원", "대표", "감독", "교수", "장관", "선수", "씨", "前 총리")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--folder", type=Path, nargs="*", default=[], help="with images and gt.txt")
    parser.add_argument("--samples", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.3], help="that are tried")
    parser.add_argument("--bonuses", type=float, nargs="+", default=[0.5], help="for each length")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = _texts(given.lines, given.samples)
    texts = {"lines": lines, "names": _with_names(lines, given.seed)}
    strata: list[tuple[str, Sequence[Image.Image | Path], Sequence[str]]] = [
        (f"{look}, {kind}", *_drawn(look, texts[kind], given.seed)) for look, kind in _STRATA
    ]
    for folder in given.folder:
        rows = [row for row in read_gt(folder / GT) if not row.problem]
        strata.append((folder.name, [row.image for row in rows], [row.label for row in rows]))
    reader = Reader(device="cpu")
    search = beam(str(given.model))
    searches = {
        f"beam {weight:g}, {bonus:g}": replace(search, weight=weight, length_bonus=bonus)
        for weight in given.weights
        for bonus in given.bonuses
    }
    readers = {"greedy": reader} | {
        name: Reader(reader.recognizer, "cpu", precision="32-true", decoding=chosen)
        for name, chosen in searches.items()
    }
    print(describe_machine())
    table = Table("lines", "characters", *readers, box=None, pad_edge=False)
    for name, images, labels in strata:
        errors = []
        for each in readers.values():
            begun = time.perf_counter()
            read = [reading.text for reading in each.read(images)]
            rate = len(images) / (time.perf_counter() - begun)
            wrong = sum(map(Levenshtein.distance, read, labels))
            exact = sum(text == label for text, label in zip(read, labels, strict=True))
            errors.append(f"{wrong} errors, {exact} exact, {rate:.0f}/s")
        table.add_row(name, str(sum(map(len, labels))), *errors)
    Console(width=160).print(table)


def _texts(file: Path, samples: int) -> list[str]:
    """Return texts of the charset, evenly from all of a file."""
    charset = named_charset("korean")
    usable = [text for text in read_headlines([str(file)]) if charset.covers(text)]
    usable = [text[:_LONGEST].strip() for text in usable]
    return usable[:: max(1, len(usable) // samples)][:samples]


def _with_names(lines: Sequence[str], seed: int) -> list[str]:
    """Return a text with a name for each line."""
    chosen = random.Random(seed)
    texts = []
    for line in lines:
        name = chosen.choice(_SURNAMES) + "".join(chosen.sample(_GIVEN, 2))
        texts.append(f"{name} {chosen.choice(_TITLES)} {chosen.choice(line.split())}")
    return texts


def _drawn(look: str, texts: Sequence[str], seed: int) -> tuple[list[Image.Image], list[str]]:
    plain = [f"renderer.{key}_probability=0" for key in _EFFECTS]
    with initialize_config_dir(str(CONF), version_base=None):
        overrides = ["renderer=varied", "synthesis.fonts=bundled", f"seed={seed}", *plain]
        config = compose("train", [*overrides, *_LOOKS[look]])
    renderer = instantiate(config.synthesis, characters=named_charset("korean").characters)
    images, drawn = [], []
    for number, text in enumerate(texts):
        if renderer.fonts.can_draw(text):
            images.append(renderer.picture(renderer.task(text, number)))
            drawn.append(text)
    return images, drawn


if __name__ == "__main__":
    main()
