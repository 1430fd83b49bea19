"""EasyOCR's networks: its own, into Hanline; Hanline's, as custom networks of EasyOCR.

EasyOCR 1.7.2 (Apache-2.0) reads a custom network from three files of one name: ``NAME.yaml`` (the
input's height, the characters, the keyword arguments of the model), ``NAME.py`` (a class ``Model``)
and ``NAME.pth`` (its state dict, every key behind ``module.``). Its own networks have DTRB's names:
those of the second generation are None-VGG-BiLSTM-CTC, those of the first None-ResNet-BiLSTM-CTC.

In the ``NAME.yaml`` that Hanline writes, the key ``hanline`` has the record of the model, so that
Hanline can load it again. EasyOCR ignores it.
"""

import importlib.util
import json
import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import yaml
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats import record
from hanline.formats.base import Description, Format, ModelFile, write_all
from hanline.formats.dtrb import describe, load_tensors
from hanline.formats.easyocr_module import module_source
from hanline.formats.torch_file import checked_tensors, load_weights_file, saved
from hanline.models.recognizer import Recognizer
from hanline.text.charset import Charset

# EasyOCR's own height; a file of it does not say. It pads to a multiple of the height, and its
# networks were trained on lines of this width. In pixels.
IMAGE_SIZE = (64, 600)
_KEY = "hanline"
_PREFIX = "module."
# Levels of a NAME.yaml; EasyOCR's have 2.
_DEEPEST = 20
_READER = """    import easyocr, numpy
    from PIL import Image

    reader = easyocr.Reader(
        ["ko"], recog_network="{name}", detector=False, download_enabled=False, quantize=False,
        user_network_directory=".", model_storage_directory=".",
    )
    grey = numpy.asarray(Image.open("IMAGE").convert("L"))
    print(reader.recognize(grey, contrast_ths=0))"""


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
            text = config.read_text(encoding="utf-8")
            _check_depth(text)
            content = yaml.safe_load(text)
            return json.loads(content[_KEY]) if _KEY in content else None
        except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise HanlineError(f"{config} is damaged: {reason}") from error


def _check_depth(text: str) -> None:
    """Refuse YAML of many levels, of which its parser takes minutes for some thousands.

    Raises:
        ValueError: it has more than 20.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"expected at most {_DEEPEST} levels")


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
