import os
import subprocess
import sys
from pathlib import Path

from hanline.data.lmdb_store import LMDBStore

PROJECT = Path(__file__).parents[2]


def test_from_the_news_server_to_a_training_step(site, crawl, tmp_path):
    crawled = crawl("naver_section", "-a", "sections=it,world")
    assert crawled.status == 0, crawled.log
    headlines = crawled.folder / "headlines.txt"
    run = tmp_path / "run"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "hanline.commands.train",
            "model=none_vgg_bilstm_ctc",
            "corpus=crawled",
            f"corpus.files=[{headlines}]",
            "model.feature_extraction.out_channels=64",
            "model.sequence_modeling.hidden_size=16",
            "model.sequence_modeling.out_channels=32",
            "synthesis.processes=1",
            "data.train.samples=64",
            "data.validation.samples=16",
            f"data.rendered_dir={tmp_path / 'drawn'}",
            "data.batch_size=16",
            "data.num_workers=0",
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "trainer.max_steps=2",
            "trainer.val_check_interval=2",
            f"hydra.run.dir={run}",
        ],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list(run.rglob("*.ckpt"))
    # What it drew are words of the crawled headlines.
    words = {word for line in crawled.lines("headlines.txt") for word in line.split()}
    (drawn,) = (tmp_path / "drawn").glob("train-*")
    labels = set(LMDBStore(drawn).labels())
    assert len(labels) > 30 and labels <= words
