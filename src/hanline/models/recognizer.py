"""The recogniser: the four stages one after another, and the charset they read in."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hydra.utils import get_class
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Prediction, Stage
from hanline.text.charset import Charset


class Recognizer(nn.Module):
    """Reads images of text.

    Args:
        transformation, feature_extraction, sequence_modeling, prediction: each stage's config:
            ``_target_``, a class below ``hanline.models``, and its own numbers.
        charset: the characters it reads, in the order of their classes.
        image: ``height`` and ``width`` in pixels, ``channels`` (1 grey, 3 RGB), and
            ``keep_ratio``, which those who prepare images for it heed. A width of None lets it
            follow the image, which a transformation that resamples to a fixed grid refuses.
        max_label_length: the most characters in a text.

    Attributes:
        spec: all of the above as plain values: what a checkpoint keeps, to build it again.
        ranges: what :mod:`hanline.quantization.torch_int8` needs, where it was measured; else None.
    """

    def __init__(
        self,
        transformation: Mapping[str, Any],
        feature_extraction: Mapping[str, Any],
        sequence_modeling: Mapping[str, Any],
        prediction: Mapping[str, Any],
        charset: str,
        image: Mapping[str, Any],
        max_label_length: int,
    ) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {
            "transformation": dict(transformation),
            "feature_extraction": dict(feature_extraction),
            "sequence_modeling": dict(sequence_modeling),
            "prediction": dict(prediction),
            "charset": charset,
            "image": dict(image),
            "max_label_length": max_label_length,
        }
        self.ranges: Mapping[str, tuple[float, float]] | None = None
        self.charset = Charset(charset)
        self.transformation = build_stage(
            transformation,
            in_channels=image["channels"],
            image_height=image["height"],
            image_width=image["width"],
        )
        self.feature_extraction = build_stage(
            feature_extraction, in_channels=self.transformation.out_channels
        )
        self.sequence_modeling = build_stage(
            sequence_modeling, in_channels=self.feature_extraction.out_channels
        )
        last = build_stage(
            prediction,
            in_channels=self.sequence_modeling.out_channels,
            charset=self.charset,
            max_label_length=max_label_length,
        )
        if not isinstance(last, Prediction):
            raise HanlineError(f"{prediction['_target_']} is no prediction stage")
        self.prediction = last
        initialize(self)
        # Convolutions run several times faster in this layout, on processors as on GPUs.
        self.to(memory_format=torch.channels_last)

    @staticmethod
    def best_device() -> torch.device:
        """Return the accelerator of this machine; the CPU if there is none."""
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), uint8 or already in [−1, 1], → features (B, T, D')."""
        modeled: Tensor = self.sequence_modeling(self._extracted(images))
        return modeled

    def _extracted(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float().div_(127.5).sub_(1)
        images = images.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.feature_extraction(self.transformation(images))
        return features.contiguous()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) → raw scores (B, T, classes)."""
        scores: Tensor = self.prediction(self.features(images))
        return scores

    def loss(self, images: Tensor, labels: list[str]) -> Tensor:
        """The mean loss of a batch, a scalar."""
        loss: Tensor = self.prediction.loss(self.features(images), labels)
        return loss

    def read(self, images: Tensor) -> tuple[list[str], list[float]]:
        """Images (B, C, H, W) → B texts and their confidences, between 0 and 1."""
        return self.read_all([images])[0]

    @torch.inference_mode()
    def read_all(self, batches: Sequence[Tensor]) -> list[tuple[list[str], list[float]]]:
        """Batches (B, C, H, W), each of its own width → what :meth:`read` gives for each."""
        features = [self._extracted(images) for images in batches]
        return [self.prediction.read(some) for some in self.sequence_modeling.forward_all(features)]


def build_stage(config: Mapping[str, Any], **handed_in: Any) -> Stage:
    """Build a stage from its config.

    Configs come out of checkpoints too, which may come from anywhere: so the target must be one of
    Hanline's own modules, and nothing else is imported or called.

    Raises:
        HanlineError: the target is no stage, or the numbers do not fit it.
    """
    numbers = dict(config)
    target = numbers.pop("_target_", None)
    if not isinstance(target, str) or not target.startswith("hanline.models."):
        raise HanlineError(f"{target!r} is no stage of a recogniser: stages live in hanline.models")
    try:
        stage_class = get_class(target)
    except Exception as error:
        raise HanlineError(
            f"there is no stage {target}; it may come from another version of Hanline"
        ) from error
    if not issubclass(stage_class, Stage):
        raise HanlineError(f"{target} is no stage of a recogniser")
    try:
        stage: Stage = stage_class(**handed_in, **numbers)
    except TypeError as error:
        raise HanlineError(
            f"the numbers given for the stage {target} do not fit: {error}"
        ) from error
    return stage


def initialize(recognizer: Recognizer) -> None:
    """Start as DTRB does: He et al.'s normal weights and zero biases, LSTMs as torch has them."""
    for module in recognizer.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in recognizer.modules():
        # What knows a better start than that has a method of this name.
        own_start = getattr(module, "reset_parameters", None)
        if type(module).__module__.startswith("hanline.") and callable(own_start):
            own_start()
