"""Every format keeps the contract of ``formats/base.py``, those of installed packages too."""

import ast
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from hanline import configs
from hanline.cli.hydra_app import CONF
from hanline.errors import HanlineError
from hanline.formats.base import Description, Format
from hanline.formats.checkpoint import Checkpoint
from hanline.formats.record import build
from hanline.formats.registry import all_formats, format_of, open_model
from hanline.text.charset import Charset

FORMATS = all_formats()
# Those of others may be read alone.
WRITTEN = [name for name, format_ in FORMATS.items() if format_.save is not Format.save]
SOURCE = Path(__file__).parents[2] / "src" / "hanline"


@pytest.fixture(scope="module")
def recognizer(recognizer_of):
    """One that every format can hold."""
    return recognizer_of("None-VGG-None-CTC", image=(32, 96, 1), keep_ratio=True)


@pytest.fixture(scope="module")
def saved(recognizer, tmp_path_factory):
    """Saves the recognizer in a format once: the files."""
    made = {}

    def save(name):
        if name not in made:
            path = tmp_path_factory.mktemp(name) / f"model{FORMATS[name].suffixes[0]}"
            made[name] = FORMATS[name]().save(path, recognizer, {"steps": 7})
        return made[name]

    return save


@pytest.mark.parametrize("name", FORMATS)
def test_its_yaml_has_its_options_and_their_defaults(name):
    format_class = FORMATS[name]
    config = OmegaConf.to_container(OmegaConf.load(CONF / "format" / f"{name}.yaml"))
    target = f"{format_class.__module__}.{format_class.__name__}"
    options = (
        {f.name: f.default for f in fields(format_class)} if is_dataclass(format_class) else {}
    )
    assert config == {"_target_": target, **options}
    assert format_class.name == name


def test_every_yaml_is_of_a_format():
    assert {path.stem for path in (CONF / "format").glob("*.yaml")} == set(FORMATS)


@pytest.mark.parametrize("name", WRITTEN)
def test_it_loads_what_it_saves_and_reads_the_same(name, saved, recognizer, images):
    path, *others = saved(name)
    assert all(file.stem.split(".")[0] == path.stem for file in others)
    assert isinstance(format_of(path), FORMATS[name])
    pictures = images(20, 1, 32, 96)
    texts, confidences = recognizer.read(pictures)
    assert len(set(texts)) > 5
    try:
        opened = open_model(path)
    except HanlineError as error:
        # The file does not say its spec: the message has the command that adds it.
        assert f"hanline import {name} {path} charset=" in str(error)
        image = {key: recognizer.spec["image"][key] for key in ("height", "width", "keep_ratio")}
        said = Description(Charset(recognizer.spec["charset"]), image, 7)
        read_as = format_of(path)
        file = read_as.complete(read_as.load(path), said, path)
        opened = build(file.spec, file.state, file.extras, path)
    ((theirs, sure),) = opened.eval().read_all([pictures])
    assert theirs == texts
    assert sure == pytest.approx(confidences, abs=1e-4)
    assert opened.spec["charset"] == recognizer.spec["charset"]
    assert opened.spec["image"] == recognizer.spec["image"]


@pytest.mark.parametrize("name", WRITTEN)
def test_its_usage_names_the_file(name, saved, recognizer):
    path = saved(name)[0]
    assert path.stem in FORMATS[name]().usage(path, recognizer.spec)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"no model " * 500], ids=["empty", "short", "text"]
)
def test_what_is_no_file_of_it_is_refused(name, content, tmp_path):
    path = tmp_path / f"model{FORMATS[name].suffixes[0]}"
    with pytest.raises(HanlineError, match="there is none"):
        open_model(path)
    path.write_bytes(content)
    with pytest.raises(HanlineError, match="model"):
        FORMATS[name]().load(path)
    with pytest.raises(HanlineError, match="model"):
        open_model(path)


FULL_DISK = """
import resource, signal
from pathlib import Path
from hanline.errors import HanlineError
from hanline.formats.registry import all_formats, open_model, save_model
recognizer = open_model(Path("model.ckpt"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for name, format_class in all_formats().items():
    path = Path("made", name, f"model{format_class.suffixes[0]}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    try:
        save_model(format_class(), path, recognizer, {})
    except HanlineError as error:
        print(name, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_full_disk_leaves_nothing_partial_and_is_told(recognizer, process, tmp_path):
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, {})
    done = process("-c", FULL_DISK)
    assert done.status == 0, done.err
    for name in WRITTEN:
        format_class = FORMATS[name]
        path = Path("made", name, f"model{format_class.suffixes[0]}")
        assert f"{name} output={path}: expected a place to write to" in done.out
        assert list((tmp_path / "made" / name).iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(FORMATS) - set(WRITTEN)))
def test_a_format_that_is_read_alone_says_so(name, recognizer, tmp_path):
    with pytest.raises(HanlineError, match=f"format={name}: expected a format that can be written"):
        FORMATS[name]().save(tmp_path / "model", recognizer, {})


PLUGIN = '''
import json
from dataclasses import dataclass
from typing import ClassVar
import torch
from hanline.formats.base import Format, ModelFile, write_all

@dataclass(frozen=True)
class Plain(Format):
    """Weights as lists of numbers in JSON."""
    indent: int = 0
    name: ClassVar = "plain"
    title: ClassVar = "weights in JSON"
    suffixes: ClassVar = (".plain",)

    def load(self, path):
        stored = json.loads(path.read_text("utf-8"))
        state = {name: torch.tensor(values) for name, values in stored["state"].items()}
        return ModelFile(stored["spec"], state)

    def save(self, path, recognizer, history, batches=None):
        state = {name: tensor.tolist() for name, tensor in recognizer.state_dict().items()}
        stored = {"spec": recognizer.spec, "state": state, "indent": self.indent}
        return write_all({path: json.dumps(stored).encode()})
'''


def test_a_format_of_an_installed_package_is_one_file(recognizer, process, tmp_path):
    """Exported, read with and imported, by the command line."""
    site = tmp_path / "site"
    info = site / "plain_format-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "plain_format.py").write_text(PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Name: plain-format\nVersion: 1.0\n", encoding="utf-8")
    points = "[hanline.formats]\nplain = plain_format:Plain\n"
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    Checkpoint().save(tmp_path / "model.ckpt", recognizer, {})
    environment = {"PYTHONPATH": f"{site}{':' if sys.platform != 'win32' else ';'}{SOURCE.parent}"}

    def hanline(*words):
        return process("-m", "hanline.cli.main", *words, **environment)

    done = hanline("export", "checkpoint=model.ckpt", "format=plain", "format.indent=3", "output=a")
    assert done.status == 0, done.err
    assert '"indent": 3' in (tmp_path / "a.plain").read_text("utf-8")
    done = hanline("import", "plain", "a.plain")
    assert done.status == 0, done.err
    state = open_model(tmp_path / "a.ckpt").state_dict()
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(state[name], tensor)
    done = hanline("export", "checkpoint=model.ckpt", "format=plain", "format.depth=3")
    assert done.status == 1
    assert "format.depth" in done.err


def test_an_export_never_replaces_its_checkpoint(saved, command, tmp_path):
    path, config = saved("safetensors")
    (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / config.name).write_bytes(config.read_bytes())
    done = command("export", f"checkpoint={path.name}", "format=safetensors", "format.half=true")
    assert done.status == 1
    assert "expected another file than the checkpoint" in done.err
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_format_must_be_given_and_known(command):
    done = command("export", "checkpoint=model.ckpt")
    assert done.status == 1
    names = "checkpoint, dtrb, easyocr, onnx, openocr, paddle, parseq, safetensors"
    assert f"format=: expected one of {names}" in done.err
    done = command("export", "checkpoint=model.ckpt", "format=onxx")
    assert done.status == 1
    assert "onnx" in done.err


def test_no_command_has_a_key_of_a_groups_name_that_it_does_not_have():
    """Hydra takes ``key=value`` for the choice of a group that exists, whichever command it is."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    for path in CONF.glob("*.yaml"):
        keys = set(yaml.safe_load(path.read_text("utf-8"))) - {"hydra"}
        assert not groups & keys - set(configs.command_groups(path)), path


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"checkpoint"}))
def test_a_formats_name_is_in_its_own_file_only(name):
    own = Path(sys.modules[FORMATS[name].__module__].__file__)
    own = own.parent if own.name == "__init__.py" else own
    # A preset may have the name of a format: both are their paper's.
    presets = SOURCE / "cli" / "model_presets.py"
    for file in SOURCE.rglob("*.py"):
        if file not in (own, presets) and own not in file.parents:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                assert not (isinstance(node, ast.Constant) and node.value == name), file


def test_every_format_is_a_subclass_with_a_title():
    for format_class in FORMATS.values():
        assert issubclass(format_class, Format)
        assert format_class.title
        assert all(suffix.startswith(".") for suffix in format_class.suffixes)
    assert yaml.safe_load((CONF / "export.yaml").read_text("utf-8"))["output"] is None
