"""The recognizer: four stages, one after another, and the charset that they read in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from hydra.utils import get_class
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.beam import Hypothesis, Prior
from hanline.models.confidence import ConfidenceScale
from hanline.models.stage import Letter, Prediction, Stage
from hanline.text.charset import Charset
from hanline.trusted_targets import trusted_names


class Recognizer(nn.Module):
    """Read images of text.

    Args:
        transformation, feature_extraction, sequence_modeling, prediction: each stage's config:
            ``_target_``, a class below ``hanline.models``, and its own numbers.
        charset: the characters it reads, in the order of their classes.
        image: ``height`` and ``width`` in pixels, ``channels`` (1 grey, 3 RGB), and
            ``keep_ratio``, a rule for whoever prepares the images. If the width is None, it follows
            the image. A transformation that resamples to a fixed grid refuses that.
        max_label_length: the most characters in a text.

    Attributes:
        spec: all of the above as plain values. A checkpoint keeps it, to build it again.
        ranges: the activation ranges that :mod:`hanline.quantization.torch_int8` needs. None if
            they were not measured.
        confidence_scale: what makes the chance that a reading is right of its confidence. None if
            it was not calibrated.
        delay: how far to the right of a character the prediction writes it, as a share of the
            height of the images. 0 if it was not measured.
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
        self.confidence_scale: ConfidenceScale | None = None
        self.delay = 0.0
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
            raise HanlineError(
                f"model.prediction._target_={prediction['_target_']}: expected a prediction stage"
            )
        if last.needs_line and not self.feature_extraction.along_line:
            raise HanlineError(
                f"model.prediction._target_={prediction['_target_']}: expected features that "
                "follow one another along the line, but the feature extraction keeps the rows of "
                "the image. Set model.feature_extraction.rows=mean, or take model/prediction=parseq"
            )
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
        """Map images (B, C, H, W), uint8 or already in [−1, 1], to features (B, T, D')."""
        modeled: Tensor = self.sequence_modeling(self._extracted(images))
        return modeled

    def _extracted(self, images: Tensor) -> Tensor:
        images = _prepared(images)
        features: Tensor = self.feature_extraction(self.transformation(images))
        return features.contiguous()

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to raw scores (B, T, classes)."""
        scores: Tensor = self.prediction(self.features(images))
        return scores

    def loss(self, images: Tensor, labels: list[str]) -> Tensor:
        """Return the mean loss of a batch, a scalar."""
        loss: Tensor = self.prediction.loss(self.features(images), labels)
        return loss

    def read(self, images: Tensor) -> tuple[list[str], list[float]]:
        """Read images (B, C, H, W): return B texts and their confidences, between 0 and 1."""
        return self.read_all([images])[0]

    @torch.inference_mode()
    def read_all(self, batches: Sequence[Tensor]) -> list[tuple[list[str], list[float]]]:
        """Return what :meth:`read` returns for each of several batches, whose widths may differ."""
        features = [self._extracted(images) for images in batches]
        return [
            self.prediction.read(batch) for batch in self.sequence_modeling.forward_all(features)
        ]

    @torch.inference_mode()
    def read_letters_all(
        self, batches: Sequence[Tensor]
    ) -> list[tuple[list[str], list[float], list[list[Letter]]]]:
        """Return what :meth:`read_all` returns, and each text's letters.

        Their places are shares of the width of the images.

        Raises:
            HanlineError: the prediction does not know where its characters are.
        """
        if not self.feature_extraction.along_line:
            raise HanlineError(
                "parts=true: expected features that follow one another along the line, but the "
                "feature extraction keeps the rows of the image. Set parts=false"
            )
        features = self.sequence_modeling.forward_all([self._extracted(b) for b in batches])
        results = []
        for images, batch in zip(batches, features, strict=True):
            texts, confidences, letters = self.prediction.read_letters(batch)
            results.append((texts, confidences, self._at_source(images, letters)))
        return results

    @torch.inference_mode()
    def search_all(self, batches: Sequence[Tensor], prior: Prior) -> list[list[list[Hypothesis]]]:
        """Search several batches, whose widths may differ, for texts.

        Returns:
            For each batch the best texts of each line, the best first, with its letters.

        Raises:
            HanlineError: the prediction cannot search.
        """
        features = self.sequence_modeling.forward_all([self._extracted(b) for b in batches])
        results = []
        for images, batch in zip(batches, features, strict=True):
            found = self.prediction.search(batch, prior)
            letters = self._at_source(images, [best.letters for best, *_ in found])
            results.append(
                [
                    [replace(best, letters=line), *others]
                    for (best, *others), line in zip(found, letters, strict=True)
                ]
            )
        return results

    def _at_source(self, images: Tensor, letters: list[list[Letter]]) -> list[list[Letter]]:
        """Return the letters of each line at their places in the images (B, C, H, W)."""
        sources = self.transformation.source_columns(_prepared(images))
        if sources is None:
            return letters
        return [
            [replace(letter, middle=_at(row, letter.middle)) for letter in line]
            for line, row in zip(letters, sources.float().tolist(), strict=True)
        ]


def _prepared(images: Tensor) -> Tensor:
    """Return images (B, C, H, W), uint8 or already in [−1, 1], as the first stage takes them."""
    if images.dtype == torch.uint8:
        images = images.float().div_(127.5).sub_(1)
    return images.contiguous(memory_format=torch.channels_last)


def _at(values: list[float], share: float) -> float:
    """Return the value at a share of the way along a list."""
    return values[min(int(share * len(values)), len(values) - 1)]


def build_stage(config: Mapping[str, Any], **handed_in: Any) -> Stage:
    """Build a stage from its config.

    A config may come out of a checkpoint, and a checkpoint from anywhere. So the target must be
    registered, and nothing else is imported or called.

    Raises:
        HanlineError: the target is not a stage, or does not take the numbers.
    """
    numbers = dict(config)
    target = numbers.pop("_target_", None)
    if not isinstance(target, str) or target not in trusted_names("stage"):
        raise HanlineError(
            f"_target_={target!r}: expected one of {', '.join(sorted(trusted_names('stage')))}. An "
            "installed package adds others by an entry point in the group hanline.stages"
        )
    try:
        stage_class = get_class(target)
    except Exception as error:
        raise HanlineError(
            f"_target_={target}: expected a stage that this version of Hanline has. It may come "
            "from another version"
        ) from error
    if not issubclass(stage_class, Stage):
        raise HanlineError(f"_target_={target}: expected a stage of a recognizer")
    try:
        stage: Stage = stage_class(**handed_in, **numbers)
    except TypeError as error:
        raise HanlineError(
            f"_target_={target}: expected numbers that the stage takes ({error})"
        ) from error
    return stage


def initialize(recognizer: Recognizer) -> None:
    """Set the first weights as DTRB does: He et al.'s normal ones, zero biases, torch's LSTMs."""
    for module in recognizer.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in recognizer.modules():
        # A module that knows a better start has a method of this name.
        own_start = getattr(module, "reset_parameters", None)
        if type(module).__module__.startswith("hanline.") and callable(own_start):
            own_start()
