"""EasyOCR's networks: its own, into Hanline; Hanline's, as custom networks of EasyOCR.

EasyOCR 1.7.2 (Apache-2.0) reads a custom network from three files of one name: ``NAME.yaml`` (the
input's height, the characters, the keyword arguments of the model), ``NAME.py`` (a class ``Model``)
and ``NAME.pth`` (its state dict, every key behind ``module.``). Its own networks have DTRB's names:
those of the second generation are None-VGG-BiLSTM-CTC, those of the first None-ResNet-BiLSTM-CTC.

In the ``NAME.yaml`` that Hanline writes, the key ``hanline`` has the record of the model, so that
Hanline can load it again. EasyOCR ignores it.
"""

import ast
import importlib.util
import inspect
import json
import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import yaml
from torch import Tensor

from hanline import __version__
from hanline.errors import HanlineError
from hanline.formats import record
from hanline.formats.base import Description, Format, ModelFile, write_all
from hanline.formats.dtrb import describe, load_tensors
from hanline.formats.torch_file import checked_tensors, load_weights_file, saved
from hanline.models.recognizer import Recognizer
from hanline.models.stage import Stage
from hanline.text.charset import Charset

# EasyOCR's own height; a file of it does not say. It pads to a multiple of the height, and its
# networks were trained on lines of this width. In pixels.
IMAGE_SIZE = (64, 600)
_KEY = "hanline"
_PREFIX = "module."


@dataclass(frozen=True)
class EasyOCR(Format):
    """Options: see ``conf/format/easyocr.yaml``."""

    network: str = "korean_g2"

    name: ClassVar = "easyocr"
    title: ClassVar = "a custom network of EasyOCR"
    suffixes: ClassVar = (".pth",)

    def matches(self, path: Path) -> bool:
        # EasyOCR's own networks look like DTRB's files.
        try:
            return path.suffix in self.suffixes and self._record(path) is not None
        except HanlineError:
            return True

    def load(self, path: Path) -> ModelFile:
        note = self._record(path) if path.is_file() else None
        if note is None:
            return load_tensors(path, "a network of EasyOCR", "EasyOCR")
        content = checked_tensors(load_weights_file(path), path)
        state = {name.removeprefix(_PREFIX): tensor for name, tensor in content.items()}
        return ModelFile(state=state, **record.read(note, path.with_suffix(".yaml")))

    def complete(self, file: ModelFile, said: Description, path: Path) -> ModelFile:
        if file.spec is not None:
            return super().complete(file, said, path)
        if said.charset is None:
            said = replace(said, charset=Charset(network_characters(self.network)))
        return describe(file, said, IMAGE_SIZE, True, path)

    def save(
        self,
        path: Path,
        recognizer: Recognizer,
        history: Mapping[str, Any],
        batches: Iterable[Tensor] | None = None,
    ) -> list[Path]:
        refuse_unfit(recognizer)
        if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
            raise HanlineError(
                f"EasyOCR imports a network by its name, and {path.stem!r} is not a name of a "
                "Python module: give one of letters, digits and underscores, as in "
                "output=networks/headlines"
            )
        spec = recognizer.spec
        config = {
            "imgH": spec["image"]["height"],
            # EasyOCR drops characters of none of its languages, but for those of character_list.
            "lang_list": ["ko", "en"],
            "character_list": spec["charset"],
            "network_params": {"image_width": spec["image"]["width"]},
            _KEY: json.dumps(record.write(recognizer, history), ensure_ascii=False),
        }
        text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=10_000)
        state = {_PREFIX + name: t.contiguous() for name, t in recognizer.state_dict().items()}
        files = {
            path: saved(state),
            path.with_suffix(".yaml"): text.encode(),
            path.with_suffix(".py"): module_source(recognizer).encode(),
        }
        return write_all(files)

    def usage(self, path: Path, spec: Mapping[str, Any]) -> str:
        return f"In its folder:\n\n{_READER.format(name=path.stem)}"

    def _record(self, path: Path) -> Any:
        """Return the record in the yaml beside a file; None if there is none."""
        config = path.with_suffix(".yaml")
        if not config.is_file():
            return None
        try:
            content = yaml.safe_load(config.read_text(encoding="utf-8"))
            return json.loads(content[_KEY]) if _KEY in content else None
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise HanlineError(f"{config} is damaged: {reason}") from error


def network_characters(network: str) -> str:
    """Return the characters of one of EasyOCR's own networks, in class order, from the package.

    Args:
        network: such as ``korean_g2``.

    Raises:
        HanlineError: the package is missing, or has no such network.
    """
    found = importlib.util.find_spec("easyocr")
    if found is None or not found.submodule_search_locations:
        raise HanlineError(
            "the characters of EasyOCR's networks stand in its package: pip install "
            '".[easyocr]", or name them, as in charset=easyocr_korean_g2'
        )
    # The package itself would load detectors, OpenCV and SciPy; its list of networks is a file.
    config = Path(found.submodule_search_locations[0]) / "config.py"
    module_spec = importlib.util.spec_from_file_location("_easyocr_config", config)
    if module_spec is None or module_spec.loader is None:
        raise HanlineError(f"cannot read {config}")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    networks = {
        name: entry
        for generation in module.recognition_models.values()
        for name, entry in generation.items()
    }
    if network not in networks:
        raise HanlineError(
            f"EasyOCR has no network {network!r}; it has: {', '.join(sorted(networks))}"
        )
    return "".join(networks[network]["characters"])


def refuse_unfit(recognizer: Recognizer) -> None:
    """Refuse a model that EasyOCR cannot carry.

    Raises:
        HanlineError: saying why.
    """
    image = recognizer.spec["image"]
    prediction = recognizer.prediction
    decoding = prediction.decoding or {}
    decodes_ctc = (decoding.get("blank"), decoding.get("first_character")) == (0, 1)
    if not decodes_ctc or prediction.score_layer is None:
        raise HanlineError(
            "EasyOCR decodes by CTC alone, so a model with another prediction cannot be carried: "
            "format=onnx can"
        )
    if image["channels"] != 1:
        raise HanlineError(
            "EasyOCR shows its networks grey images, and this model reads RGB: format=onnx can "
            "carry it"
        )
    if image["width"] is None:
        raise HanlineError(
            "EasyOCR pads each line to a multiple of its height, and this model was trained on "
            "lines that are not padded (image.width=null): train it with an image.width, or take "
            "format=onnx"
        )
    if not image["keep_ratio"]:
        raise HanlineError(
            "EasyOCR keeps the ratio of width to height and pads, and this model was trained on "
            "images stretched to one size: train it with image.keep_ratio=true, or take "
            "format=onnx"
        )


def module_source(recognizer: Recognizer) -> str:
    """Return the source of ``NAME.py``: the stages' own, and the class ``Model``.

    The file needs torch alone. It holds every stage, those of installed packages too.
    """
    stages = {
        name: getattr(recognizer, name)
        for name in ("transformation", "feature_extraction", "sequence_modeling")
    }
    # What the class Model below needs; a dict keeps the order and holds each once.
    imports = dict.fromkeys(("import torch.nn.functional as F", "from torch import Tensor, nn"))
    bodies: dict[str, str] = {}
    for stage in stages.values():
        module = inspect.getmodule(type(stage))
        assert module is not None
        _add_bodies(module, bodies, imports)
    built = "\n".join(f"        self.{name} = {_construction(recognizer, name)}" for name in stages)
    image = recognizer.spec["image"]
    return _MODULE.format(
        version=__version__,
        imports="\n".join(imports),
        bodies="\n\n\n".join(bodies.values()),
        built=built,
        score_layer=recognizer.prediction.score_layer,
        in_channels=recognizer.sequence_modeling.out_channels,
        height=image["height"],
    )


def _add_bodies(module: ModuleType, bodies: dict[str, str], imports: dict[str, Any]) -> None:
    """Add a module's source without imports, after that of the modules that it needs.

    Args:
        module: a stage's, or one below ``hanline.models`` that a stage's imports.
        bodies: by the modules' names.
        imports: those of other packages are added.
    """
    if module.__name__ in bodies:
        return
    source = inspect.getsource(module)
    rest = []
    for statement in ast.parse(source).body:
        needed = str(statement.module) if isinstance(statement, ast.ImportFrom) else ""
        if needed.startswith("hanline.models.") and needed != Stage.__module__:
            _add_bodies(importlib.import_module(needed), bodies, imports)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            if not needed.startswith("hanline."):
                imports[ast.unparse(statement)] = None
        else:
            rest.append(_with_decorators(source, statement))
    bodies[module.__name__] = "\n\n\n".join(rest)


def _with_decorators(source: str, statement: ast.stmt) -> str:
    first = min(
        (decorator.lineno for decorator in getattr(statement, "decorator_list", [])),
        default=statement.lineno,
    )
    return "\n".join(source.splitlines()[first - 1 : statement.end_lineno])


def _construction(recognizer: Recognizer, stage: str) -> str:
    """Return the call that builds a stage, with all its numbers."""
    numbers: dict[str, Any] = dict(recognizer.spec[stage])
    name = numbers.pop("_target_").rpartition(".")[2]
    image = recognizer.spec["image"]
    before = {
        "transformation": {
            "in_channels": image["channels"],
            "image_height": image["height"],
            "image_width": image["width"],
        },
        "feature_extraction": {"in_channels": recognizer.transformation.out_channels},
        "sequence_modeling": {"in_channels": recognizer.feature_extraction.out_channels},
    }[stage]
    return f"{name}({_keywords(before | numbers)})"


def _keywords(arguments: Mapping[str, Any]) -> str:
    # Numbers and lists of numbers: JSON writes them as Python does, but for these words.
    words = {"true": "True", "false": "False", "null": "None"}
    values = {name: json.dumps(value) for name, value in arguments.items()}
    return ", ".join(f"{name}={words.get(value, value)}" for name, value in values.items())


_READER = """    import easyocr, numpy
    from PIL import Image

    reader = easyocr.Reader(
        ["ko"], recog_network="{name}", detector=False, download_enabled=False, quantize=False,
        user_network_directory=".", model_storage_directory=".",
    )
    grey = numpy.asarray(Image.open("IMAGE").convert("L"))
    print(reader.recognize(grey, contrast_ths=0))"""

_MODULE = '''"""A network for EasyOCR, written by Hanline {version} (Apache-2.0)."""

{imports}

# The stages' own names for these.
Stage = nn.Module
HanlineError = ValueError


{bodies}


class Model(nn.Module):
    """Reads lines of text.

    Args:
        num_class: characters, and the blank.
        image_width: in pixels, what the network was trained on.
    """

    def __init__(self, num_class, image_width):
        super().__init__()
        self.image_width = image_width
{built}
        self.prediction = nn.Module()
        self.prediction.{score_layer} = nn.Linear({in_channels}, num_class)

    def forward(self, images, text=None):
        """Images (B, 1, {height}, W) in [-1, 1] -> raw scores (B, T, num_class)."""
        missing = self.image_width - images.shape[-1]
        if missing > 0:
            images = F.pad(images, (0, missing, 0, 0), mode="replicate")
        elif missing < 0:
            # Longer than any line it has seen: squeezed, as when it was trained.
            size = (images.shape[-2], self.image_width)
            images = F.interpolate(
                images, size, mode="bicubic", antialias=True, align_corners=False
            ).clamp(-1, 1)
            # As pixels are whole numbers again after resizing an image.
            images = ((images + 1) * 127.5).round() / 127.5 - 1
        features = self.feature_extraction(self.transformation(images))
        return self.prediction.{score_layer}(self.sequence_modeling(features.contiguous()))
'''
