"""The contract of a model file's format. Read this file first.

A format is one file (or one folder) of this package with a subclass of :class:`Format`, and one
yaml, ``conf/format/<name>.yaml``, with that class as ``_target_`` and its options.
:mod:`hanline.formats.registry` finds it there. A format of another installed package has an entry
point in the group ``hanline.formats``, which names its class; the yaml may then be left out.

=============================  ====================================================
who                            uses
=============================  ====================================================
``hanline export``             ``load`` of the checkpoint, ``save``, ``usage``
``hanline import``             ``load``, ``complete``
``finetune_from``              ``load``
``hanline predict, evaluate``  ``open``
=============================  ====================================================
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from hanline.errors import HanlineError
from hanline.formats.record import build
from hanline.models.recognizer import Recognizer
from hanline.system.files import replacing
from hanline.text.charset import Charset


class Runnable(Protocol):
    """A model that reads images: a recognizer in torch, or a file in a runtime of its own.

    Attributes:
        spec: at least ``charset``, ``image`` and ``max_label_length`` of :attr:`Recognizer.spec`.
    """

    spec: dict[str, Any]

    def best_device(self) -> torch.device:
        """Return the fastest device of this machine that the model can read on."""

    def to(self, device: torch.device, /) -> "Runnable":
        """Return the model on a device.

        Raises:
            HanlineError: its runtime cannot use the device.
        """

    def eval(self) -> "Runnable":
        """Return the model, ready to read."""

    def read_all(self, batches: Sequence[Tensor]) -> list[tuple[list[str], list[float]]]:
        """Read batches (B, C, H, W), uint8, each of its own width.

        Returns:
            For each batch its B texts and their confidences, between 0 and 1.
        """


@dataclass(frozen=True)
class ModelFile:
    """The content of a model's file.

    Attributes:
        spec: :attr:`Recognizer.spec`; None if the file does not say it.
        state: the tensors by name, as in ``Recognizer.state_dict()``.
        history: where the weights come from, as plain values: ``version`` of Hanline, ``steps``,
            ``metrics`` (of the validation, in percent), ``training`` (the run's data settings),
            ``imported_from``. Any of them may be missing.
        extras: what else the format has read: ``ranges``, ``confidence_scale`` and ``delay``, as
            the attributes of :class:`Recognizer`.
    """

    spec: dict[str, Any] | None
    state: dict[str, Tensor]
    history: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What the user says of a model whose file does not say it; None if it is not said.

    Attributes:
        charset: the characters, in the order of the file's classes.
        image: ``height``, ``width`` and ``keep_ratio``.
        max_label_length: the most characters in a text.
        stages: the configs of the four stages.
        explicit: dotted keys of ``stages`` that the user gave; the others are defaults.
    """

    charset: Charset | None = None
    image: Mapping[str, Any] = field(default_factory=dict)
    max_label_length: int | None = None
    stages: Mapping[str, Any] | None = None
    explicit: frozenset[str] = frozenset()

    def is_empty(self) -> bool:
        """Return whether nothing is said."""
        said = [self.charset, self.max_label_length, self.stages, *self.image.values()]
        return all(value is None for value in said)


class Format(ABC):
    """A format of model files. A subclass is a dataclass of its options, all with defaults.

    Attributes:
        name: the name of its yaml.
        title: a noun phrase for model cards, such as ``an ONNX model``.
        suffixes: of its files. The first is written.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def matches(self, path: Path) -> bool:
        """Return whether a file that exists is of this format. Raise nothing, whatever it holds."""
        return path.suffix in self.suffixes

    @abstractmethod
    def load(self, path: Path) -> ModelFile:
        """Load a file.

        Raises:
            HanlineError: it is missing, damaged, of another format, or has no weights to take.
        """

    def complete(self, file: ModelFile, said: Description, path: Path) -> ModelFile:
        """Return a loaded file with its spec.

        Override this method if the files do not say their spec.

        Args:
            file: a result of :meth:`load`.
            said: what the user says of it.
            path: the file, for messages.

        Raises:
            HanlineError: the user says too little, or something that does not fit the file.
        """
        if not said.is_empty():
            raise HanlineError(
                f"input={path}: expected no charset, model, image or max_label_length beside it, "
                "since the file has its own. Leave them out"
            )
        return file

    def rewritten(self, path: Path, said: Description) -> bytes | None:
        """Return a file to read with that has all of what the user says, for ``hanline import``.

        Override this method if a format's weights cannot become those of a recognizer, but its
        files can be read with. None: they can.

        Raises:
            HanlineError: the file is damaged, or what the user says does not fit it.
        """
        return None

    def open(self, path: Path) -> Runnable:
        """Open a file to read with it.

        Raises:
            HanlineError: as :meth:`load`, or it does not say its spec.
        """
        file = self.load(path)
        if file.spec is None:
            raise HanlineError(
                f"{path}: expected a file that says its charset and the size of its images, but "
                f"{self.title} does not. Make a checkpoint of it: "
                f"hanline import {self.name} {path} charset=…"
            )
        return build(file.spec, file.state, file.extras, path)

    def save(
        self,
        path: Path,
        recognizer: Recognizer,
        history: Mapping[str, Any],
        batches: Iterable[Tensor] | None = None,
    ) -> list[Path]:
        """Write a recognizer. Write nothing if it fails; :func:`write_all` sees to that.

        Args:
            path: the file, in a folder that exists. Other files have its name and other suffixes.
            recognizer: ready to read, on the CPU.
            history: see :class:`ModelFile`.
            batches: images (B, C, H, W), uint8, for formats that measure; None if there are none.

        Returns:
            The files, ``path`` first.

        Raises:
            HanlineError: the format cannot hold this recognizer.
            OSError: a file cannot be written.
        """
        raise HanlineError(f"format={self.name}: expected a format that can be written")

    def save_measured(self, path: Path, output: Path, entries: Mapping[str, Any]) -> list[Path]:
        """Write a file again with other measurements in its record; all else stays.

        Override this method if the format has a record.

        Args:
            path: the file.
            output: the file to write, perhaps the same.
            entries: of :func:`hanline.formats.record.measured`.

        Returns:
            The files, ``output`` first.

        Raises:
            HanlineError: the format keeps no measurements, or the file is damaged.
            OSError: a file cannot be written.
        """
        raise HanlineError(
            f"checkpoint={path}: expected a checkpoint, or a file of hanline export "
            f"format=safetensors, but it is {self.title}. Calibrate the checkpoint that it was "
            "made of, and export that again"
        )

    def usage(self, path: Path, spec: Mapping[str, Any]) -> str:
        """Return how to read with a file that :meth:`save` wrote, as Markdown."""
        return f"To read with it:\n\n    hanline predict checkpoint={path} input=IMAGES"


def write_all(contents: Mapping[Path, bytes]) -> list[Path]:
    """Write several files; all of them appear, or none.

    Returns:
        Their paths.

    Raises:
        OSError: one cannot be written.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            stack.enter_context(replacing(path)).write_bytes(content)
    return list(contents)
