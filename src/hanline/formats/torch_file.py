"""Files that ``torch.save`` wrote, which may come from anywhere and are only ever read as data."""

import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hanline.errors import HanlineError

_WEIGHTS = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)


def saved(content: Mapping[str, Any]) -> bytes:
    """Return what ``torch.save`` writes.

    torch's own writing to a file that cannot take it ends in a message of its library's inside.
    """
    buffer = BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


def peek(path: Path) -> dict[str, Any]:
    """Return the content of a file; an empty dict if it is not a file of :func:`load_weights_file`.

    Tensors are not read, if the file's format permits it. Nothing is checked.
    """
    try:
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception:  # whatever a broken file has torch raise
        return {}
    return content if isinstance(content, dict) else {}


def load_weights_file(path: Path) -> dict[str, Any]:
    """Load a file that torch saved: tensors and plain values, nothing else.

    Raises:
        HanlineError: the file is missing, damaged, or holds anything that would have to be
            executed to be loaded.
    """
    if not path.is_file():
        raise HanlineError(f"{path}: expected a model's file, but there is none")
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch advises to load everything all the same; only the name in its message is of use.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise HanlineError(
            f"{path} is refused: it is damaged, or holds more than weights and plain values, which "
            f"would have to be executed to be loaded{f': {named[1]}' if named else ''}"
        ) from error
    except Exception as error:
        # A broken file may have torch raise anything: no list of these is ever complete.
        reason = str(error) or type(error).__name__
        raise HanlineError(f"{path} is damaged, or was not saved by torch: {reason}") from error
    if not isinstance(content, dict):
        raise HanlineError(f"{path} holds a {type(content).__name__}, not the weights of a model")
    return content


def checked_tensors(tensors: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return a file's tensors, if a model can be made of them.

    Raises:
        HanlineError: something is not a plain tensor, a tensor is larger than its part of the file,
            or a number in it is not finite.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise HanlineError(
                f"{path} holds {name!r}, a {type(tensor).__name__}, where weights are expected"
            )
        if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in _WEIGHTS:
            kind = "without content" if tensor.is_meta else f"{tensor.layout}, {tensor.dtype}"
            raise HanlineError(f"{path} holds {name!r}, a tensor {kind}: expected plain numbers")
        if not tensor.dim() and str(name).endswith(("weight", "bias")):
            raise HanlineError(f"{path} holds {name!r}, a single number: expected a list of them")
        # A tensor may repeat a few bytes into any size. Check before anything is computed with it.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise HanlineError(
                f"{name} in {path} claims {list(tensor.shape)}, which is more than the file holds"
            )
        if not bool(tensor.isfinite().all()):
            raise HanlineError(
                f"{name} in {path} holds numbers that are not finite (NaN or infinite): a training "
                "that diverged leaves such weights. Take a checkpoint from before"
            )
    return {str(name): tensor for name, tensor in tensors.items()}


def _check_archive(path: Path) -> None:
    """Refuse an archive with a wrong checksum, or one that unpacks to more than its own size.

    torch compresses nothing, and does not look at the checksums.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            broken = None if unpacked > path.stat().st_size else _broken_entry(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # Older files are no archives, and damaged ones will not load.
    if unpacked > path.stat().st_size:
        raise HanlineError(
            f"{path} is refused: it has {path.stat().st_size:,} bytes and would unpack to "
            f"{unpacked:,}, while files that torch saves are not compressed"
        )
    if broken:
        raise HanlineError(f"{path} is damaged: the checksum of {broken} in it is wrong")


def _broken_entry(archive: zipfile.ZipFile) -> str | None:
    try:
        return archive.testzip()
    except (EOFError, RuntimeError, zlib.error) as error:
        # An entry that ends too early, is encrypted, or is not compressed data.
        return f"an entry ({str(error) or 'it ends too early'})"
