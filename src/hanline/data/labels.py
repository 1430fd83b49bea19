"""The labels that a recognizer can learn."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hanline.text.charset import Charset


@dataclass(frozen=True)
class LabelRules:
    """The rules for labels that a recognizer can learn.

    Attributes:
        charset: the characters that it knows.
        max_length: the most characters in a label.
        lowercase: labels become lower case before anything else.
        invalid: what happens to a label that is empty, too long or has other characters: ``skip``
            the sample, or raise an ``error``.
    """

    charset: Charset
    max_length: int
    lowercase: bool
    invalid: Literal["skip", "error"]

    def apply(self, label: str) -> str:
        """Return the label to learn: in NFC, and in lower case if ``lowercase`` is set."""
        label = unicodedata.normalize("NFC", label)
        return label.lower() if self.lowercase else label

    @property
    def problems(self) -> tuple[str, ...]:
        """The verdicts on a label, by number: 0 valid, the others why it is invalid."""
        return (
            "valid",
            "empty label",
            f"longer than {self.max_length}",
            "outside the charset",
            "damaged",
        )

    def judge(self, labels: Iterable[str | None]) -> np.ndarray:
        """Return what each label is, as a number of ``problems``: uint8 (N,).

        Args:
            labels: None is a damaged one.
        """
        return np.fromiter(map(self._judge, labels), dtype=np.uint8)

    def _judge(self, label: str | None) -> int:
        if label is None:
            return 4
        label = self.apply(label)
        if not label:
            return 1
        if len(label) > self.max_length:
            return 2
        return 0 if self.charset.covers(label) else 3

    @property
    def fingerprint(self) -> dict[str, object]:
        """The settings that decide which labels are valid, and how they are learned, as JSON."""
        return {
            "charset": self.charset.characters,
            "max_length": self.max_length,
            "lowercase": self.lowercase,
        }
