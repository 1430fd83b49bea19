"""The list of all formats of model files: those of this package, and those of installed packages.

Everyone who takes a model's file asks here. Nobody else knows which formats there are.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from hydra.core.config_store import ConfigStore
from torch import Tensor

from hanline import formats, plugins
from hanline.errors import HanlineError
from hanline.formats.base import Format, ModelFile, Runnable, write_all
from hanline.models.recognizer import Recognizer


def open_model(path: Path) -> Runnable:
    """Open a model's file to read with it.

    Raises:
        HanlineError: the file is missing, damaged, or must be imported first.
    """
    return format_of(path).open(path)


def load_model(path: Path) -> ModelFile:
    """Load a model's file; its spec is None if the file does not say it.

    Raises:
        HanlineError: the file is missing, damaged, or has no weights to take.
    """
    return format_of(path).load(path)


def save_model(
    format_: Format,
    path: Path,
    recognizer: Recognizer,
    history: Mapping[str, Any],
    batches: Iterable[Tensor] | None = None,
) -> list[Path]:
    """Write a recognizer as :meth:`Format.save` does; make the folder first.

    Raises:
        HanlineError: the format cannot hold it, or a file cannot be written.
    """
    with _writing(path):
        return format_.save(path, recognizer, history, batches)


def save_bytes(path: Path, content: bytes) -> None:
    """Write a file; make the folder first.

    Raises:
        HanlineError: it cannot be written.
    """
    with _writing(path):
        write_all({path: content})


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the folder of a file, and say what to do if there is no place for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise HanlineError(
            f"output={path}: expected a place to write to, but {error.strerror or error}. "
            "Free some space there, or give another output="
        ) from error


def format_of(path: Path) -> Format:
    """Return the format of a model's file.

    If none matches, the format with the file's suffix is returned: its ``load`` raises the error.

    Raises:
        HanlineError: the file does not exist, or no format of this suffix either.
    """
    if not path.is_file():
        raise HanlineError(f"{path}: expected a model's file, but there is none")
    known = [format_class() for format_class in all_formats().values()]
    found = [format_ for format_ in known if format_.matches(path)]
    found = found or [format_ for format_ in known if path.suffix in format_.suffixes]
    if not found:
        titles = ", ".join(f"{format_.title} ({format_.suffixes[0]})" for format_ in known)
        raise HanlineError(f"{path}: expected one of {titles}")
    return found[0]


@cache
def all_formats() -> dict[str, type[Format]]:
    """Return every format by its name: built-in ones first, then those of installed packages.

    Raises:
        HanlineError: a format of an installed package cannot be imported, or is not a format.
    """
    modules = [
        import_module(f"{formats.__name__}.{module.name}")
        for module in iter_modules(formats.__path__)
    ]
    found = [
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Format) and member.__module__ == module.__name__
    ]
    known = {member.name: member for member in found if not inspect.isabstract(member)}
    for name, member in plugins.load_plugins("formats").items():
        if not (inspect.isclass(member) and issubclass(member, Format)):
            raise HanlineError(f"hanline.formats: expected {name} to be a subclass of Format")
        known.setdefault(name, member)
    return known


def register_configs() -> None:
    """Give the group ``format`` a choice for each format of an installed package.

    A yaml of that package in ``format/`` takes precedence, since Hydra asks this store last.
    """
    store = ConfigStore.instance()
    for name in plugins.plugin_names("formats"):
        member = all_formats()[name]
        given: Any = fields(member) if is_dataclass(member) else ()
        options = {option.name: option.default for option in given}
        target = f"{member.__module__}.{member.__qualname__}"
        store.store(name, {"_target_": target, **options}, group="format")
