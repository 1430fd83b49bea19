"""What a user gets wrong on the command line or in a file of overrides, and is told."""

import itertools
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hanline.cli import renamed
from hanline.cli.command_line import with_keys
from hanline.cli.hydra_app import CONF, run
from hanline.cli.quoting import literal
from hanline.cli.suggestions import all_keys, nearest
from hanline.commands import evaluate, pack, predict, synthesize, train
from hanline.configs import load

# The keys of a class that takes ``**kwargs``, and of a group without a target.
HANDED_ON = {
    "misspelt key": (["+data.batch_sise=3"], "data.batch_sise", "data.batch_size"),
    "misspelt key of a source": (["+data.train.text=3"], "data.train.text", "data.train.texts"),
    "wrong value": (["data.batch_size=many"], "data.batch_size=many", "integer"),
    "misspelt key of paths": (["+paths.data_dri=x"], "paths.data_dri", "paths.data_dir"),
    "number for a path": (["paths.data_dir=3"], "paths.data_dir=3", "string"),
}
SETTINGS = {
    "train": train.Settings,
    "predict": predict.Settings,
    "evaluate": evaluate.Settings,
    "synthesize": synthesize.Settings,
    "pack": pack.Settings,
}
WRONG = {
    "misspelt key": (["data.batch_sise=3"], "data.batch_sise", "data.batch_size"),
    "misspelt key without its group": (["batch_sise=3"], "batch_sise", "data.batch_size"),
    "misspelt top-level key": (["seeed=3"], "seeed", "seed"),
    "misspelt part of a key": (["dta.batch_size=3"], "dta.batch_size", "data.batch_size"),
    "misspelt key of a stage": (
        ["model.feature_extraction.out_chanels=64"],
        "model.feature_extraction.out_chanels",
        "model.feature_extraction.out_channels",
    ),
    "misspelt key of a callback": (
        ["callbacks.reading_gird.images=2"],
        "callbacks.reading_gird.images",
        "callbacks.reading_grid.images",
    ),
    "misspelt key to delete": (["~callbacks.reading_gird"], "reading_gird", "reading_grid"),
    "misspelt group": (["modl=crnn"], "modl", "model"),
    "misspelt group of a stage": (["model/predicton=attn"], "model/predicton", "model/prediction"),
    "misspelt choice": (["model=crn"], "model=crn", "crnn"),
    "misspelt choice of a stage": (["model/prediction=atn"], "model/prediction", "attn"),
    "choice that is a number": (["optimizer=3"], "optimizer=3", "adamw"),
    "choice that is null": (["callbacks=null"], "callbacks=null", "default"),
    "choice with a dot": (["model.prediction=atn"], "model.prediction=atn", "attn"),
    "choice with a dot in a target": (["renderer=trd"], "renderer", "trdg"),
    "stage that is null": (["model.prediction=null"], "model.prediction=null", "attn, ctc"),
    "callback that is null": (["callbacks.last=null"], "callbacks.last", "~callbacks.last"),
    "word for a number": (["data.batch_size=abc"], "data.batch_size=abc", "integer"),
    "word for a nested number": (["image.height=tall"], "image.height=tall", "integer"),
    "fraction for a whole number": (["seed=1.5"], "seed=1.5", "integer"),
    "word for a fraction": (["optimizer.lr=fast"], "optimizer.lr=fast", "number"),
    "word for true or false": (["image.keep_ratio=no"], "image.keep_ratio=no", "boolean"),
    "number for a list": (["optimizer.betas=0.9"], "optimizer.betas=0.9", "list"),
    "word in a list": (["optimizer.betas=[0.9,x]"], "optimizer.betas[1]=x", "number"),
    "number for a mapping": (["image=3"], "image=3", "mapping"),
    "null for a number": (["seed=null"], "seed=null", "integer"),
    "misspelt value": (["data.invalid_labels=skpi"], "data.invalid_labels=skpi", "skip"),
    "value out of range": (["image.channels=2"], "image.channels is 2", "3 (RGB)"),
    "added key": (["+unknown=1"], "unknown", "max_label_length"),
    "added key of a group": (["+data.unknown=1"], "data.unknown", "batch_size"),
    "added key of a stage": (["+model.prediction.unknown=1"], "model.prediction.unknown", "takes"),
    "key added twice": (["+data.batch_size=3"], "data.batch_size", "without +"),
    "no value": (["data.batch_size"], "'data.batch_size'", "key=value"),
    "unclosed list": (["data.batch_size=[1"], "'data.batch_size=[1'", "key=value"),
    "no key": (["=3"], "override ''", ""),
    "unknown reference": (["data.train.dir=${nope}"], "data.train.dir", "nope"),
    "unknown reference to a folder": (["hydra.run.dir=${nope}"], "nope", ""),
    "choice without its file": (["charset=file"], "charset.path", "charset.path=…"),
    "unknown target": (["optimizer._target_=torch.optim.SGDD"], "optimizer._target_", "SGDD"),
    "one of a sweep": (["-m", "model=crnn,modle"], "model=modle", "trba"),
    "missing plugin": (["hydra/sweeper=optun"], "hydra/sweeper", ".[sweep]"),
    "missing launcher": (["hydra/launcher=slurm"], "hydra/launcher", ".[launchers]"),
    "key of another choice": (
        ["optimizer.rho=0.9"],
        "'optimizer.rho'",
        "it belongs to optimizer=adadelta",
    ),
    "key of another choice, added": (
        ["+optimizer.rho=0.9"],
        "'optimizer.rho'",
        "it belongs to optimizer=adadelta",
    ),
    "key of another choice of a stage": (
        ["model.transformation.num_fiducial=20"],
        "'model.transformation.num_fiducial'",
        "it belongs to model/transformation=tps",
    ),
    "key of several other choices": (
        ["experiment=headline_quick", "model.feature_extraction.out_channels=64"],
        "'model.feature_extraction.out_channels'",
        "model/feature_extraction=vgg",
    ),
    "missing folder of configs": (["--config-dir", "nowhere"], "nowhere", "not found"),
}


@pytest.fixture
def refused(settled, capsys):
    """What a command says that ends before its work begins."""

    def refused(name, *arguments):
        with pytest.raises(SystemExit) as ended:
            settled(name, *arguments)
        assert ended.value.code == 1
        return last_message(capsys.readouterr().err)

    return refused


@pytest.fixture
def settled(monkeypatch, tmp_path, hydra_apart):
    """The configuration with which a command would begin its work."""
    monkeypatch.chdir(tmp_path)

    def settled(name, *arguments):
        configs = []
        monkeypatch.setattr(sys, "argv", ["hanline", *arguments])
        run(name, SETTINGS[name], configs.append)
        return configs[0]

    return settled


@pytest.mark.parametrize("arguments, named, nearest_word", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_named_with_the_nearest_valid_ones(
    arguments, named, nearest_word, refused
):
    message = refused("train", *arguments)
    assert named in message
    assert nearest_word in message.replace(named, "", 1)


@pytest.mark.parametrize("arguments, named, nearest_word", HANDED_ON.values(), ids=HANDED_ON.keys())
def test_keys_that_are_handed_on_are_checked(arguments, named, nearest_word, refused):
    message = refused("train", "data=online", *arguments)
    assert named in message
    assert nearest_word in message.replace(named, "", 1)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_renamed_key_is_refused_with_its_new_name(name, refused):
    own_file = CONF / f"{name}.yaml"
    needed = [f"{key}=x" for key, value in load(own_file).items() if value == "???"]
    known = all_keys(own_file)
    renames = {}
    for (old, new), key in itertools.product(renamed.KEYS.items(), known):
        was = f"{key.removesuffix(new)}{old}"
        if (key == new or key.endswith(f".{new}")) and was not in known:
            assert renamed.new_key(was, known) == key
            renames[old] = was, key
    # Three of them through the whole command: composing takes half a second.
    for was, key in [*renames.values()][:3]:
        message = refused(name, *needed, f"{was}=x")
        assert f"{was!r}: expected" in message
        assert f"its name is {key} now" in message


def test_a_renamed_key_of_a_group_that_has_moved_is_refused_with_both_names():
    known = all_keys(CONF / "train.yaml")
    was = "synthesis.renderer.emboldened"
    assert renamed.new_key(was, known) == "renderer.bold_probability"
    # A key that only has a new last part stays in its group.
    assert renamed.new_key("synthesis.quality", known) == "synthesis.jpeg_quality"


@pytest.mark.parametrize("was, now", renamed.MOVED.items())
def test_a_key_that_has_moved_is_refused_with_its_place(was, now, refused):
    message = refused("train", "data=lmdb" if "train" in now else "data=online", f"{was}=3")
    assert f"{was!r}: expected" in message
    assert f"its name is {now} now" in message


def test_a_renamed_group_is_refused_with_its_new_name(refused):
    message = refused("train", "schedule=step_decay")
    assert "its name is scheduler now" in message


def last_message(err: str) -> str:
    """The message that must stand last, after whatever Hydra says."""
    assert "Traceback" not in err
    before, mark, message = err.rpartition("error: ")
    assert mark
    assert not before or before.endswith("\n")
    return message


@pytest.mark.parametrize(
    "name, arguments, key",
    [
        ("predict", [], "input"),
        ("evaluate", ["checkpoint=x"], "input"),
        ("pack", ["input=x"], "output"),
        ("train", ["data=lmdb", "data.validation.dir=x"], "data.train.dir"),
        ("train", ["corpus=files"], "corpus.files"),
    ],
)
def test_a_missing_value_is_asked_for(name, arguments, key, refused):
    assert refused(name, *arguments).startswith(f"{key}: expected a value")


@pytest.mark.parametrize(
    "name, argument, hint",
    [
        ("predict", "bach_size=3", "did you mean batch_size?"),
        ("predict", "model=crnn", "'model': expected a key"),
        ("predict", "batch_size=many", "batch_size=many"),
        ("evaluate", "confusion=3", "did you mean confusions?"),
        ("synthesize", "output_format=lmbd", "did you mean lmdb?"),
        ("pack", "proceses=2", "did you mean processes?"),
    ],
)
def test_every_command_checks_its_settings(name, argument, hint, refused):
    needed = OmegaConf.missing_keys(OmegaConf.load(CONF / f"{name}.yaml"))
    assert hint in refused(name, *(f"{key}=x" for key in needed), argument)


EXPERIMENTS = {
    "misspelt key": ("data:\n  batch_sise: 3\n", "'data.batch_sise'", "data.batch_size"),
    "misspelt top-level key": ("imge:\n  height: 3\n", "'imge'", "image"),
    "misspelt nested key": ("image:\n  heigth: 3\n", "'image.heigth'", "image.height"),
    "key of another choice": (
        "optimizer:\n  rho: 0.9\n",
        "'optimizer.rho'",
        "it belongs to optimizer=adadelta",
    ),
    "misspelt callback": (
        "callbacks:\n  reading_gird:\n    images: 3\n",
        "'callbacks.reading_gird.images'",
        "callbacks.reading_grid.images",
    ),
    "misspelt key of a renderer among others": (
        "defaults:\n  - override /renderer: mixed\n"
        "renderer:\n  renderers:\n    trdg:\n      blurr: 3\n",
        "'renderer.renderers.trdg.blurr'",
        "renderer.renderers.trdg.blur",
    ),
    "wrong value": ("data:\n  batch_size: many\n", "data.batch_size=many", "integer"),
    "misspelt group": ("defaults:\n  - override /modle: crnn\n", "'modle'", "model"),
    "misspelt choice": ("defaults:\n  - override /model: crn\n", "model=crn", "crnn"),
    "no yaml": ("data: [\n", "wrong.yaml", "line 3"),
}


@pytest.mark.parametrize("text, named, nearest_word", EXPERIMENTS.values(), ids=EXPERIMENTS.keys())
def test_a_wrong_setting_in_a_file_of_overrides_is_named(text, named, nearest_word, refused):
    Path("mine/experiment").mkdir(parents=True)
    file = Path("mine/experiment/wrong.yaml")
    file.write_text("# @package _global_\n" + text, encoding="utf-8")
    message = refused("train", "--config-dir", "mine", "experiment=wrong")
    assert named in message
    assert nearest_word in message.replace(named, "", 1)


def test_the_choices_of_the_users_own_folder_are_listed(refused):
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/long_lines.yaml").write_text("# @package _global_\nseed: 3\n")
    message = refused("train", "--config-dir", "mine", "experiment=long_line")
    assert "did you mean long_lines?" in message


@pytest.mark.parametrize(
    "folder", ["데모", "데모 (1)", "2024", "0x10", "a=b.d", "it's [1]", "C:\\그림\\", "1e3", "true"]
)
def test_any_name_of_a_folder_is_taken_as_it_stands(folder, settled):
    config = settled("predict", f"input={folder}", "checkpoint=a/b=3.ckpt")
    assert config.input == folder
    assert config.checkpoint == "a/b=3.ckpt"


def test_hangul_in_lists_and_in_other_keys(settled):
    config = settled(
        "train",
        "corpus.files=[뉴스.txt,b.txt, 속보 모음/c.txt]",
        "charset=file",
        "charset.path=글자.txt",
        "resume=null",
        "seed=7",
        "run_dir=2024",
    )
    assert config.corpus.files == ["뉴스.txt", "b.txt", "속보 모음/c.txt"]
    assert config.charset.path == "글자.txt"
    assert (config.resume, config.seed, config.run_dir) == (None, 7, "2024")


@pytest.mark.parametrize(
    "argument",
    ["batch_size=3", "input='데모'", "a={b: [1]}", "input=${x}", "-m", "--help", "~a"],
)
def test_what_hydra_understands_is_left_alone(argument):
    assert literal(argument, predict.Settings) == argument


def test_values_that_are_swept_are_left_alone(monkeypatch, tmp_path, hydra_apart):
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr(sys, "argv", ["hanline", "-m", "seed=1,2", "finetune_from=a.ckpt,b.ckpt"])
    run("train", train.Settings, lambda config: given.append((config.seed, config.finetune_from)))
    assert given == [(1, "a.ckpt"), (1, "b.ckpt"), (2, "a.ckpt"), (2, "b.ckpt")]


def test_a_training_without_settings_is_a_small_one_and_says_so(
    monkeypatch, tmp_path, hydra_apart, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hanline"])
    configs = []
    words = train.WITHOUT_ARGUMENTS

    def keep(config):
        configs.append(OmegaConf.to_container(config, resolve=True))

    run("train", train.Settings, keep, without_arguments=words)
    assert f"no settings given: hanline train {words[0]}" in capsys.readouterr().out
    assert configs[0]["trainer"]["max_steps"] < 10_000
    assert "estimate" in configs[0]["callbacks"]
    assert Path(configs[0]["run_dir"]).parts[-3:-1] == ("saved_models", configs[0]["name"])


def test_settings_of_a_machine_come_before_those_of_the_command_line(settled):
    Path("mine/local").mkdir(parents=True)
    Path("mine/local/default.yaml").write_text(
        "# @package _global_\ndata:\n  num_workers: 3\n  batch_size: 5\n", encoding="utf-8"
    )
    config = settled("train", "--config-dir", "mine", "data.batch_size=7")
    assert (config.data.num_workers, config.data.batch_size) == (3, 7)


def test_first_words_without_keys_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = ("source", "file")
    assert with_keys(["dtrb", "a.pth", "x=1"], keys) == ["source=dtrb", "file=a.pth", "x=1"]
    assert with_keys(["dtrb", "x=1"], keys) == ["source=dtrb", "x=1"]
    assert with_keys(["-m", "dtrb"], keys) == ["-m", "dtrb"]
    assert with_keys([], keys) == []
    Path("lr=1.pth").touch()
    assert with_keys(["dtrb", "lr=1.pth"], keys) == ["source=dtrb", "file=lr=1.pth"]


def test_nearest_knows_a_key_by_its_last_part():
    keys = ["optimizer.lr", "optimizer.eps", "data.batch_size"]
    assert nearest("lr", keys) == " (did you mean optimizer.lr?)"
    assert nearest("batchsize", keys) == " (did you mean data.batch_size?)"
    assert nearest("elephant", keys) == ""


class DefectError(Exception):
    """No error that a user can mend."""


@pytest.mark.parametrize("error", [DefectError, ValueError, KeyError])
def test_a_defect_keeps_its_traceback(error, monkeypatch, tmp_path, capsys, hydra_apart):
    def broken(config):
        raise error("a defect")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hanline"])
    with pytest.raises(error, match="a defect"):
        run("train", train.Settings, broken)
    assert "error: " not in capsys.readouterr().err


def test_a_misread_config_in_a_task_is_a_defect(monkeypatch, tmp_path, hydra_apart):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hanline"])
    with pytest.raises(Exception, match="no_such_key"):
        run("train", train.Settings, lambda config: config.no_such_key)


def test_what_a_part_refuses_is_a_message(command):
    ended = command("synthesize", "output=x", "corpus.validation_share=3")
    assert ended.status == 1
    message = last_message(ended.err)
    assert message.startswith("corpus.validation_share is 3: it must lie between 0 and 1")
