"""The contract of a recognizer's stages. The package's docstring has their shapes.

A stage is one class in one file and one yaml in ``conf/model/<kind>/``. The yaml has the class as
``_target_`` and the numbers that the class takes. The width of the stage before is handed in.

Some users of a recognizer ask more of a stage than ``forward``:

* initialization calls ``reset_parameters()`` of each module that has it, after it has filled
  convolutions and linear layers;
* ``forward`` must not depend on a module outside the stage, and must read no global state: the
  export to ONNX and reading in 8 bits trace it;
* if the stage is to be exported to EasyOCR, its module may import torch, the standard library and
  ``hanline.models`` only.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.guidance import Positions

if TYPE_CHECKING:
    from hanline.models.beam import Hypothesis, Prior


class Stage(nn.Module):
    """A transformation, a feature extraction, a sequence modeling or a prediction.

    Every stage can be trained and read with. Formats and 8-bit reading ask for more, and refuse a
    stage that lacks it:

    ==================  ==========================================================================
    for                 a stage must
    ==================  ==========================================================================
    ``format=onnx``     have a ``forward`` that ``torch.export`` can trace
    ``format=easyocr``  be in a module that imports nothing of Hanline but ``HanlineError`` and
                        ``hanline.models``; a prediction must decode CTC with class 0 as
                        the blank, and have a ``score_layer``
    ``precision=int8``  as a transformation have no parameters; as a feature extraction have a
                        ``forward`` that ``torch.fx`` can trace, which uses weights only through
                        modules, and pads convolutions by numbers of zeros; as a prediction have a
                        ``score_layer``
    ``parts=true``      as a transformation that moves columns have ``source_columns``; as a
                        prediction have ``read_letters``
    ``decoding=beam``   as a prediction have ``search``
    ==================  ==========================================================================

    Attributes:
        out_channels: the width of the output: channels, features, or classes.
        any_width: whether it takes images or features of any width after it was built.
        along_line: whether the steps that a feature extraction gives follow one another along the
            line. Otherwise there is one for each place of the image, row by row.
    """

    out_channels: int
    any_width: bool = True
    along_line: bool = True

    def forward_all(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the output of ``forward`` for each of several inputs, whose shapes may differ.

        A stage that is faster with all of them at once overrides this method.
        """
        return [self(batch) for batch in inputs]

    def source_columns(self, images: Tensor) -> Tensor | None:
        """Return where the columns of the output come from, if the stage moves them.

        A transformation that moves columns overrides this method.

        Args:
            images: (B, C, H, W), in [−1, 1].

        Returns:
            (B, W'): for each column of the output, its place in the input, as a share of W. None
            if every column stays where it is.
        """
        return None


@dataclass(frozen=True)
class Letter:
    """A character of a reading.

    Attributes:
        character: what was read.
        middle: where, as a share of the width of the features or of the image, 0 to 1.
        confidence: its probability, 0 to 1.
        alternatives: the two most probable other characters with their probabilities, the best
            first. Fewer if the charset has no more.
    """

    character: str
    middle: float
    confidence: float
    alternatives: tuple[tuple[str, float], ...]


# The number of other characters that a letter keeps.
ALTERNATIVES = 2


class Prediction(Stage):
    """The last stage. It owns its classes, its loss and its decoding.

    Attributes:
        class_tensors: the names of the parameters whose rows are classes. Fine-tuning carries
            those rows over by character.
        special_classes: the number of classes before the charset's first character.
        score_layer: the name of its ``nn.Linear`` if that layer alone maps features to scores.
        needs_line: whether it can read only steps that follow one another along the line.
        decoding: how the classes of :meth:`best_classes` become a text, as plain values for readers
            without torch. ``first_character`` is ``special_classes``; ``kind`` a name for people;
            and one of ``blank``, the class between characters, where equal neighbors are one
            character, and ``end``, the class that ends a text.
    """

    class_tensors: tuple[str, ...]
    special_classes: int
    score_layer: str | None = None
    needs_line: bool = False
    decoding: Mapping[str, Any] | None = None

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D') to raw scores (B, T, classes)."""

    @abstractmethod
    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return each label's loss, summed over its parts, and the number of parts; both (B,).

        The sum of all losses over the sum of all numbers is the mean loss, however the labels are
        spread over batches.
        """

    def loss(self, features: Tensor, labels: list[str]) -> Tensor:
        """Return the mean loss of a batch of labels, a scalar."""
        losses, counts = self.losses(features, labels)
        return losses.sum() / counts.sum()

    def guided_losses(
        self, features: Tensor, labels: list[str], positions: Positions
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the results of :meth:`losses`, and a loss that uses the letters' positions.

        Only training calls this. A prediction that can use positions overrides it.

        Returns:
            The losses and the numbers of parts, (B,) each; and a scalar, 0 if nothing is known.
        """
        losses, counts = self.losses(features, labels)
        return losses, counts, losses.new_zeros(())

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

    def read_letters(self, features: Tensor) -> tuple[list[str], list[float], list[list[Letter]]]:
        """Read features (B, T, D') as :meth:`read` does, and return each text's letters too.

        A prediction that knows where its characters are overrides this method.

        Raises:
            HanlineError: the prediction does not know it.
        """
        raise HanlineError(
            f"parts=true: expected a prediction that knows where its characters are, but "
            f"{type(self).__name__} does not. Set parts=false"
        )

    def search(self, features: Tensor, prior: "Prior") -> list[list["Hypothesis"]]:
        """Search features (B, T, D') for texts, by knowledge of texts.

        A prediction that can follow several texts at once overrides this method.

        Returns:
            For each line its best texts, the best first, with its letters.

        Raises:
            HanlineError: the prediction cannot search.
        """
        raise HanlineError(
            f"decoding=beam: expected a prediction that can search, but {type(self).__name__} "
            "cannot. Set decoding=greedy"
        )

    def best_classes(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, T, D') to the best class of each step and its probability, (B, T).

        The export to ONNX traces this. A prediction with another ``forward`` overrides it.
        """
        probabilities, classes = self(features).float().softmax(dim=2).max(dim=2)
        return classes, probabilities
