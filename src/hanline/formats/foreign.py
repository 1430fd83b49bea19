"""What the importers of other projects' weights share: names, charsets, and images."""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.base import Description, ModelFile
from hanline.text.charset import Charset

# Digits, letters, punctuation: the orders in which English models have them, by their number.
_PRINTABLE = {length: string.printable[:length] for length in (36, 62, 94)}


def target(stage: type) -> str:
    """Return the ``_target_`` of a stage's class."""
    return f"{stage.__module__}.{stage.__name__}"


def renamed(state: Mapping[str, Tensor], names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Return tensors under other names: of the patterns that match a name, the first counts.

    Args:
        state: tensors by name.
        names: a pattern of whole names, and what is written in its place; an empty text leaves the
            tensor out.

    Raises:
        KeyError: a name that no pattern matches.
    """
    found = {}
    for name, tensor in state.items():
        for pattern, ours in names:
            if match := re.fullmatch(pattern, name):
                if ours:
                    found[match.expand(ours)] = tensor
                break
        else:
            raise KeyError(name)
    return found


def described(
    file: ModelFile,
    said: Description,
    classes: int,
    image: Mapping[str, Any],
    max_label_length: int,
    path: Path,
) -> ModelFile:
    """Return a file whose stages are known with its charset and the size of its images.

    Args:
        file: with a spec of its four stages, and ``charset`` if the file says it.
        said: what the user says of it.
        classes: characters that the tensors have.
        image: height, width, channels and keep_ratio of its images.
        max_label_length: the most characters in a text.
        path: the file, for messages.

    Raises:
        HanlineError: the charset is missing or of another length; or the user gives stages.
    """
    assert file.spec is not None
    if said.stages is not None:
        raise HanlineError(
            f"model={path}: expected none, since the tensors say the architecture. Leave model= out"
        )
    own = file.spec.get("charset")
    if said.charset is not None and own is not None and said.charset != Charset(own):
        raise HanlineError(
            f"charset=: expected none, since {path} has its own, of {len(own)} characters. Leave "
            "it out"
        )
    characters = said.charset.characters if said.charset else own or _PRINTABLE.get(classes)
    if characters is None or len(characters) != classes:
        given = "none is given" if characters is None else f"the one given has {len(characters)}"
        raise HanlineError(
            f"charset=: expected {classes} characters, as {path} has, but {given}. Give those that "
            "it was trained with, in their order: charset=file charset.path=…"
        )
    sizes = {key: value for key, value in said.image.items() if value is not None}
    spec = file.spec | {
        "charset": characters,
        "image": dict(image) | sizes,
        "max_label_length": said.max_label_length or max_label_length,
    }
    return replace(file, spec=spec)
