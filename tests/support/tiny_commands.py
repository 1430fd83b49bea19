"""Each command of Hanline with settings of seconds, and what it has made."""

import os
import shutil

import torch

from hanline.data.lmdb_store import LMDBStore
from hanline.synthesis.fonts import bundled_files
from support.forked import run

READER = ["device=cpu", "precision=32-true"]
# What differs from run to run: times, and places.
NO_CONTENT = {".md", ".log", ".mdb-lock", ".yaml", ".0"}


def synthesize(output, **settings):
    """Words that render a small corpus."""
    return [
        *("synthesize", f"output={output}", "samples=120", "corpus=files"),
        *("corpus.files=[corpus.txt]", "charset=easyocr_korean_g2", "synthesis.processes=1"),
        f"synthesis.fonts=['{bundled_files()[0]}']",
        *(f"{key}={value}" for key, value in settings.items()),
    ]


COMMANDS = {
    "pack": ["pack", "input=pictures/gt.txt", "output=made", "processes=1"],
    "synthesize, LMDB": synthesize("made", output_format="lmdb"),
    "synthesize, folder": synthesize("made", output_format="folder"),
    "predict": ["predict", "input=pictures", "output=made", "checkpoint=model.ckpt", *READER],
    "evaluate": ["evaluate", "input=set", "output=made", "checkpoint=model.ckpt", *READER],
    "export, safetensors": [
        *("export", "checkpoint=model.ckpt", "format=safetensors", "output=made"),
    ],
    "export, onnx": ["export", "checkpoint=model.ckpt", "format=onnx", "output=made"],
    "export, easyocr": ["export", "checkpoint=model.ckpt", "format=easyocr", "output=made"],
    "import": ["import", "input=model.safetensors", "output=made.ckpt"],
    "train": [
        *("train", "experiment=lines", "image.width=96", "max_label_length=10", "data=lmdb"),
        *("model.feature_extraction.channels=[8,16,16,16,32]", "data.train.dir=set"),
        *("model.sequence_modeling.hidden_size=16", "model.sequence_modeling.out_channels=32"),
        *("data.validation.dir=set", "data.validation.samples=8", "data.batch_size=4"),
        *("data.num_workers=0", "data.cache_pixels=false"),
        *("trainer.max_steps=8", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1"),
        *("trainer.accelerator=cpu", "trainer.precision=32-true", "hydra.run.dir=made"),
    ],
}
# What is made unreadable for each.
READS = {
    "pack": "pictures/gt.txt",
    "synthesize, LMDB": "corpus.txt",
    "synthesize, folder": "corpus.txt",
    "evaluate": "set/data.mdb",
    "import": "model.json",
    "train": "set/data.mdb",
}


def prepared(place, name):
    """Make what a command reads."""
    if name == "import":
        words = ["export", "checkpoint=model.ckpt", "format=safetensors", "output=model"]
        assert run(place, *words).status == 0
    if name in ("train", "evaluate"):
        done = run(place, "pack", "input=pictures/gt.txt", "output=set", "processes=1")
        assert done.status == 0, done.text


def content(place):
    """What a command has made, in a form that is the same for each run."""
    made = {}
    for path in sorted(place.glob("made*")):
        for file in [path, *path.rglob("*")]:
            if not file.is_file() or file.name == "lock.mdb" or file.suffix in NO_CONTENT:
                continue
            name = file.relative_to(place).as_posix()
            if file.name == "data.mdb":
                store = LMDBStore(file.parent)
                made[name] = store.read(range(len(store)))
            elif file.suffix == ".ckpt":
                state = torch.load(file, weights_only=True)
                weights = state["state_dict"].items()
                made[name] = state.get("global_step"), [(key, w.tolist()) for key, w in weights]
            elif "tfevents" not in file.name and file.name != "log_train.txt":
                made[name] = file.read_bytes()
    return made


def clear(place):
    """Remove what a command has made."""
    for path in place.glob("made*"):
        # Another name first: what is open under the old one is told from what comes.
        former = path.rename(path.with_name(f"former{os.urandom(4).hex()}"))
        if former.is_dir():
            shutil.rmtree(former)
        else:
            former.unlink()


def names(place):
    """Return the names of all that is in a folder."""
    return {path.relative_to(place).as_posix() for path in place.rglob("*")}


def check_refused(ended, place, before):
    """Check that a command ended with a message, and left nothing half-written."""
    assert ended.status == 1, ended.text
    assert "Traceback" not in ended.text, ended.text
    assert "error: " in ended.text, ended.text
    left = names(place) - before
    assert not {name for name in left if "partial" in name}, left
    for path in place.rglob("*.ckpt"):
        assert torch.load(path, weights_only=True)["state_dict"], path
