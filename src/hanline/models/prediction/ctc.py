from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hanline.models.prediction.ctc_loss import BLANK, ctc_losses
from hanline.models.stage import Prediction
from hanline.text.charset import Charset


class CTCPrediction(Prediction):
    """One class a step, with a blank between characters.

    From Graves et al., "Connectionist Temporal Classification", ICML 2006. Class 0 is the blank,
    the charset's characters follow from 1.

    Args:
        in_channels: D', the width of the features.
        charset: the characters, in the order of their classes.
        max_label_length: unused here: CTC writes as many characters as it has steps for.
    """

    class_tensors = ("linear.weight", "linear.bias")
    special_classes = 1
    score_layer = "linear"
    decoding = {"kind": "ctc", "blank": BLANK, "first_character": special_classes}

    def __init__(self, in_channels: int, charset: Charset, max_label_length: int) -> None:
        super().__init__()
        self.charset = charset
        self.out_channels = len(charset) + self.special_classes
        self.linear = nn.Linear(in_channels, self.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, T, D') → scores (B, T, classes)."""
        scores: Tensor = self.linear(features)
        return scores

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Each label's loss per character, which counts as one.

        A label that is longer than the features have steps for cannot be aligned and counts 0.
        """
        index, first = self.charset.index, self.special_classes
        classes = [[index[c] + first for c in label] for label in labels]
        lengths = torch.tensor([max(1, len(label)) for label in labels], device=features.device)
        losses = ctc_losses(self(features), classes) / lengths
        return losses, torch.ones_like(lengths)

    def count_unalignable(self, label_lengths: Mapping[tuple[int, int], int], steps: int) -> int:
        """How many labels have more characters, with a blank between equal ones, than steps."""
        return sum(
            count for (length, repeats), count in label_lengths.items() if length + repeats > steps
        )

    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Scores (B, T, classes) → the best path's texts, and the product of its probabilities."""
        return self._written(*_best(scores.detach()))

    def read(self, features: Tensor) -> tuple[list[str], list[float]]:
        """Features (B, T, D') → B texts and their confidences, between 0 and 1."""
        if features.device.type != "cpu":
            return super().read(features)
        # A step has thousands of scores: those of some steps at a time stay in a processor's cache.
        steps = features.flatten(0, 1).split(max(1, _SCORES // self.out_channels))
        pieces = [_best(self(some).detach()) for some in steps]
        classes, probabilities = (
            torch.cat(some).view(features.shape[:2]) for some in zip(*pieces, strict=True)
        )
        return self._written(classes, probabilities)

    def _written(self, classes: Tensor, probabilities: Tensor) -> tuple[list[str], list[float]]:
        """The best class of each step, and its probability, (B, T) → texts and confidences."""
        starts = classes != BLANK
        starts[:, 1:] &= classes[:, 1:] != classes[:, :-1]
        characters = self.charset.characters
        texts = [
            "".join(characters[c - self.special_classes] for c in line[start].tolist())
            for line, start in zip(classes.cpu(), starts.cpu(), strict=True)
        ]
        return texts, probabilities.prod(dim=1).tolist()


# So many scores at a time.
_SCORES = 400_000


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (…, classes) → the best class and its probability, each (…)."""
    every = scores.softmax(dim=-1, dtype=torch.float32)
    if every.device.type == "cpu":
        # On a processor numpy finds the best class ten times as fast as torch.
        classes = torch.from_numpy(every.numpy().argmax(axis=-1))
        return classes, every.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    probabilities, classes = every.max(dim=-1)
    return classes, probabilities
