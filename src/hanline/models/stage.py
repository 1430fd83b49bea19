"""What every stage of a recogniser is; the package's docstring has the shapes."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

# The stages of a recognizer, in the order of the data.
STAGES = ("transformation", "feature_extraction", "sequence_modeling", "prediction")


class Stage(nn.Module):
    """A transformation, a feature extraction, a sequence modeling or a prediction.

    Every stage can be trained and read with. Formats and 8-bit reading ask for more, and refuse a
    stage that lacks it:

    ==================  ==========================================================================
    for                 a stage must
    ==================  ==========================================================================
    ``format=onnx``     have a ``forward`` that ``torch.export`` can trace
    ``format=easyocr``  be in a module that imports nothing of Hanline but ``Stage`` and
                        ``HanlineError``; a prediction must decode CTC with class 0 as the blank,
                        and have a ``score_layer``
    ``precision=int8``  as a transformation have no parameters; as a feature extraction have a
                        ``forward`` that ``torch.fx`` can trace, which uses weights only through
                        modules, and pads convolutions by numbers of zeros; as a prediction have a
                        ``score_layer``
    ==================  ==========================================================================

    Attributes:
        out_channels: the width of what it gives: channels, features, or classes.
        any_width: whether it takes images or features of any width after it was built.
    """

    out_channels: int
    any_width: bool = True

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
        score_layer: the name of its ``nn.Linear`` if that layer alone maps features to scores.
        decoding: how the classes of :meth:`best_classes` become a text, as plain values for readers
            without torch. ``first_character`` is ``special_classes``; ``kind`` a name for people;
            and one of ``blank``, the class between characters, where equal neighbors are one
            character, and ``end``, the class that ends a text.
    """

    class_tensors: tuple[str, ...]
    special_classes: int
    score_layer: str | None = None
    decoding: Mapping[str, Any] | None = None

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

    def best_classes(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, T, D') to the best class of each step and its probability, (B, T).

        The export to ONNX traces this. A prediction with another ``forward`` overrides it.
        """
        probabilities, classes = self(features).float().softmax(dim=2).max(dim=2)
        return classes, probabilities
