"""Weights of deep-text-recognition-benchmark (DTRB), into Hanline and out of it.

DTRB (Baek et al., "What Is Wrong With Scene Text Recognition Model Comparisons? Dataset and Model
Analysis", ICCV 2019) saves ``torch.save(DataParallel(model).state_dict())``: every key begins with
``module.``. The tensors say the architecture and all widths. They do not say the charset, the size
of the images (except for TPS) and the length of the texts. EasyOCR's own networks have the same
names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.base import Description, Format, ModelFile, write_all
from hanline.formats.dtrb.keys import dtrb_state, is_dtrb_state, recognizer_state
from hanline.formats.dtrb.load import (
    image_size_of,
    recognizer_from_dtrb,
    refuse_other_architecture,
)
from hanline.formats.dtrb.save import CHARACTERS, demo_command, refuse_unfit
from hanline.formats.torch_file import checked_tensors, load_weights_file, peek, saved
from hanline.models.recognizer import Recognizer

# The size of DTRB's images in pixels, and the most characters in its texts, by default.
DEFAULT_SIZE, DEFAULT_LENGTH = (32, 100), 25
# The key of a loaded file's extras that has the tensors under DTRB's names.
TENSORS = "dtrb"


@dataclass(frozen=True)
class Dtrb(Format):
    """See the module's docstring."""

    name: ClassVar = "dtrb"
    title: ClassVar = "a checkpoint of deep-text-recognition-benchmark"
    suffixes: ClassVar = (".pth",)

    def matches(self, path: Path) -> bool:
        return is_dtrb_state(peek(path))

    def load(self, path: Path) -> ModelFile:
        return load_tensors(path, self.title, "DTRB")

    def complete(self, file: ModelFile, said: Description, path: Path) -> ModelFile:
        size = image_size_of(file.extras[TENSORS]) or DEFAULT_SIZE
        return describe(file, said, size, False, path)

    def save(
        self,
        path: Path,
        recognizer: Recognizer,
        history: Mapping[str, Any],
        batches: Iterable[Tensor] | None = None,
    ) -> list[Path]:
        refuse_unfit(recognizer.spec)
        characters = recognizer.charset.characters + "\n"
        files = {
            path: saved(dtrb_state(recognizer)),
            path.with_suffix(CHARACTERS): characters.encode(),
        }
        return write_all(files)

    def usage(self, path: Path, spec: Mapping[str, Any]) -> str:
        return f"In a checkout of DTRB:\n\n    {demo_command(path, spec)}"


def load_tensors(path: Path, title: str, owner: str) -> ModelFile:
    """Load a file with DTRB's names.

    Args:
        path: the file.
        title: its format, for messages.
        owner: the project that it is of.

    Raises:
        HanlineError: it is missing, damaged, or has other names.
    """
    content = load_weights_file(path)
    if not is_dtrb_state(content):
        keys = ", ".join(str(key) for key in list(content)[:3]) or "nothing"
        raise HanlineError(
            f"{path}: expected {title}, with tensors FeatureExtraction.ConvNet…, but it has "
            f"{keys} …"
        )
    tensors = checked_tensors(content, path)
    history = {"imported_from": f"{path.name} of {owner}"}
    return ModelFile(None, recognizer_state(tensors), history, {TENSORS: tensors})


def describe(
    file: ModelFile, said: Description, size: tuple[int, int], keep_ratio: bool, path: Path
) -> ModelFile:
    """Return a file of :func:`load_tensors` with its spec.

    Args:
        file: the file's content.
        said: what the user says of it.
        size: height and width of its images, if the user does not say them.
        keep_ratio: the same of ``image.keep_ratio``.
        path: the file, for messages.

    Raises:
        HanlineError: the charset is missing, or something does not fit the tensors.
    """
    tensors = file.extras[TENSORS]
    if said.stages:
        refuse_other_architecture(tensors, said.stages, said.explicit, path)
    defaults = {"height": size[0], "width": size[1], "keep_ratio": keep_ratio}
    image = defaults | {key: value for key, value in said.image.items() if value is not None}
    length = said.max_label_length or DEFAULT_LENGTH
    recognizer = recognizer_from_dtrb(tensors, said.charset, image, length, path)
    return ModelFile(recognizer.spec, dict(recognizer.state_dict()), file.history)
