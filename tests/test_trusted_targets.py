"""A run's config.yaml that others have edited: nothing runs, whatever it names."""

import importlib
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from hanline.cli.hydra_app import CONF
from hanline.errors import HanlineError
from hanline.models.recognizer import build_stage
from hanline.trusted_targets import check_targets, read_config, trusted_names

MARK = "mark"
SHELL = f"touch {MARK}"
PYTHON = f"open('{MARK}', 'w')"

# Each writes a file named mark where it is built, or would with other arguments.
HOSTILE = {
    "os.system": {"command": SHELL},
    "posix.system": {"command": SHELL},
    "os.popen": {"cmd": SHELL},
    "os.remove": {"path": MARK},
    "os.mkdir": {"path": MARK},
    "os.execvp": {"file": "touch", "args": ["touch", MARK]},
    "os.posix_spawnp": {"path": "touch", "argv": ["touch", MARK], "env": {}},
    "subprocess.Popen": {"args": SHELL, "shell": True},
    "subprocess.run": {"args": SHELL, "shell": True},
    "subprocess.check_output": {"args": SHELL, "shell": True},
    "asyncio.create_subprocess_shell": {"cmd": SHELL},
    "multiprocessing.Process": {"target": {"_target_": "os.system", "command": SHELL}},
    "builtins.exec": {"_args_": [PYTHON]},
    "builtins.eval": {"_args_": [PYTHON]},
    "builtins.open": {"file": MARK, "mode": "w"},
    "builtins.getattr": {"_args_": ["os", "system"]},
    "builtins.__import__": {"name": "trap"},
    "importlib.import_module": {"name": "trap"},
    "io.open": {"file": MARK, "mode": "w"},
    "code.interact": {},
    "timeit.timeit": {"stmt": PYTHON, "number": 1},
    "cProfile.run": {"statement": PYTHON},
    "runpy.run_path": {"path_name": "trap.py"},
    "runpy.run_module": {"mod_name": "trap"},
    "pickle.loads": {"_args_": ["cos\nsystem\n(S'touch mark'\ntR."]},
    "yaml.unsafe_load": {"stream": f"!!python/object/apply:os.system ['{SHELL}']"},
    "ctypes.CDLL": {"name": "trap.so"},
    "shutil.rmtree": {"path": "folder"},
    "shutil.copyfile": {"src": "config.yaml", "dst": MARK},
    "pathlib.Path.write_text": {"_args_": [MARK, "text"]},
    "torch.load": {"f": "trap.pt", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": "trap", "model": "trap", "source": "local"},
    "torch.utils.collect_env.run": {"command": SHELL},
    "torch.utils.cpp_extension.load": {"name": "trap", "sources": ["trap.cpp"]},
    "numpy.load": {"file": "trap.npy", "allow_pickle": True},
    "numpy.testing.rundocs": {"filename": "trap.py"},
    "sympy.sympify": {"a": f"__import__('os').system('{SHELL}')"},
    "setuptools._distutils.spawn.spawn": {"cmd": ["touch", MARK]},
    "hydra.utils.call": {"config": {"_target_": "os.system", "command": SHELL}},
    "hydra.utils.instantiate": {"config": {"_target_": "os.system", "command": SHELL}},
    "hanline.system.files.write_text": {"path": MARK, "text": ""},
    "hanline.data.lmdb_store.LMDBWriter": {"path": "folder", "resume": False},
    "hanline.cli.hydra_app.os.system": {"command": SHELL},
    "hanline.data.datamodule.TextImageData": {"train_dir": None},
    "trap.Charset": {},
    "trap": {},
    "": {},
}

PLACES = [
    "charset",
    "optimizer",
    "callbacks.extra",
    "model.prediction",
    "synthesis.renderer",
    "trainer",
]
TRAP = f"from pathlib import Path\nPath(__file__).with_name('{MARK}').touch()\n"


@pytest.fixture(scope="module")
def settings():
    """The configuration of a run, as its config.yaml has it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(
            "train", ["experiment=lines", "renderer=mixed", "run_dir=run", "trainer.max_steps=1"]
        )
    return OmegaConf.to_container(composed, resolve=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run's folder beside files that leave a mark where they are run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text(TRAP, encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").touch()
    (tmp_path / "run" / "train.log").touch()  # the log of the command itself
    yield tmp_path
    sys.modules.pop("trap", None)


@pytest.fixture
def changed(settings, folder):
    """Writes the config.yaml of a run whose configuration was changed."""

    def changed(change):
        config = yaml.safe_load(yaml.safe_dump(settings))
        text = change(config)
        file = folder / "run" / "config.yaml"
        file.write_text(text or yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        return file

    return changed


@pytest.fixture
def refused(changed, folder):
    """What is said of such a file; nothing may have run."""

    def refused(change):
        file = changed(change)
        before = {*folder.rglob("*")}
        with pytest.raises(HanlineError) as error:
            check_targets(read_config(file), file, Path("run"), {})
        assert {*folder.rglob("*")} == before
        assert "trap" not in sys.modules
        return str(error.value)

    return refused


@pytest.fixture
def resumed(changed, folder, command):
    """What `hanline train resume=` says of such a run, and that nothing ran."""

    def resumed(change, *arguments):
        changed(change)
        before = {*folder.rglob("*")}
        ended = command("train", "resume=run/last.ckpt", *arguments)
        assert ended.status == 1
        assert "Traceback" not in ended.err
        assert {*folder.rglob("*")} == before
        assert "trap" not in sys.modules
        return ended.err

    return resumed


def test_the_run_as_it_was_gets_past_the_check(resumed):
    assert "last.ckpt is damaged" in resumed(lambda config: None)


@pytest.mark.parametrize("target", HOSTILE)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_registered_is_refused_before_it_is_imported(place, target, settings, folder):
    config = OmegaConf.create(settings)
    OmegaConf.update(config, place, {"_target_": target, **HOSTILE[target]}, merge=False)
    with pytest.raises(HanlineError, match=rf"{place}\._target_={target}: expected one of"):
        check_targets(OmegaConf.to_container(config), Path("config.yaml"), Path("run"), {})
    assert not (folder / MARK).exists()


@pytest.mark.parametrize("target", HOSTILE)
def test_a_run_that_names_it_is_refused(target, refused):
    def change(config):
        config["charset"] = {"_target_": target, **HOSTILE[target]}

    assert f"charset._target_={target}: expected one of" in refused(change)


@pytest.mark.parametrize("target", ["torch.utils.collect_env.run", "sympy.sympify", "trap.Charset"])
def test_a_run_that_names_it_is_not_resumed(target, resumed):
    def change(config):
        config["charset"] = {"_target_": target, **HOSTILE[target]}

    assert f"charset._target_={target}: expected one of" in resumed(change)


@pytest.mark.parametrize("key", ["seed", "run_dir", "charset", "callbacks"])
def test_a_run_that_lacks_a_key_is_not_resumed(key, resumed):
    assert "config.yaml: " in resumed(lambda config: config.pop(key) and None)


EVIL = {"_target_": "torch.utils.collect_env.run", "command": SHELL}


def inside(*place, value=EVIL):
    """Puts a node, or a value, somewhere in a configuration."""

    def change(config):
        node = config
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = value

    return change


HIDDEN = {
    "an argument": inside("charset", "name"),
    "an argument of an argument": inside("corpus", "files", value=[[EVIL]]),
    "a list": inside("corpus", "files", value=[EVIL]),
    "a mapping of values": inside("image", "height"),
    "an argument of a stage": inside("model", "feature_extraction", "channels"),
    "a stage that there is not": inside("model", "extra"),
    "a renderer of several": inside("synthesis", "renderer", "renderers", "broadcast"),
    "a renderer's argument": inside("synthesis", "renderer", "weights"),
    "a partial": inside("charset", value=EVIL | {"_partial_": True}),
    "an optimizer's partial": inside("optimizer", value=EVIL | {"_partial_": True}),
    "a registered name that is partial": inside("charset", "_partial_", value=True),
    "an optimizer that is built at once": inside("optimizer", "_partial_", value=False),
    "positional arguments": inside("charset", "_args_", value=["korean"]),
    "what is built later": inside("charset", "_recursive_", value=False),
    "another mode": inside("charset", "_mode_", value="call"),
    "a node at the top": inside("_target_", value="os.system"),
    "a node without target": inside("callbacks", "extra", value={"command": SHELL}),
    "a name in a list": inside("charset", "_target_", value=["os.system"]),
    "a number for a name": inside("charset", "_target_", value=3),
    "no charset": lambda config: config.pop("charset") and None,
    "a trainer that is a list": inside("trainer", value=[EVIL]),
    "another kind's name": inside(
        "charset", "_target_", value="hanline.training.callbacks.monitoring.progress_bar"
    ),
    "an argument that its signature lacks": inside("logger", "tensorboard", "comment", value="x"),
    "a callback without what it needs": lambda config: (
        config["callbacks"]["best_accuracy"].pop("monitor") and None
    ),
    "a callback outside the folder": inside("callbacks", "last", "run_dir", value="/elsewhere"),
    "a logger outside the folder": inside("logger", "tensorboard", "save_dir", value="folder/a"),
    "a logger above the folder": inside("logger", "tensorboard", "version", value="../../folder"),
    "a logger just above": inside("logger", "tensorboard", "name", value=".."),
}


@pytest.mark.parametrize("change", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_targets_and_arguments_are_refused(change, refused):
    message = refused(change)
    assert "config.yaml: " in message and "expected" in message


RESOLVERS = [
    "${oc.env:SECRET}",
    "${oc.env:SECRET,default}",
    "${oc.decode:${oc.env:SECRET}}",
    "${oc.create:{_target_:os.system}}",
    "${oc.deprecated:seed}",
    "${oc.select:charset}",
    "${hydra:runtime.cwd}",
    "${run_folder:a,b}",
    "${own:touch}",
    "${seed}",
    "text ${seed}",
    "\\${seed}",
]


@pytest.mark.parametrize("text", RESOLVERS)
@pytest.mark.parametrize("key", ["charset.name", "charset._target_", "seed", "image.height"])
def test_nothing_in_it_is_resolved(key, text, refused, monkeypatch, folder):
    monkeypatch.setenv("SECRET", "mellon")
    OmegaConf.register_new_resolver("own", lambda _: (folder / MARK).touch())
    try:
        message = refused(inside(*key.split("."), value=text))
    finally:
        OmegaConf.clear_resolver("own")
    assert "expected values, no ${…}" in message and "mellon" not in message


BAD_YAML = {
    "a python tag": "seed: !!python/object/apply:os.system ['touch mark']",
    "a path": "seed: !!python/object/apply:pathlib.PosixPath [a]",
    "an alias": "a: &a [1, 2]\nb: [*a, *a]",
    "a merged key": "a: &a {b: 1}\nc:\n  <<: *a",
    "brackets": "a: " + "[" * 20_000,
    "a list": "- a",
    "a text": "속보",
    "bytes": "a: \0",
    "a key twice": "seed: 1\nseed: 2",
    "too much": "# " + "속" * 400_000,
    "two documents": "a: 1\n---\nb: 2",
}


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML.keys())
def test_yaml_that_no_run_writes_is_refused(text, refused):
    assert "run/config.yaml: " in refused(lambda _: text)


def test_bytes_that_are_no_utf_8_are_refused(folder):
    (folder / "config.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(HanlineError, match="expected the configuration of a run"):
        read_config(folder / "config.yaml")


def test_code_of_ones_own_is_built_where_the_command_line_repeats_it(resumed):
    change = inside("callbacks", "mine", value={"_target_": "pytorch_lightning.Callback"})
    said = "++callbacks.mine._target_=pytorch_lightning.Callback"
    assert said in resumed(change)
    assert "last.ckpt is damaged" in resumed(change, said)
    other = resumed(change, "++callbacks.mine._target_=pytorch_lightning.callbacks.Timer")
    assert "expected pytorch_lightning.Callback, as the run has it" in other


def test_an_installed_package_registers_by_entry_point(resumed, folder, monkeypatch):
    change = inside("callbacks", "mine", value={"_target_": "mine.Mine"})
    (folder / "mine.py").write_text(
        "import pytorch_lightning as pl\nclass Mine(pl.Callback):\n    pass\n", encoding="utf-8"
    )
    record = folder / "mine-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    importlib.invalidate_caches()
    trusted_names.cache_clear()
    assert "install it with an entry point in the group hanline.callbacks" in resumed(change)
    (record / "entry_points.txt").write_text("[hanline.callbacks]\nmine = mine:Mine\n")
    importlib.invalidate_caches()
    trusted_names.cache_clear()
    try:
        assert "last.ckpt is damaged" in resumed(change)
    finally:
        trusted_names.cache_clear()
        sys.modules.pop("mine", None)


KINDS = {
    "augmentation": "hanline.data.augmentation.Augmentation",
    "callback": "hanline.training.callbacks.log_train.LogTrain",
    "charset": "hanline.text.charset.named_charset",
    "corpus": "hanline.text.corpus.Corpus",
    "data": "hanline.data.datamodule.TextImageData",
    "logger": "pytorch_lightning.loggers.TensorBoardLogger",
    "module": "hanline.training.module.RecognizerModule",
    "optimizer": "torch.optim.AdamW",
    "renderer": "hanline.synthesis.broadcast.BroadcastRenderer",
    "scheduler": "hanline.training.schedulers.warmup_cosine",
    "source": "hanline.data.online.OnlineSource",
    "stage": "hanline.models.prediction.ctc.CTCPrediction",
    "synthesis": "hanline.synthesis.dataset_renderer.make_dataset_renderer",
    "trainer": "hanline.training.trainer.make_trainer",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_files_are_the_list_of_what_may_be_built(kind):
    assert KINDS[kind] in trusted_names(kind)
    # One of another kind is not.
    assert not {target for other, target in KINDS.items() if other != kind} & trusted_names(kind)
    for name in trusted_names(kind):
        assert callable(get_object(name))


def test_every_target_of_the_configs_is_registered():
    known = set().union(*map(trusted_names, KINDS))
    for file in CONF.rglob("*.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        nodes = [content, *(node for node in content.values() if isinstance(node, dict))]
        if file.parent.name in ("format", "decoding"):
            continue  # chosen on the command line alone
        for node in nodes:
            assert node.get("_target_") in known | {None}, file


@pytest.mark.parametrize("target", HOSTILE)
def test_a_models_json_builds_no_other_stage(target, folder):
    with pytest.raises(HanlineError, match=r"_target_=.*expected one of hanline"):
        build_stage({"_target_": target, **HOSTILE[target]}, in_channels=1)
    assert not (folder / MARK).exists() and "trap" not in sys.modules
