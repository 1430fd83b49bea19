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

# Digits, letters, punctuation: the orders in which English models have them, by their number.
_PRINTABLE = {length: string.printable[:length] for length in (36, 62, 94)}
# What a file's extras have: the spec as far as it is known, how many characters the tensors have,
# and whether the file itself says which.
_KNOWN, _CLASSES, _OWN = "known", "classes", "own"


def target(stage: type) -> str:
    """Return the ``_target_`` of a stage's class."""
    return f"{stage.__module__}.{stage.__name__}"


def renamed(state: Mapping[str, Tensor], names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Return tensors under other names: of the patterns that match a name, the first counts.

    Args:
        state: tensors by name.
        names: a pattern of whole names, and the text in its place; an empty text leaves the
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


def model_file(
    stages: Mapping[str, Any],
    state: Mapping[str, Tensor],
    history: Mapping[str, Any],
    classes: int,
    charset: str | None,
    image: Mapping[str, Any],
    max_label_length: int,
) -> ModelFile:
    """Return a file whose stages are known; with a spec, if its charset is known, too.

    Args:
        stages: the configs of the four stages.
        state: the tensors, by Hanline's names.
        history: where they come from.
        classes: characters that the tensors have.
        charset: the characters that the file says, None if it does not. As many as English models
            have are those.
        image: height, width, channels and keep_ratio of its images.
        max_label_length: the most characters in a text.
    """
    characters = charset or _PRINTABLE.get(classes)
    known = {
        **stages,
        "charset": characters,
        "image": dict(image),
        "max_label_length": max_label_length,
    }
    spec = known if characters is not None and len(characters) == classes else None
    extras = {_KNOWN: known, _CLASSES: classes, _OWN: charset is not None}
    return ModelFile(spec, dict(state), dict(history), extras)


def described(file: ModelFile, said: Description, path: Path) -> ModelFile:
    """Return a file of :func:`model_file` with its spec.

    Args:
        file: the file.
        said: what the user says of it.
        path: the file, for messages.

    Raises:
        HanlineError: the charset is missing or of another length; or the user gives stages.
    """
    known, classes = dict(file.extras[_KNOWN]), file.extras[_CLASSES]
    if said.stages is not None:
        raise HanlineError(
            f"model={path}: expected none, since the tensors say the architecture. Leave model= out"
        )
    characters = known["charset"]
    if said.charset is not None:
        if file.extras[_OWN] and said.charset.characters != characters:
            raise HanlineError(
                f"charset=: expected none, since {path} has its own, of {len(characters)} "
                "characters. Leave it out"
            )
        characters = said.charset.characters
    if characters is None or len(characters) != classes:
        given = "none is given" if characters is None else f"the one given has {len(characters)}"
        raise HanlineError(
            f"charset=: expected {classes} characters, as {path} has, but {given}. Give those that "
            "it was trained with, in their order: charset=file charset.path=…"
        )
    sizes = {key: value for key, value in said.image.items() if value is not None}
    known |= {"charset": characters, "image": known["image"] | sizes}
    known["max_label_length"] = said.max_label_length or known["max_label_length"]
    return replace(file, spec=known, extras={})
