import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.prediction.ended import AFTER_END, end_targets, ended_texts
from hanline.models.stage import Prediction
from hanline.text.charset import Charset

END = 0


class ViTSTRPrediction(Prediction):
    """Write the first character from the first step of the features, and so on, in one go.

    So the features must bring each character to its step. From Atienza, "Vision Transformer for
    Fast and Efficient Scene Text Recognition", ICDAR 2021. Class 0 ends a text, the charset's
    characters follow from 1.

    Args:
        in_channels: D', the width of the features.
        charset: the characters, in the order of their classes.
        max_label_length: the most characters in a text. The features must have one step more.
    """

    class_tensors = ("linear.weight", "linear.bias")
    special_classes = 1
    score_layer = "linear"
    decoding = {"kind": "in order", "end": END, "first_character": special_classes}

    def __init__(self, in_channels: int, charset: Charset, max_label_length: int) -> None:
        super().__init__()
        self.charset = charset
        self.out_channels = len(charset) + self.special_classes
        self.steps = max_label_length + 1
        self.linear = nn.Linear(in_channels, self.out_channels)

    def reset_parameters(self) -> None:
        """Start with small weights, as transformers are started."""
        nn.init.trunc_normal_(self.linear.weight, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D') to scores (B, steps, classes).

        Raises:
            HanlineError: the features have fewer steps than a text and its end.
        """
        if features.shape[1] < self.steps:
            raise HanlineError(
                f"max_label_length={self.steps - 1}: expected at most {features.shape[1] - 1}, one "
                "fewer than the steps of the features. Lower it, or set image.width higher"
            )
        scores: Tensor = self.linear(features[:, : self.steps])
        return scores

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of each label's characters and end, and their number."""
        targets = end_targets(labels, self.charset, self.special_classes, END)
        if targets.shape[1] > self.steps:
            raise HanlineError(
                f"max_label_length={self.steps - 1}: expected labels of at most as many "
                f"characters, but one has {targets.shape[1] - 1}. Raise it"
            )
        targets = targets.to(features.device)
        scores = self(features)[:, : targets.shape[1]].float()
        losses = F.cross_entropy(
            scores.transpose(1, 2), targets, ignore_index=AFTER_END, reduction="none"
        )
        return losses.sum(dim=1), (targets != AFTER_END).sum(dim=1)

    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Decode scores (B, steps, classes) to B texts and their confidences."""
        return ended_texts(scores, self.charset, self.special_classes, END, self.steps)
