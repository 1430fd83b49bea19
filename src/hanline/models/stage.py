"""The contract of a recognizer's stages. The package's docstring has their shapes.

A stage is one class in one file and one yaml in ``conf/model/<kind>/``. The yaml has the class as
``_target_`` and the numbers that the class takes. The width of the stage before is handed in.

Some users of a recognizer ask more of a stage than ``forward``:

* initialization calls ``reset_parameters()`` of each module that has it, after it has filled
  convolutions and linear layers;
* ``forward`` must not depend on a module outside the stage, and must read no global state: the
  export to ONNX and reading in 8 bits trace it;
* if the stage shall be exported to EasyOCR, its module may import torch, the standard library and
  ``hanline.models`` only.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from hanline.models.guidance import Guidance


class Stage(nn.Module):
    """A transformation, a feature extraction, a sequence modeling or a prediction.

    Attributes:
        out_channels: the width of the output: channels, features, or classes.
    """

    out_channels: int

    def forward_all(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the output of ``forward`` for each of several inputs, whose shapes may differ.

        A stage that is faster with all of them at once overrides this method.
        """
        return [self(batch) for batch in inputs]


class Prediction(Stage):
    """The last stage. It owns its classes, its loss and its decoding.

    Attributes:
        class_tensors: the names of the parameters whose rows are classes. Fine-tuning carries
            those rows over by character.
        special_classes: the number of classes before the charset's first character.
    """

    class_tensors: tuple[str, ...]
    special_classes: int

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D') to raw scores (B, T, classes)."""

    @abstractmethod
    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return each label's loss, summed over its parts, and the number of parts; both (B,).

        The sum of all losses over the sum of all numbers is the mean loss, however the labels are
        spread over batches.
        """

    def loss(self, features: Tensor, labels: list[str], guidance: Guidance | None = None) -> Tensor:
        """Return the mean loss of a batch of labels, a scalar.

        A prediction that can use ``guidance`` overrides this method. The others ignore it.
        """
        losses, counts = self.losses(features, labels)
        return losses.sum() / counts.sum()

    def count_unalignable(self, label_lengths: Mapping[tuple[int, int], int], steps: int) -> int:
        """Count the labels that cannot be aligned with ``steps`` time steps.

        Args:
            label_lengths: the label count per (length, number of immediate repeats).
            steps: T.
        """
        return 0

    @abstractmethod
    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Decode scores (B, T, classes) to B texts and their confidences, between 0 and 1."""

    def read(self, features: Tensor) -> tuple[list[str], list[float]]:
        """Read features (B, T, D'): return B texts and their confidences, between 0 and 1."""
        return self.decode(self(features))
