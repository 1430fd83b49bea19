"""Newer presets train, resume, read and are exported by the commands of every other one."""

import pytest

from hanline.formats.registry import open_model

COMMON = [
    "synthesis.fonts=bundled",
    "data.validation.samples=12",
    "data.batch_size=4",
    "data.num_workers=0",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "logger=csv",
    "overwrite=true",
]
PARSEQ = [
    "model=parseq_tiny",
    "image.width=64",
    "data.train.samples=16",
    "model.feature_extraction.layers=1",
    "model.feature_extraction.out_channels=32",
    "model.feature_extraction.heads=2",
]
SVTRV2 = [
    "model=svtrv2_tiny",
    "data=online",
    "image.width=null",
    "image.keep_ratio=true",
    "model.feature_extraction.channels=[8,16,32]",
    "model.feature_extraction.layers=[1,1,1]",
    "model.feature_extraction.heads=[1,2,2]",
    "model.feature_extraction.local_layers=1",
]


@pytest.mark.parametrize(
    "preset, format_", [(PARSEQ, "onnx"), (SVTRV2, "safetensors")], ids=["parseq", "svtrv2"]
)
def test_a_newer_preset_trains_resumes_reads_and_is_exported(
    preset, format_, command, folder, tmp_path
):
    done = command("train", *preset, *COMMON, "trainer.max_steps=2", "run_dir=run")
    assert done.status == 0, done.err
    last = tmp_path / "run" / "last.ckpt"
    before = open_model(last).state_dict()
    done = command("train", "resume=run/last.ckpt", "trainer.max_steps=4")
    assert done.status == 0, done.err
    after = open_model(last).state_dict()
    assert any(not before[name].equal(tensor) for name, tensor in after.items())
    done = command("export", f"checkpoint={last}", f"format={format_}", "output=model")
    assert done.status == 0, done.err
    for number, model in enumerate((last, f"model.{format_}")):
        done = command("predict", f"checkpoint={model}", f"input={folder}", f"output=out{number}")
        assert done.status == 0, done.err
    rows = [
        (tmp_path / f"out{number}" / "readings.tsv").read_text(encoding="utf-8").splitlines()
        for number in (0, 1)
    ]
    # The last column may differ in its last digit.
    texts = [[row.split("\t")[:2] for row in table] for table in rows]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 10
