"""LMDB datasets, damaged in the ways in which files are, and read in every way."""

import random

import numpy as np
from PIL import Image

from hanline.data.dataset import LMDBDataset
from hanline.data.images import ImageFormat
from hanline.data.labels import LabelRules
from hanline.data.lmdb_store import LMDBStore
from hanline.data.lmdb_writer import LMDBWriter
from hanline.text.charset import named_charset

PAGE = 4096
SAMPLES = 120
FORMAT = ImageFormat(height=8, width=24, channels=1, keep_ratio=False)
RULES = LabelRules(named_charset("korean"), max_length=25, lowercase=False, invalid="skip")


def whole(folder, encode, checksums):
    """Write a dataset of small images, and of some that need pages of their own."""
    noise = np.random.default_rng(0)
    samples = []
    for number in range(SAMPLES):
        size = (60, 90) if number % 10 == 0 else (12, 24)
        image = Image.fromarray(noise.integers(0, 256, size, dtype=np.uint8))
        samples.append((encode(image), f"제{number}"))
    writer = LMDBWriter(folder, resume=False)
    writer._has_checksums = checksums
    writer.add(samples)
    writer.finish({})
    (folder / "lock.mdb").unlink(missing_ok=True)
    return folder, samples


def damage(content, seed):
    """Change a file in one of the ways in which files are damaged."""
    chance = random.Random(seed)
    pages = len(content) // PAGE
    kind = ("bits", "zeros", "headers", "cut", "nodes", "noise")[seed % 6]
    page = chance.randrange(pages)
    if kind == "bits":
        for _ in range(chance.choice([1, 8, 64, 512])):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif kind == "zeros":
        content[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    elif kind == "headers":
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(pages) * PAGE + chance.randrange(16)
            content[at] = chance.randrange(256)
    elif kind == "cut":
        del content[chance.randrange(len(content)) :]
    elif kind == "nodes":
        # Offsets, sizes and page numbers are near the beginning and the end of a page.
        for _ in range(chance.randint(1, 8)):
            offset = chance.choice([chance.randrange(16, 200), chance.randrange(PAGE - 300, PAGE)])
            at = chance.randrange(pages) * PAGE + offset
            content[at] = chance.choice([0, 0xFF, chance.randrange(256)])
    else:
        content[page * PAGE : (page + 1) * PAGE] = chance.randbytes(PAGE)
    return content


def read_all(path):
    """Read a dataset in every way; return its samples and its labels."""
    store = LMDBStore(path)
    samples = store.samples(range(len(store)))
    labels = list(store.labels())
    data = LMDBDataset([path], FORMAT, RULES)
    served = data.samples(range(len(data)))
    assert len(served) + data.damaged == len(data)
    return [(s.image, s.label, s.problem) for s in samples], labels
