from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.models.beam import Hypothesis, Prior, align_ctc, search_ctc
from hanline.models.confidence import least_of_runs, with_least
from hanline.models.guidance import Positions, letter_steps
from hanline.models.prediction.ctc_loss import BLANK, ctc_losses
from hanline.models.stage import ALTERNATIVES, Letter, Prediction
from hanline.text.charset import Charset

# Scores that are computed at a time when a processor reads: they stay in its cache.
_SCORES_AT_A_TIME = 400_000


class CTCPrediction(Prediction):
    """One class a step, with a blank between characters.

    From Graves et al., "Connectionist Temporal Classification", ICML 2006. Class 0 is the blank.
    The charset's characters follow from 1.

    Args:
        in_channels: D', the width of the features.
        charset: the characters, in the order of their classes.
        max_label_length: unused here: CTC writes at most one character per step.
    """

    class_tensors = ("linear.weight", "linear.bias")
    special_classes = 1
    score_layer = "linear"
    needs_line = True
    decoding = {"kind": "ctc", "blank": BLANK, "first_character": special_classes}

    def __init__(self, in_channels: int, charset: Charset, max_label_length: int) -> None:
        super().__init__()
        self.charset = charset
        self.out_channels = len(charset) + self.special_classes
        self.linear = nn.Linear(in_channels, self.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D') to scores (B, T, classes)."""
        scores: Tensor = self.linear(features)
        return scores

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return each label's loss per character, which counts as one part.

        The loss of a label that is longer than the features have steps for is 0.
        """
        classes = self._classes(labels)
        lengths = torch.tensor([max(1, len(label)) for label in classes], device=features.device)
        return ctc_losses(self(features), classes) / lengths, torch.ones_like(lengths)

    def guided_losses(
        self, features: Tensor, labels: list[str], positions: Positions
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses, and the cross-entropy of the class under each letter's middle.

        Without it, CTC spends its first steps learning to write nothing but blanks.
        """
        losses, counts = self.losses(features, labels)
        steps = letter_steps(positions, features.shape[1])
        if not len(steps):
            return losses, counts, losses.new_zeros(())
        classes = self._classes(labels)
        targets = torch.tensor([classes[sample][letter] for sample, letter, _ in steps.tolist()])
        sample, _, step = steps.to(features.device).unbind(dim=1)
        scores = self.linear(features[sample, step]).float()
        return losses, counts, F.cross_entropy(scores, targets.to(features.device))

    def count_unalignable(self, label_lengths: Mapping[tuple[int, int], int], steps: int) -> int:
        """Count the labels with more characters than steps, a blank between equal ones included."""
        return sum(
            count for (length, repeats), count in label_lengths.items() if length + repeats > steps
        )

    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Decode scores (B, T, classes) to the best paths' texts and the paths' probabilities."""
        return self._written(*_best(scores.detach()))

    def read(self, features: Tensor) -> tuple[list[str], list[float]]:
        """Read features (B, T, D'): return B texts and their confidences, between 0 and 1."""
        return self._written(*self._best_path(features))

    def read_letters(self, features: Tensor) -> tuple[list[str], list[float], list[list[Letter]]]:
        """Read features as :meth:`read` does; the best path says where each letter is.

        A letter is in the middle of the steps that write it, weighted by their probabilities. Its
        confidence and its alternatives are those of its most probable step.
        """
        return self._lettered(features, *self._best_path(features))

    def search(self, features: Tensor, prior: Prior) -> list[list[Hypothesis]]:
        """Search features for texts; a line whose steps are all sure is read greedily."""
        classes, probabilities = (values.cpu() for values in self._best_path(features))
        beam = prior.beam
        searched = probabilities.amin(dim=1) < beam.sure
        if beam.lexicon or beam.best > 1:
            searched[:] = True
        others: list[list[Hypothesis]] = [[] for _ in classes]
        for line in searched.nonzero().flatten().tolist():
            logs = self(features[line]).log_softmax(dim=1, dtype=torch.float32).cpu().numpy()
            found = search_ctc(logs, prior)
            paths = [align_ctc(logs, text) for text, _ in found] or [np.zeros_like(classes[line])]
            taken = np.stack([logs[np.arange(len(path)), path] for path in paths])
            texts, confidences = self._written(
                torch.from_numpy(np.stack(paths)), torch.from_numpy(np.exp(taken))
            )
            others[line] = [
                Hypothesis(text, confidence, score)
                for text, confidence, (_, score) in zip(texts, confidences, found, strict=False)
            ]
            classes[line] = torch.from_numpy(paths[0])
            probabilities[line] = torch.from_numpy(np.exp(taken[0]))
            if not found:
                probabilities[line] = 0.0
        return [
            [Hypothesis(text, sure, rest[0].score if rest else 0.0, letters), *rest[1:]]
            for text, sure, letters, rest in zip(
                *self._lettered(features, classes, probabilities), others, strict=True
            )
        ]

    def _lettered(
        self, features: Tensor, classes: Tensor, probabilities: Tensor
    ) -> tuple[list[str], list[float], list[list[Letter]]]:
        """Return texts, confidences and letters of paths, and of their probabilities, (B, T)."""
        texts, confidences = self._written(classes, probabilities)
        runs = [
            (line, *run)
            for line, (path, sure) in enumerate(
                zip(classes.cpu().numpy(), probabilities.cpu().numpy(), strict=True)
            )
            for run in _runs(path, sure)
        ]
        letters: list[list[Letter]] = [[] for _ in texts]
        if not runs:
            return texts, confidences, letters
        lines, written, peaks, _, _ = map(torch.tensor, zip(*runs, strict=True))
        others = self(features[lines, peaks]).softmax(dim=1, dtype=torch.float32).cpu()
        others[:, BLANK] = 0
        others[torch.arange(len(others)), written] = 0
        found = others.topk(min(ALTERNATIVES, len(self.charset) - 1), dim=1)
        characters, first = self.charset.characters, self.special_classes
        for run, best, shares in zip(
            runs, found.indices.tolist(), found.values.tolist(), strict=True
        ):
            line, written_class, _, middle, confidence = run
            letters[line].append(
                Letter(
                    characters[written_class - first],
                    middle / features.shape[1],
                    confidence,
                    tuple((characters[c - first], p) for c, p in zip(best, shares, strict=True)),
                )
            )
        return texts, confidences, letters

    def _best_path(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best class of each step of features and its probability, (B, T) each."""
        if features.device.type != "cpu":
            return _best(self(features).detach())
        steps = features.flatten(0, 1).split(max(1, _SCORES_AT_A_TIME // self.out_channels))
        pieces = [_best(self(chunk).detach()) for chunk in steps]
        classes, probabilities = (
            torch.cat(chunks).view(features.shape[:2]) for chunks in zip(*pieces, strict=True)
        )
        return classes, probabilities

    def _classes(self, labels: Sequence[str]) -> list[list[int]]:
        index, first = self.charset.index, self.special_classes
        return [[index[c] + first for c in label] for label in labels]

    def _written(self, classes: Tensor, probabilities: Tensor) -> tuple[list[str], list[float]]:
        """Write texts of the best class of each step and its probability, (B, T) each."""
        starts = classes != BLANK
        starts[:, 1:] &= classes[:, 1:] != classes[:, :-1]
        characters = self.charset.characters
        texts = [
            "".join(characters[c - self.special_classes] for c in line[start].tolist())
            for line, start in zip(classes.cpu(), starts.cpu(), strict=True)
        ]
        least = least_of_runs(classes.cpu().numpy(), probabilities.cpu().numpy(), BLANK)
        return texts, with_least(texts, probabilities.prod(dim=1).tolist(), least.tolist())


def _runs(path: np.ndarray, probabilities: np.ndarray) -> Iterator[tuple[int, int, float, float]]:
    """Yield the letters of a best path.

    Args:
        path: int64 (T,), the class of each step.
        probabilities: float32 (T,), theirs.

    Yields:
        The class, its most probable step, its middle in steps, and the probability of that step.
    """
    edges = np.flatnonzero(np.diff(path)) + 1
    for begin, end in pairwise([0, *edges.tolist(), len(path)]):
        if path[begin] != BLANK:
            sure = probabilities[begin:end]
            middle = float(np.average(np.arange(begin, end) + 0.5, weights=sure))
            peak = int(sure.argmax())
            yield int(path[begin]), begin + peak, middle, float(sure[peak])


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best class of scores (…, classes) and its probability, each (…)."""
    every = scores.softmax(dim=-1, dtype=torch.float32)
    if every.device.type == "cpu":
        # On a processor numpy finds the best class ten times as fast as torch.
        classes = torch.from_numpy(every.numpy().argmax(axis=-1))
        return classes, every.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    probabilities, classes = every.max(dim=-1)
    return classes, probabilities
