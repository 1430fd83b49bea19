"""ONNX: a recogniser as a graph that onnxruntime runs without torch, and reading with such a file.

The graph takes ``images``, uint8 (B, C, H, W), and gives what decoding needs and no more:
``classes``, int64 (B, T), the best class of every step, and ``probabilities``, float32 (B, T), how
sure it was. What else a reader must know stands in the file's metadata, as JSON under ``hanline``.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hanline import __version__
from hanline.data.images import ImageFormat
from hanline.errors import HanlineError
from hanline.models.prediction.attention import END, GO, AttentionPrediction
from hanline.models.prediction.ctc import CTCPrediction
from hanline.models.prediction.ctc_loss import BLANK
from hanline.models.recognizer import Recognizer
from hanline.models.transformation.none import NoTransformation

SUFFIX = ".onnx"
METADATA = "hanline"
OUTPUTS = ("classes", "probabilities")
# GridSample, which TPS needs, is as torch has it since 20.
OPSET = 20
# What the exporter and its parts log of themselves.
CHATTY = ("torch.onnx", "torch.__trace", "onnxscript", "onnx_ir")


def write_onnx(path: Path, recognizer: Recognizer, history: Mapping[str, Any]) -> None:
    """Write a recogniser as an ONNX model with a free batch, and a free width where it can.

    Args:
        path: the file; it appears whole or not at all.
        recognizer: what is written.
        history: where the weights come from, as plain values.

    Raises:
        HanlineError: a package is missing, or the model's prediction has no graph here.
    """
    _require("onnx", "onnxscript")
    free_width = isinstance(recognizer.transformation, NoTransformation)
    model = trace(Graph(recognizer), recognizer.spec["image"], free_width, OUTPUTS)
    del model.metadata_props[:]
    record = metadata(recognizer, history)
    for key, value in ((METADATA, json.dumps(record, ensure_ascii=False)), ("name", path.stem)):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    aside = path.with_name(path.name + ".partial")
    aside.write_bytes(model.SerializeToString())
    aside.replace(path)


def trace(
    graph: nn.Module, image: Mapping[str, Any], free_width: bool, outputs: Sequence[str]
) -> Any:
    """The ONNX model (an ``onnx.ModelProto``) of a module that takes images (B, C, H, W), uint8.

    Args:
        graph: the module.
        image: the recogniser's format, as :class:`hanline.data.images.ImageFormat` takes it.
        free_width: whether images of another width can be given, too.
        outputs: the names of what the module returns.
    """
    # Two images: a batch of one would be taken for a constant.
    size = (2, image["channels"], image["height"], ImageFormat(**image).nominal_width)
    example = torch.zeros(size, dtype=torch.uint8)
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if free_width:
        free[3] = torch.export.Dim.DYNAMIC
        graph = _with_onnx_lstms(graph)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            graph.eval(),
            (example,),
            dynamic_shapes={"images": free},
            # Quicker without; but then the length of the batch, which TPS asks for, is a constant.
            strict=not free_width,
        )
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    if free_width:
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    return model


def _with_onnx_lstms(graph: nn.Module) -> nn.Module:
    """A copy of a module whose LSTMs are ONNX's, as far as they are such as there are here."""
    copied = copy.deepcopy(graph)
    for name, module in list(copied.named_modules()):
        if isinstance(module, nn.LSTM) and _is_usual(module):
            copied.set_submodule(name, _OnnxLSTM(module))
    return copied


def _is_usual(lstm: nn.LSTM) -> bool:
    """Whether it is one layer of two directions, the batch first, with biases and no more."""
    numbers = (lstm.num_layers, lstm.bidirectional, lstm.batch_first, lstm.bias, lstm.proj_size)
    return numbers == (1, True, True, True, 0)


class _OnnxLSTM(nn.Module):
    """ONNX's operator in place of a usual LSTM, to be exported and not to be run.

    What torch's exporter makes of ``nn.LSTM`` takes one number of steps alone in older versions,
    as in 2.11.
    """

    steps: Tensor
    states: Tensor
    biases: Tensor

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        # ONNX has the gates in another order: input, output, forget, cell; not input, forget, ….
        of_each = [
            [torch.cat([part.detach().chunk(4)[i] for i in (0, 3, 1, 2)]) for part in direction]
            for direction in lstm.all_weights
        ]
        steps, states, *biases = (torch.stack(parts) for parts in zip(*of_each, strict=True))
        self.register_buffer("steps", steps)
        self.register_buffer("states", states)
        self.register_buffer("biases", torch.cat(biases, dim=1))

    def forward(self, features: Tensor) -> tuple[Tensor, None]:
        """Features (B, T, D) → states (B, T, 2 · hidden size)."""
        batch, steps, _ = features.shape
        last = (2, batch, self.hidden_size)
        states = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (features.transpose(0, 1), self.steps, self.states, self.biases),
            {"hidden_size": self.hidden_size, "direction": "bidirectional"},
            dtypes=[features.dtype] * 3,
            shapes=[(steps, *last), last, last],
        )[0]
        return states.permute(2, 0, 1, 3).flatten(2), None


def metadata(recognizer: Recognizer, history: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader must know besides the graph."""
    return {
        "version": __version__,
        "charset": recognizer.spec["charset"],
        "image": recognizer.spec["image"],
        "max_label_length": recognizer.spec["max_label_length"],
        "decoding": _head(recognizer).decoding,
        "recognizer": recognizer.spec,
        "history": dict(history),
    }


class Graph(nn.Module):
    """What is exported: images (B, C, H, W), uint8 → classes and probabilities, (B, T) each."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.head = _head(recognizer)(recognizer.prediction)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        classes, probabilities = self.head(self.recognizer.features(images))
        return classes, probabilities


class CTCGraph(nn.Module):
    """CTC's steps: features (B, T, D') → classes and probabilities (B, T)."""

    decoding = {
        "kind": "ctc",
        "blank": BLANK,
        "special_classes": CTCPrediction.special_classes,
    }

    def __init__(self, prediction: CTCPrediction) -> None:
        super().__init__()
        self.prediction = prediction

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        probabilities, classes = self.prediction(features).float().softmax(dim=2).max(dim=2)
        return classes, probabilities


class AttentionGraph(nn.Module):
    """The decoder's steps, in a loop that ends when every text has: features (B, T, D') → classes
    and probabilities (B, max_label_length + 1), END and 1 in the steps that were not taken."""

    decoding = {
        "kind": "attention",
        "end": END,
        "special_classes": AttentionPrediction.special_classes,
    }

    def __init__(self, prediction: AttentionPrediction) -> None:
        super().__init__()
        self.prediction = prediction

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.prediction
        steps, batch = prediction.steps, features.shape[0]
        keys = prediction.cell.key(features)
        places = torch.arange(steps)

        def going(step: Tensor, ended: Tensor, *rest: Tensor) -> Tensor:
            return (step < steps) & ~ended.all()

        def take_step(
            step: Tensor,
            ended: Tensor,
            characters: Tensor,
            hidden: Tensor,
            cell: Tensor,
            classes: Tensor,
            probabilities: Tensor,
        ) -> tuple[Tensor, ...]:
            embedded = prediction.cell.character(characters)
            hidden, cell = prediction.cell(embedded, features, keys, (hidden, cell))
            sure, characters = prediction.generator(hidden).softmax(dim=1).max(dim=1)
            here = places == step
            classes = torch.where(here, characters.unsqueeze(1), classes)
            probabilities = torch.where(here, sure.unsqueeze(1), probabilities)
            ended = ended | (characters == END)
            return step + 1, ended, characters, hidden, cell, classes, probabilities

        zeros = features.new_zeros(batch, prediction.cell.query.in_features)
        outcome = torch.while_loop(
            going,
            take_step,
            (
                torch.zeros((), dtype=torch.int64),
                torch.zeros(batch, dtype=torch.bool),
                torch.full((batch,), GO),
                zeros,
                zeros.clone(),
                torch.full((batch, steps), END),
                torch.ones(batch, steps),
            ),
        )
        return outcome[5], outcome[6]


GRAPHS: dict[type, Any] = {CTCPrediction: CTCGraph, AttentionPrediction: AttentionGraph}


class OnnxRecognizer:
    """Reads images with onnxruntime; made as :class:`hanline.models.recognizer.Recognizer` is used.

    Args:
        path: a file of :func:`write_onnx`.

    Attributes:
        spec: ``charset``, ``image`` and ``max_label_length`` of the recogniser that was exported.

    Raises:
        HanlineError: the file is missing, damaged or not Hanline's, or onnxruntime is missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise HanlineError(f"there is no model {path}")
        self.path = path
        self._session = _session(path, ["CPUExecutionProvider"])
        self.spec = _read_metadata(self._session, path)
        self._decoding = self.spec["decoding"]
        self._characters: str = self.spec["charset"]

    @staticmethod
    def best_device() -> torch.device:
        """A GPU if this onnxruntime can use one, else the processor."""
        gpu = "CUDAExecutionProvider" in _runtime().get_available_providers()
        return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")

    def to(self, device: torch.device) -> "OnnxRecognizer":
        """Read on a device from now on: onnxruntime has providers for some.

        Raises:
            HanlineError: the onnxruntime that is installed has none for it.
        """
        if device.type == "cpu":
            return self
        runtime = _runtime()
        if (
            device.type != "cuda"
            or "CUDAExecutionProvider" not in runtime.get_available_providers()
        ):
            raise HanlineError(
                f"the onnxruntime here cannot read on {device}: device=cpu, or onnxruntime-gpu in "
                "its place"
            )
        options = {"device_id": device.index or 0}
        self._session = _session(
            self.path, [("CUDAExecutionProvider", options), "CPUExecutionProvider"]
        )
        return self

    def read_all(self, batches: Sequence[Tensor]) -> list[tuple[list[str], list[float]]]:
        """Batches (B, C, H, W), each of its own width → what :meth:`read` gives for each."""
        return [self.read(images) for images in batches]

    def read(self, images: Tensor) -> tuple[list[str], list[float]]:
        """Images, uint8 (B, C, H, W) → B texts and their confidences, between 0 and 1."""
        try:
            classes, probabilities = self._session.run(None, {"images": images.cpu().numpy()})
        except Exception as error:
            # onnxruntime's own errors have no common class but this.
            raise HanlineError(f"{self.path} cannot read these images: {error}") from error
        decode = DECODE[self._decoding["kind"]]
        return decode(classes, probabilities, self._decoding, self._characters)


def decode_ctc(
    classes: np.ndarray, probabilities: np.ndarray, decoding: Mapping[str, Any], characters: str
) -> tuple[list[str], list[float]]:
    """Each character once where it starts: classes and probabilities (B, T) → B texts and the
    products of all their steps' probabilities."""
    starts = classes != decoding["blank"]
    starts[:, 1:] &= classes[:, 1:] != classes[:, :-1]
    texts = [
        "".join(characters[c - decoding["special_classes"]] for c in line[start])
        for line, start in zip(classes, starts, strict=True)
    ]
    return texts, probabilities.prod(axis=1).tolist()


def decode_attention(
    classes: np.ndarray, probabilities: np.ndarray, decoding: Mapping[str, Any], characters: str
) -> tuple[list[str], list[float]]:
    """Up to the end: classes and probabilities (B, steps) → B texts and the products of their
    characters' probabilities."""
    going = (classes == decoding["end"]).cumsum(axis=1) == 0
    # The last step is there to end a text, not to lengthen it.
    going[:, -1] = False
    first = decoding["special_classes"]
    texts = [
        "".join(characters[c - first] for c in line[keep] if c >= first)
        for line, keep in zip(classes, going, strict=True)
    ]
    confidences = np.where(going, probabilities, 1.0).prod(axis=1)
    # A text that ends at once has no character to be sure of.
    return texts, np.where(going[:, 0], confidences, 0.0).tolist()


DECODE = {"ctc": decode_ctc, "attention": decode_attention}


def _head(recognizer: Recognizer) -> Any:
    head = GRAPHS.get(type(recognizer.prediction))
    if head is None:
        raise HanlineError(
            f"there is no ONNX graph for the prediction {type(recognizer.prediction).__name__}: "
            f"write one beside those in {__name__}"
        )
    return head


def _read_metadata(session: Any, path: Path) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise HanlineError(
            f"{path} does not say what it reads: it was not written by hanline export format=onnx"
        )
    try:
        record = json.loads(text)
        ImageFormat(**record["image"])
        known = isinstance(record["charset"], str) and record["decoding"]["kind"] in DECODE
    except (ValueError, KeyError, TypeError) as error:
        raise HanlineError(f"the metadata of {path} is damaged: {error!r}") from error
    if not known:
        raise HanlineError(
            f"{path} was written by Hanline {record.get('version')}, whose decoding this version "
            "does not know"
        )
    return dict(record)


def _session(path: Path, providers: list[Any]) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        # onnxruntime's own errors have no common class but this.
        reason = str(error).splitlines()[0]
        raise HanlineError(f"{path} is damaged, or no ONNX model: {reason}") from error


def _runtime() -> Any:
    _require("onnxruntime")
    import onnxruntime

    return onnxruntime


def _require(*packages: str) -> None:
    import importlib.util

    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise HanlineError(f'ONNX needs {" and ".join(missing)}: pip install ".[onnx]"')


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of its own parts."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
