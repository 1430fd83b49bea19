"""The source of a custom network of EasyOCR, which needs torch alone."""

import ast
import importlib
import inspect
import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from hanline import __version__
from hanline.models.recognizer import Recognizer
from hanline.models.stage import Stage

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
