"""Export of a recognizer as a graph that onnxruntime runs without torch."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hanline.configs import STAGES
from hanline.data.images import ImageFormat
from hanline.models.recognizer import Recognizer

OUTPUTS = ("classes", "probabilities")
# GridSample, which TPS needs, is as torch has it since 20.
OPSET = 20
# What the exporter and its parts log of themselves.
CHATTY = ("torch.onnx", "torch.__trace", "onnxscript", "onnx_ir")


def exported(recognizer: Recognizer) -> Any:
    """Return a recognizer as an ``onnx.ModelProto``, without metadata.

    The batch is free; so is the width, if the recognizer's stages take any.
    """
    free_width = all(getattr(recognizer, stage).any_width for stage in STAGES)
    model = trace(Graph(recognizer), recognizer.spec["image"], free_width, OUTPUTS)
    del model.metadata_props[:]
    return model


class Graph(nn.Module):
    """Images (B, C, H, W), uint8 → classes and probabilities, (B, T) each."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.recognizer.prediction.best_classes(self.recognizer.features(images))


def trace(
    graph: nn.Module, image: Mapping[str, Any], free_width: bool, outputs: Sequence[str]
) -> Any:
    """Return the ``onnx.ModelProto`` of a module that takes images (B, C, H, W), uint8.

    Args:
        graph: the module.
        image: the recognizer's format, as :class:`hanline.data.images.ImageFormat` takes it.
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
    """Copy a module, with ONNX's LSTM in place of each usual one."""
    copied = copy.deepcopy(graph)
    for name, module in list(copied.named_modules()):
        if isinstance(module, nn.LSTM) and _is_usual(module):
            copied.set_submodule(name, _OnnxLSTM(module))
    return copied


def _is_usual(lstm: nn.LSTM) -> bool:
    """Return whether it is one layer of two directions, batch first, with biases and no more."""
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about its own parts."""
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
