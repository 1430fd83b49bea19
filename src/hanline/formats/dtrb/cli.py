"""DTRB's command lines, in Hanline's words.

Every option of ``train.py``, ``test.py``, ``demo.py`` and ``create_lmdb_dataset.py`` either becomes
a setting or is named with the reason why it is not needed. What DTRB does by default and Hanline
does not is said, too, so that the command trains and reads as the original would.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hanline.errors import HanlineError
from hanline.formats.dtrb.arguments import (
    BENCHMARKS,
    demo_parser,
    pack_parser,
    test_parser,
    train_parser,
)
from hanline.text.charset import charset_names, named_charset


@dataclass
class Translation:
    """The commands to run instead, in order, and notes on them.

    Attributes:
        files: texts to write first, by path.
        copies: files to copy first, from and to.
        commands: the words of each command.
        notes: an option and what became of it, where it did not become a setting.
        environment: variables that stood before the command, such as CUDA_VISIBLE_DEVICES.
    """

    files: dict[Path, str] = field(default_factory=dict)
    copies: list[tuple[Path, Path]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def shell(self) -> list[str]:
        """Return the lines to type into a shell."""
        variables = "".join(f"{name}={shlex.quote(v)} " for name, v in self.environment.items())
        return [
            *(
                f"printf %s {shlex.quote(text)} > {shlex.quote(str(path))}"
                for path, text in self.files.items()
            ),
            *(shlex.join(["cp", str(source), str(target)]) for source, target in self.copies),
            *(variables + shlex.join(command) for command in self.commands),
        ]


def translate(words: Sequence[str]) -> Translation:
    """Translate a command line.

    Args:
        words: the script's name, such as ``train.py`` or ``some/where/train.py``, and its options;
            variables and Python before it, as in ``CUDA_VISIBLE_DEVICES=0 python3 train.py``.

    Raises:
        HanlineError: it is not a script of DTRB, or it has no such option.
    """
    translation = Translation()
    words = list(words)
    while words and (variable := re.fullmatch(r"(\w+)=(.*)", words[0])):
        translation.environment[variable[1]] = variable[2]
        words.pop(0)
    if words and re.fullmatch(r"python[\d.]*(\.exe)?", Path(words[0]).name):
        words.pop(0)
    if not words:
        raise HanlineError(f"a command line of DTRB is missing; its scripts: {', '.join(SCRIPTS)}")
    script = Path(words[0]).name
    if script not in SCRIPTS:
        raise HanlineError(f"DTRB has no script {script!r}; there are: {', '.join(SCRIPTS)}")
    parser, translator = SCRIPTS[script]
    translator(parser(script).parse_args(words[1:]), translation)
    # What became of an option is of interest to those who gave it.
    given = {word.partition("=")[0] for word in words}
    translation.notes = [
        note
        for note in translation.notes
        if not (named := set(re.findall(r"--\w+", note))) or named & given
    ]
    return translation


def _train(given: argparse.Namespace, translation: Translation) -> None:
    name = given.exp_name or "-".join([*_stages(given), f"Seed{given.manualSeed}"])
    groups = given.select_data.split("-")
    settings = [
        "data=lmdb",
        f"data.train.dir={given.train_data}",
        f"data.validation.dir={given.valid_data}",
        f"model={_preset(given)}",
        *_charset(given, translation),
        *_numbers(given),
        *_image(given, translation),
        f"max_label_length={given.batch_max_length}",
        f"data.batch_size={given.batch_size}",
        f"data.num_workers={given.workers}",
        f"data.train.usage_ratio={float(given.total_data_usage_ratio)}",
        f"seed={given.manualSeed}",
        f"trainer.max_steps={given.num_iter}",
        f"trainer.val_check_interval={given.valInterval}",
        f"trainer.gradient_clip_val={given.grad_clip}",
        # DTRB never changes the learning rate.
        "scheduler=constant",
        f"hydra.run.dir=saved_models/{name}",
    ]
    if groups != ["/"]:
        settings.append(f"data.train.select_data=[{','.join(groups)}]")
        settings.append(f"data.train.batch_ratio=[{','.join(given.batch_ratio.split('-'))}]")
    if not given.sensitive:
        settings.append("data.lowercase=true")
    settings += _optimizer(given, translation)
    if given.saved_model:
        settings.append(f"finetune_from={given.saved_model}")
        if not given.FT:
            translation.notes.append(
                "--saved_model without --FT: DTRB demands that every tensor fits; Hanline loads "
                "what fits and lists the rest. A run of Hanline goes on, with the "
                "optimizer's state, with hanline train resume=…/last.ckpt"
            )
    elif given.FT:
        translation.notes.append("--FT is not needed: there is no --saved_model to tune")
    if given.baiduCTC:
        translation.notes.append("--baiduCTC is not needed: torch's CTC loss does the same")
    if given.data_filtering_off:
        translation.notes.append(
            "--data_filtering_off is not offered: a label whose characters were taken out no "
            "longer says what the image shows. data.invalid_labels=error stops at the first one"
        )
    translation.commands.append(["hanline", "train", *settings])


def _test(given: argparse.Namespace, translation: Translation) -> None:
    checkpoint = _imported(given, translation)
    sets = [given.eval_data]
    if given.benchmark_all_eval:
        sets = [str(Path(given.eval_data) / name) for name in BENCHMARKS]
    for place in sets:
        output = Path("result") / Path(checkpoint).stem / Path(place).name
        command = ["hanline", "evaluate", f"input={place}", f"checkpoint={checkpoint}"]
        command += [f"batch_size={given.batch_size}", f"output={output}"]
        command += [] if given.sensitive and not given.data_filtering_off else ["lowercase=true"]
        translation.commands.append(command)
    translation.notes.append(
        "--workers is not needed: images are decoded while the ones before are read"
    )
    if given.data_filtering_off:
        translation.notes.append(
            "--data_filtering_off is not needed: no sample is left out; DTRB would also take all "
            "but letters and digits out of what it compares"
        )
    if given.baiduCTC:
        translation.notes.append("--baiduCTC is not needed: reading has no loss")


def _demo(given: argparse.Namespace, translation: Translation) -> None:
    checkpoint = _imported(given, translation)
    translation.commands.append(
        [
            "hanline",
            "predict",
            f"input={given.image_folder}",
            f"checkpoint={checkpoint}",
            f"batch_size={given.batch_size}",
        ]
    )
    translation.notes.append(
        "--workers is not needed: images are decoded while the ones before are read"
    )


def _pack(given: argparse.Namespace, translation: Translation) -> None:
    names = ("inputPath", "gtFile", "outputPath", "checkValid")
    places = iter(given.places)
    values = [getattr(given, name) or next(places, None) for name in names[:3]]
    missing = [name for name, value in zip(names, values, strict=False) if value is None]
    if missing:
        raise HanlineError(f"DTRB's create_lmdb_dataset.py needs --{' and --'.join(missing)}")
    images, gt, output = (Path(str(value)) for value in values)
    if images.resolve() != gt.parent.resolve():
        # Hanline looks for the images from where their list is.
        copy = images / gt.name
        translation.copies.append((gt, copy))
        gt = copy
    translation.commands.append(["hanline", "pack", f"input={gt}", f"output={output}"])
    if str(next(places, given.checkValid)).lower() in ("false", "0"):
        translation.notes.append(
            "--checkValid False is not offered: every image is checked, and the bad ones are listed"
        )


SCRIPTS: dict[
    str,
    tuple[
        Callable[[str], argparse.ArgumentParser],
        Callable[[argparse.Namespace, Translation], None],
    ],
] = {
    "train.py": (train_parser, _train),
    "test.py": (test_parser, _test),
    "demo.py": (demo_parser, _demo),
    "create_lmdb_dataset.py": (pack_parser, _pack),
}


def _imported(given: argparse.Namespace, translation: Translation) -> str:
    """Return the checkpoint to read with; a ``.pth`` is imported first, with the other options."""
    model = Path(given.saved_model)
    if model.suffix != ".pth":
        translation.notes.append(
            "--Transformation to --hidden_size, --imgH, --imgW, --PAD, --rgb, --input_channel, "
            "--character, --sensitive and --batch_max_length are not needed: the checkpoint knows "
            "its own"
        )
        return str(model)
    checkpoint = model.with_suffix(".imported.ckpt")
    if checkpoint.exists():
        translation.notes.append(f"{checkpoint} exists already, and is not imported again")
        return str(checkpoint)
    command = ["hanline", "import", "dtrb", str(model), f"model={_preset(given)}"]
    command += _charset(given, translation)
    command += _image(given, translation, channels=False)
    command += [f"max_label_length={given.batch_max_length}", f"output={checkpoint}"]
    translation.commands.append(command)
    translation.notes.append(
        "--output_channel, --hidden_size, --num_fiducial, --rgb and --input_channel are not "
        "needed: the tensors show them"
    )
    return str(checkpoint)


def _stages(given: argparse.Namespace) -> list[str]:
    return [
        given.Transformation,
        given.FeatureExtraction,
        given.SequenceModeling,
        given.Prediction,
    ]


def _preset(given: argparse.Namespace) -> str:
    return "_".join(_stages(given)).lower()


def _charset(given: argparse.Namespace, translation: Translation) -> list[str]:
    # DTRB's --sensitive overrules --character.
    characters = named_charset("dtrb_94").characters if given.sensitive else given.character
    for name in charset_names():
        if named_charset(name).characters == characters:
            return [f"charset={name}"]
    path = Path("characters.txt")
    translation.files[path] = characters
    return ["charset=file", f"charset.path={path}"]


def _numbers(given: argparse.Namespace) -> list[str]:
    settings = [f"model.feature_extraction.out_channels={given.output_channel}"]
    if given.Transformation == "TPS":
        settings.append(f"model.transformation.num_fiducial={given.num_fiducial}")
    if given.SequenceModeling == "BiLSTM":
        settings.append(f"model.sequence_modeling.hidden_size={given.hidden_size}")
        settings.append(f"model.sequence_modeling.out_channels={given.hidden_size}")
    if given.Prediction == "Attn":
        settings.append(f"model.prediction.hidden_size={given.hidden_size}")
    return settings


def _image(given: argparse.Namespace, translation: Translation, channels: bool = True) -> list[str]:
    settings = [f"image.height={given.imgH}", f"image.width={given.imgW}"]
    if channels:
        settings.append(f"image.channels={3 if given.rgb else given.input_channel}")
        if given.rgb and given.input_channel != 3:
            translation.notes.append("--input_channel is not needed: --rgb makes it 3")
    settings.append(f"image.keep_ratio={'true' if given.PAD else 'false'}")
    return settings


def _optimizer(given: argparse.Namespace, translation: Translation) -> list[str]:
    if given.adam:
        translation.notes.append("--rho and --eps are not needed: DTRB's Adam ignores them")
        betas = f"optimizer.betas=[{given.beta1},0.999]"
        return ["optimizer=adam", f"optimizer.lr={given.lr}", betas]
    translation.notes.append("--beta1 is not needed: it is Adam's")
    return [
        "optimizer=adadelta",
        *(f"optimizer.{name}={getattr(given, name)}" for name in ("lr", "rho", "eps")),
    ]
