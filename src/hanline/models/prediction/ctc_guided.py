from torch import Tensor

from hanline.errors import HanlineError
from hanline.models.prediction.attention import AttentionPrediction
from hanline.models.prediction.ctc import CTCPrediction
from hanline.text.charset import Charset


class GuidedCTCPrediction(CTCPrediction):
    """Read by CTC, with an attention decoder beside it that only trains.

    Attention says which features a character is made of, which CTC must find out. So the features
    become better, while reading costs the same. From Hu et al., "GTC: Guided Training of CTC",
    AAAI 2020, without its graph network.

    Args:
        in_channels: D', the width of the features.
        charset: the characters, in the order of their classes.
        max_label_length: the most characters in a text.
        hidden_size: the state of the attention decoder.
        weight: of the attention decoder's loss.
        detach: keep CTC's loss from the features, so that the attention decoder alone shapes them.

    Raises:
        HanlineError: the weight is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        charset: Charset,
        max_label_length: int,
        hidden_size: int,
        weight: float,
        detach: bool,
    ) -> None:
        super().__init__(in_channels, charset, max_label_length)
        if weight <= 0:
            raise HanlineError(f"model.prediction.weight={weight}: expected a positive number")
        self.weight, self.detach = weight, detach
        self.guide = AttentionPrediction(in_channels, charset, max_label_length, hidden_size)

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return each label's loss per character, which counts as one part.

        In training it is the sum of both losses. Otherwise it is CTC's, by which models compare.
        """
        if not self.training:
            return super().losses(features, labels)
        losses, counts = super().losses(features.detach() if self.detach else features, labels)
        guided, characters = self.guide.losses(features, labels)
        return losses + self.weight * guided / characters, counts
