"""DTRB's command lines become Hanline's, which Hanline takes."""

import re
import shlex

import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from hanline.cli.config_check import check_config
from hanline.cli.hydra_app import CONF
from hanline.cli.quoting import literal
from hanline.commands import export, import_weights, pack, train
from hanline.errors import HanlineError
from hanline.formats.dtrb import dtrb_state
from hanline.formats.dtrb.cli import SCRIPTS, translate

ARCHITECTURE = (
    "--Transformation TPS --FeatureExtraction RCNN --SequenceModeling BiLSTM --Prediction Attn"
)
CTC = "--Transformation None --FeatureExtraction VGG --SequenceModeling None --Prediction CTC"


def commands(line):
    return translate(shlex.split(line)).commands


def composed(words, settings):
    name, *arguments = words[1:]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [literal(a, settings) for a in arguments if not a.startswith("hydra.")]
        return compose(name, overrides)


def test_training_takes_every_option(hydra_apart):
    (words,) = commands(
        "python/train.py --exp_name mine --train_data sets --valid_data 'val sets' --manualSeed 7 "
        "--workers 2 --batch_size 8 --num_iter 100 --valInterval 10 --saved_model korean_g2.pth "
        "--FT --lr 0.5 --rho 0.9 --eps 1e-6 --grad_clip 4 --select_data a-b --batch_ratio 0.3-0.7 "
        "--total_data_usage_ratio 0.5 --batch_max_length 60 --imgH 120 --imgW 1625 --rgb --PAD "
        f"--character '가나 ]' {ARCHITECTURE} --num_fiducial 10 --output_channel 256 "
        "--hidden_size 128"
    )
    assert words[:2] == ["hanline", "train"]
    assert "hydra.run.dir=saved_models/mine" in words
    config = composed(words, train.Settings)
    config.run_dir = "run"
    check_config(config, CONF / "train.yaml", train.Settings)
    assert config.seed == 7
    assert config.data.validation.dir == "val sets"
    assert config.data.train.select_data == ["a", "b"]
    assert config.data.train.batch_ratio == [0.3, 0.7]
    assert config.data.lowercase
    assert (config.image.height, config.image.width, config.image.channels) == (120, 1625, 3)
    assert config.image.keep_ratio
    assert config.model.transformation.num_fiducial == 10
    assert config.model.feature_extraction.out_channels == 256
    assert config.model.prediction.hidden_size == 128
    assert config.optimizer._target_.endswith("Adadelta")
    assert config.optimizer.rho == 0.9
    assert config.finetune_from == "korean_g2.pth"
    assert config.trainer.max_steps == 100
    assert config.charset.path == "characters.txt"


def test_adam_and_a_charset_that_is_known():
    line = f"train.py --train_data a --valid_data b {CTC} --adam --lr 0.001 --sensitive"
    (words,) = commands(line)
    assert {"optimizer=adam", "optimizer.lr=0.001", "charset=dtrb_94"} <= set(words)
    assert "data.lowercase=true" not in words


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_is_mapped_or_named(script):
    """An option changes the commands, or a note says why it does not."""
    parser = SCRIPTS[script][0](script)
    required, values = [], {}
    for action in parser._actions:
        if not action.option_strings or action.dest == "help":
            continue
        name = action.option_strings[0]
        value = [] if action.nargs == 0 else ["7" if action.type else "x-y"]
        if name in ("--batch_ratio", "--total_data_usage_ratio"):
            value = ["0.25"]
        value = [action.choices[-1]] if action.choices else value
        values[name] = [name, *value]
        if action.required:
            required += [name, action.choices[-1] if action.choices else "place.pth"]
    if script.startswith("create"):
        required = ["--inputPath", "a", "--gtFile", "a/gt.txt", "--outputPath", "b"]
        values["--checkValid"] = ["--checkValid", "False"]
    before = translate([script, *required])
    for name, words in values.items():
        after = translate([script, *required, *words])
        notes = " ".join(after.notes)
        told = name in notes or "--Transformation to --hidden_size" in notes
        assert after.shell() != before.shell() or told or words[1:] == _given(required, name), name


def _given(words, name):
    return words[words.index(name) + 1 : words.index(name) + 2] if name in words else None


def test_a_pth_is_imported_first():
    importing, reading = commands(f"demo.py --image_folder images --saved_model m.pth {CTC}")
    assert importing[1:5] == ["import", "dtrb", "m.pth", "model=none_vgg_none_ctc"]
    assert reading[1:4] == ["predict", "input=images", "checkpoint=m.imported.ckpt"]
    (evaluating,) = commands(f"test.py --eval_data sets --saved_model m.ckpt {CTC}")
    assert evaluating[1:4] == ["evaluate", "input=sets", "checkpoint=m.ckpt"]
    assert "lowercase=true" in evaluating
    ten = commands(f"test.py --eval_data sets --saved_model m.ckpt --benchmark_all_eval {CTC}")
    assert len(ten) == 10


def test_packing():
    line = "create_lmdb_dataset.py --inputPath data/ --gtFile data/gt.txt --outputPath result/"
    assert commands(line) == [["hanline", "pack", "input=data/gt.txt", "output=result"]]
    elsewhere = translate(["create_lmdb_dataset.py", "data/", "lists/gt.txt", "result/"])
    assert elsewhere.shell()[0] == "cp lists/gt.txt data/gt.txt"


def test_a_whole_line_can_be_pasted():
    line = f"train.py --train_data a --valid_data b {CTC}"
    pasted = translate(shlex.split(f"CUDA_VISIBLE_DEVICES=0,1 python3.8 {line}"))
    assert pasted.commands == commands(line)
    assert pasted.shell()[0].startswith("CUDA_VISIBLE_DEVICES=0,1 hanline train ")


def test_only_what_was_given_is_commented():
    line = f"train.py --train_data a --valid_data b {CTC}"
    assert translate(shlex.split(line)).notes == []
    assert "--beta1 is not needed" in translate(shlex.split(f"{line} --beta1=0.5")).notes[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "missing"),
        ("tarin.py", "no script 'tarin.py'"),
        (f"demo.py --image_folder a --saved_model b {CTC} --imgh 3", "--imgh"),
        ("demo.py --image_folder a", "--saved_model"),
        (f"demo.py --image_folder a --saved_model b {CTC} --imgH tall", "--imgH"),
        ("create_lmdb_dataset.py --inputPath a", "--gtFile and --outputPath"),
    ],
)
def test_what_dtrb_would_not_take(line, told):
    with pytest.raises(HanlineError, match=re.escape(told)):
        translate(shlex.split(line))


def test_what_it_says_is_run(command, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("L", (40, 32)).save(tmp_path / "images" / "a.png")
    (tmp_path / "gt.txt").write_text("a.png\t가\n", encoding="utf-8")
    line = "create_lmdb_dataset.py --inputPath images --gtFile gt.txt --outputPath set"
    done = command("from_dtrb", "--run", *shlex.split(line))
    assert done.status == 0, done.err
    cp, pack = "cp gt.txt images/gt.txt", "hanline pack input=images/gt.txt output=set"
    assert done.out.startswith(f"{cp}\n{pack}")
    assert (tmp_path / "set" / "data.mdb").exists()
    again = command("from_dtrb", "--run", *shlex.split(line))
    assert again.status == 1


def test_a_demo_reads(recognizer_of, images, command, tmp_path):
    charset = "0123456789abcdefghijklmnopqrstuvwxyz"
    recognizer = recognizer_of("None-VGG-None-CTC", charset=charset, image=(32, 100, 1))
    torch.save(dtrb_state(recognizer), tmp_path / "m.pth")
    (tmp_path / "images").mkdir()
    Image.fromarray(images(1, 1, 32, 100)[0, 0].numpy()).save(tmp_path / "images" / "a.png")
    importing, reading = commands(f"demo.py --image_folder images --saved_model m.pth {CTC}")
    assert command("import_weights", *importing[2:]).status == 0
    assert command("predict", *reading[2:], "precision=32-true").status == 0
    text = recognizer.read(images(1, 1, 32, 100))[0][0]
    assert text in (tmp_path / "readings.tsv").read_text("utf-8")


def test_files_of_ones_own_are_not_replaced(command, tmp_path):
    own = tmp_path / "characters.txt"
    own.write_text("가나", encoding="utf-8")
    words = shlex.split(f"demo.py --image_folder a --saved_model m.pth {CTC} --character 나가")
    done = command("from_dtrb", "--run", *words)
    assert done.status == 1
    assert "characters.txt exists already, with other characters" in done.err
    assert own.read_text("utf-8") == "가나"


def test_the_settings_exist(hydra_apart):
    for name, settings in (("import", import_weights), ("export", export), ("pack", pack)):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(name)
        assert set(config) - {"hydra", "charset", "model"} == set(
            settings.Settings.__dataclass_fields__
        )
