"""Every file under conf composes, is understood by what reads it, and documents its keys."""

import importlib
import itertools
import re
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hanline import configs
from hanline.cli import commands
from hanline.cli.config_check import check_config
from hanline.cli.hydra_app import CONF, plain
from hanline.cli.model_presets import PAPERS, presets, stages_of
from hanline.commands.train import Settings
from hanline.configs import STAGES
from hanline.data.datamodule import TextImageData
from hanline.models.recognizer import Recognizer
from hanline.text.charset import Charset
from hanline.text.corpus import Corpus

# The architectures of Baek et al., "What Is Wrong With Scene Text Recognition Model Comparisons?",
# ICCV 2019, as its table 8 has them.
DTRB = [
    "_".join(stages)
    for stages in itertools.product(
        ("none", "tps"), ("vgg", "rcnn", "resnet"), ("none", "bilstm"), ("ctc", "attn")
    )
]
# Stages at a width at which they are built at once, if they have such a key.
NARROW = {"out_channels": 48, "hidden_size": 48}


def choices(group):
    return [*configs.choices(group)]


def composed(*overrides, name="train"):
    """The configuration, held against what reads it; what it lacks is given."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, [*overrides, *(["run_dir=run"] if name == "train" else [])])
    for key in OmegaConf.missing_keys(config):
        listed = key == "corpus.files"
        OmegaConf.update(config, key, ["given.txt"] if listed else "given")
    if name == "train":
        check_config(config, CONF / "train.yaml", Settings)
    return config


def recognizer(config, charset="가나다"):
    return Recognizer(
        **plain(config.model),
        charset=charset,
        image=plain(config.image),
        max_label_length=config.max_label_length,
    )


def narrowed(config):
    for stage in STAGES:
        for key, width in NARROW.items():
            if key in config.model[stage]:
                config.model[stage][key] = width
    return config


def target(stage, choice):
    content = configs.load(configs.choices(f"model/{stage}")[choice])
    # A choice may be another one with other numbers.
    return content.get("_target_") or target(stage, content["defaults"][0])


def test_every_architecture_of_dtrb_has_a_preset():
    assert {*DTRB} <= {*presets()}
    assert {preset for _, preset in PAPERS.values()} <= {*presets()}


def test_a_presets_name_is_its_stages():
    for name in presets().keys() - PAPERS.keys():
        assert "_".join(stages_of(name).values()) == name
    assert all([*stages_of(name)] == [*STAGES] for name in choices("model"))


# Each choice of each stage, in a preset without a file, and the presets with one.
COMPOSED = [
    "_".join({**stages_of("none_vgg_none_ctc"), stage: choice}.values())
    for stage in STAGES
    for choice in choices(f"model/{stage}")
] + choices("model")


@pytest.mark.parametrize("name", sorted({*COMPOSED}))
def test_a_preset_composes_the_stages_of_its_name(name):
    model = composed(f"model={name}").model
    for stage, choice in stages_of(name).items():
        assert model[stage]._target_ == target(stage, choice)


@pytest.mark.parametrize("stage", STAGES)
@torch.inference_mode()
def test_every_choice_of_a_stage_builds_a_model(stage):
    for choice in choices(f"model/{stage}"):
        words = ["model=none_compact_none_ctc", f"model/{stage}={choice}", "max_label_length=8"]
        config = composed(*words)
        if config.model.feature_extraction.get("rows") == "keep":
            # CTC needs the order of the line.
            width = "model.prediction.head_width=8"
            config = composed(*words, "model/prediction=parseq", width)
        model = recognizer(narrowed(config))
        assert type(getattr(model, stage)).__name__ == target(stage, choice).rpartition(".")[2]
        images = torch.zeros(2, 1, 32, 100, dtype=torch.uint8)
        assert model.loss(images, ["가", "나다"]).isfinite()
        texts, confidences = model.eval().read(images)
        assert len(texts) == len(confidences) == 2


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_preset_is_its_architecture(name):
    paper, preset = PAPERS[name]
    assert composed(f"model={name}").model == composed(f"model={preset}").model
    assert paper.split()[0].lower().replace("-", "_").rstrip(",") == name


@pytest.mark.parametrize(
    "overrides, name",
    [
        (["model=crnn"], "crnn"),
        (["model=tps_resnet_bilstm_attn"], "tps_resnet_bilstm_attn"),
        (["model=headline"], "headline"),
        (["model=crnn", "model/prediction=attn"], "none_vgg_bilstm_attn"),
        (["model=crnn", "name=mine"], "mine"),
    ],
)
def test_a_run_is_named_by_the_word_that_chose_its_model(overrides, name, hydra_apart):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    assert config.name == name
    assert Path(config.hydra.run.dir).parent == Path("saved_models", name)


def test_the_widths_are_dtrbs():
    model = composed("model=tps_resnet_bilstm_attn").model
    assert model.transformation.num_fiducial == 20
    assert model.feature_extraction.out_channels == 512
    assert (model.sequence_modeling.hidden_size, model.prediction.hidden_size) == (256, 256)
    assert composed("model=none_rcnn_none_ctc").model.feature_extraction.iterations == 5


@pytest.mark.parametrize("name", choices("charset"))
def test_every_charset_is_made(name, tmp_path):
    file = tmp_path / "글자.txt"
    file.write_text("가나다 뉴스\n", encoding="utf-8")
    config = composed(f"charset={name}")
    config.corpus.files = [str(file)]
    if name == "file":
        config.charset.path = str(file)
    charset = instantiate(config.charset)
    sizes = {"dtrb_36": 36, "dtrb_94": 94, "easyocr_korean_g2": 1008, "file": 6, "corpus": 6}
    assert isinstance(charset, Charset)
    assert len(charset) == sizes.get(name, len(charset))
    assert charset.covers("뉴스" if name not in ("dtrb_36", "dtrb_94") else "news2024")


@pytest.mark.parametrize("name", choices("corpus"))
def test_every_corpus_is_made(name, tmp_path):
    file = tmp_path / "headlines.txt"
    file.write_text("첫째 속보\n둘째 속보\n", encoding="utf-8")
    config = composed(f"corpus={name}")
    corpus = instantiate(config.corpus)
    assert isinstance(corpus, Corpus)
    if name == "embedded":
        assert corpus.files == ["embedded"]
    else:
        assert "embedded" not in corpus.files
    config.corpus.files = [str(file)]
    texts = instantiate(config.corpus).texts(lambda word: True, lambda word: True)
    assert {*texts.train, *texts.validation} == {"첫째", "둘째", "속보"}


@pytest.mark.parametrize("name", choices("optimizer"))
def test_every_optimizer_takes_a_step(name):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = instantiate(composed(f"optimizer={name}").optimizer)([weight])
    assert type(optimizer).__name__.lower() == name
    weight.square().sum().backward()
    optimizer.step()
    assert (weight < 1).all()


def test_adadelta_is_dtrbs():
    optimizer = composed("optimizer=adadelta").optimizer
    assert (optimizer.lr, optimizer.rho, optimizer.eps) == (1.0, 0.95, 1e-8)


@pytest.mark.parametrize("name", choices("scheduler"))
def test_every_schedule_is_made_for_a_run(name):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    schedule = instantiate(composed(f"scheduler={name}").scheduler)(optimizer, 1000)
    assert 0 < schedule.get_last_lr()[0] <= 0.5


@pytest.mark.parametrize("name", choices("trainer"))
def test_every_trainer_is_made(name, tmp_path):
    config = composed(f"trainer={name}", "trainer.accelerator=cpu")
    config.run_dir = str(tmp_path)
    trainer = instantiate(
        config.trainer,
        run_dir=tmp_path,
        callbacks=list(instantiate(config.callbacks).values()),
        loggers=list(instantiate(config.logger).values()),
        _recursive_=False,
    )
    assert isinstance(trainer, pl.Trainer)
    assert trainer.max_steps == config.trainer.max_steps


@pytest.mark.parametrize("name", choices("callbacks"))
def test_every_callback_is_made(name, tmp_path):
    config = composed(f"callbacks={name}")
    config.run_dir = str(tmp_path)
    made = list(instantiate(config.callbacks).values())
    assert made and all(isinstance(callback, pl.Callback) for callback in made)


# Two loggers need packages that are not installed here.
@pytest.mark.parametrize("name", sorted({*choices("logger")} - {"mlflow", "wandb"}))
def test_every_logger_is_made(name, tmp_path):
    config = composed(f"logger={name}")
    config.run_dir = str(tmp_path)
    assert len(instantiate(config.logger)) == len(config.logger)


@pytest.mark.parametrize("name", choices("data"))
def test_all_data_are_made(name):
    given = "data.train.dir=somewhere", "data.validation.dir=null"
    config = composed(f"data={name}", *(given if name == "lmdb" else ()))
    later = partial(pytest.fail, "a set was drawn")
    data = instantiate(config.data, charset=Charset("가나"), corpus=later, synthesis=later)
    assert isinstance(data, TextImageData)
    assert data.image_format.width == config.image.width == 100
    assert data.validation.dir is None


@pytest.mark.parametrize("name", choices("synthesis"))
def test_every_synthesis_is_understood(name):
    assert composed(f"synthesis={name}").synthesis.renderer._target_
    assert composed(f"synthesis={name}", "output=x", name="synthesize").synthesis.fonts


@pytest.mark.parametrize("name", choices("renderer"))
def test_every_renderer_is_understood(name):
    assert composed(f"renderer={name}").synthesis.renderer._target_


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_makes_a_model(name):
    config = composed(f"experiment={name}")
    assert config != composed()
    recognizer(config)


@pytest.mark.parametrize("name", choices("sweep"))
def test_every_sweep_varies_keys_of_the_default_model(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [f"sweep={name}", "hydra.runtime.output_dir=x"]
        config = compose("train", overrides, return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    for key in config.hydra.sweeper.params:
        assert OmegaConf.select(config, key) is not None, key


def test_every_group_belongs_to_a_command():
    used = {group for file in CONF.glob("*.yaml") for group in configs.command_groups(file)} | {
        "hydra"
    }
    assert {*configs.inner_groups()} <= used


@pytest.mark.parametrize("name", [file.stem for file in CONF.glob("*.yaml")])
def test_a_commands_own_keys_all_have_a_type(name):
    if name in commands.names():
        settings = importlib.import_module(commands.command(name).__module__).Settings
        file = CONF / f"{name}.yaml"
        keys = {*configs.load(file)} - {"defaults", "hydra"}
        # A group whose keys are at the top has them among the command's.
        for group, choice in configs.command_groups(file).items():
            chosen = configs.files(group).get(choice or "")
            if chosen and group == "reader":
                keys |= {*configs.load(chosen)}
        assert keys == {*get_type_hints(settings)}


def undocumented(text):
    """The keys that no comment speaks of: neither above them nor above the lines they stand among.

    The comment at the head of a file with a target speaks of the target. What Hydra reads itself
    needs none.
    """
    found = []
    spoken_of = False
    outside = None  # the indentation of a block that is Hydra's own
    for line in text.splitlines():
        key = re.match(r"( *)([\w.]+):", line)
        if outside is not None and (not line or len(line) - len(line.lstrip()) > outside):
            continue
        outside = None
        if not line.strip():
            spoken_of = False
        elif line.lstrip().startswith("#"):
            spoken_of = True
        elif key and key[2] in ("defaults", "hydra"):
            outside = len(key[1])
        elif key and key[2] in ("_target_", "_partial_", "_convert_"):
            spoken_of = spoken_of and bool(key[1])
        elif key and not spoken_of:
            found.append(key[2])
    return found


def keys_explained_elsewhere(file):
    """The keys of the files that a file sends its reader to."""
    text = file.read_text(encoding="utf-8")
    named = re.findall(r"([\w/]+\.yaml)", text.partition("defaults:")[0])
    elsewhere = [file.parent / name for name in named if (file.parent / name).is_file()]
    return {
        key
        for other in elsewhere
        for key in OmegaConf.to_container(OmegaConf.load(other))
        if key not in undocumented(other.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize(
    "file",
    [
        path.relative_to(CONF)
        for path in sorted(CONF.rglob("*.yaml"))
        # An experiment is a list of overrides; what they mean stands where the keys do.
        if path.parent.name != "experiment"
    ],
    ids=Path.as_posix,
)
def test_every_key_is_documented(file):
    text = (CONF / file).read_text(encoding="utf-8")
    assert text.startswith("#")
    assert set(undocumented(text)) <= keys_explained_elsewhere(CONF / file)


def test_an_undocumented_key_is_noticed():
    text = "# A thing.\n_target_: a.B\nsize: 3\n\n# How wide.\nwidth: 1\nheight: 2\n\ndepth: 4\n"
    assert undocumented(text) == ["size", "depth"]
    assert undocumented("# Parts.\n\npart:\n  _target_: a.B\n  size: 3\n") == ["part", "size"]
    assert undocumented("# A.\n\n# B.\npart:\n  _target_: a.B\n  size: 3\nhydra:\n  a: 1\n") == []
