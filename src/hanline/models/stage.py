"""What every stage of a recogniser is; the package's docstring has the shapes."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Stage(nn.Module):
    """A transformation, a feature extraction, a sequence modeling or a prediction.

    Attributes:
        out_channels: the width of what it gives: channels, features, or classes.
    """

    out_channels: int

    def forward_all(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """What ``forward`` gives for each of several inputs, whose shapes may differ.

        A stage that is faster with all of them at once has its own way.
        """
        return [self(some) for some in inputs]


class Prediction(Stage):
    """The last stage: owns its classes, its loss and its decoding, so that no one asks which it is.

    Attributes:
        class_tensors: the names of its parameters whose rows are classes. Fine-tuning carries those
            rows over by character.
        special_classes: the row of the charset's first character; the others follow.
    """

    class_tensors: tuple[str, ...]
    special_classes: int

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Features (B, T, D') → raw scores (B, T, classes)."""

    @abstractmethod
    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Each label's loss, a sum over its parts, and how many those are; both (B,).

        All labels' losses over all labels' parts are the mean loss, whatever batches they came in.
        """

    def loss(self, features: Tensor, labels: list[str]) -> Tensor:
        """The mean loss of a batch of labels, a scalar."""
        losses, counts = self.losses(features, labels)
        return losses.sum() / counts.sum()

    def count_unalignable(self, label_lengths: Mapping[tuple[int, int], int], steps: int) -> int:
        """How many labels features with so many steps (T) are too few for.

        Args:
            label_lengths: label count per (length, number of immediate repeats).
            steps: T.
        """
        return 0

    @abstractmethod
    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Scores (B, T, classes) → B texts and their confidences, between 0 and 1."""

    def read(self, features: Tensor) -> tuple[list[str], list[float]]:
        """Features (B, T, D') → B texts and their confidences, between 0 and 1."""
        return self.decode(self(features))
