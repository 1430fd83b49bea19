"""A place in which the commands under attack work."""

import shutil

import pytest


@pytest.fixture
def place(folder, checkpoint, tmp_path):
    """A folder of pictures with gt.txt, a checkpoint, and a corpus."""
    shutil.copy(checkpoint, tmp_path / "model.ckpt")
    rows = (folder / "gt.txt").read_text("utf-8").splitlines(keepends=True)
    (folder / "gt.txt").write_text("".join(rows * 40), encoding="utf-8")
    (tmp_path / "corpus.txt").write_text(
        "".join(f"속보 {number} 오늘의 뉴스\n" for number in range(300)), encoding="utf-8"
    )
    return tmp_path
