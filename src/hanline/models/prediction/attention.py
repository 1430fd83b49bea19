"""Prediction by attention: one character a step, each after those before it.

Over 300 lines: a prediction owns its classes, loss, decoding and search.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.models.beam import Hypothesis, Prior, State
from hanline.models.guidance import Positions, letter_spans
from hanline.models.prediction.ended import ended_texts, written_texts
from hanline.models.stage import ALTERNATIVES, Letter, Prediction
from hanline.text.charset import Charset

GO, END = 0, 1


class AttentionPrediction(Prediction):
    """Write one character a step, and look along the line for the next.

    From Shi et al., "Robust Scene Text Recognition with Automatic Rectification" (RARE), CVPR 2016,
    as DTRB has it. Class 0 is the start of a text, class 1 its end, the charset's characters follow
    from 2.

    Args:
        in_channels: D', the width of the features.
        charset: the characters, in the order of their classes.
        max_label_length: the most characters in a text; the decoder takes one step more, to end.
        hidden_size: the decoder's state.
    """

    class_tensors = ("generator.weight", "generator.bias", "cell.character.weight")
    special_classes = 2
    decoding = {"kind": "attention", "end": END, "first_character": special_classes}

    def __init__(
        self, in_channels: int, charset: Charset, max_label_length: int, hidden_size: int
    ) -> None:
        super().__init__()
        self.charset = charset
        self.out_channels = len(charset) + self.special_classes
        self.steps = max_label_length + 1
        self.cell = AttentionCell(in_channels, hidden_size, self.out_channels)
        self.generator = nn.Linear(hidden_size, self.out_channels)

    def forward(self, features: Tensor, stop_early: bool = True) -> Tensor:
        """Write texts, each character chosen from the best score of the one before.

        Args:
            features: (B, T, D').
            stop_early: stop when every text has ended, rather than after ``max_label_length + 1``
                steps.

        Returns:
            Scores (B, steps, classes).
        """
        return self._write(features, stop_early)[0]

    def read_letters(self, features: Tensor) -> tuple[list[str], list[float], list[list[Letter]]]:
        """Read features as :meth:`read` does; the attention says where each letter is.

        A letter is at the mean of the places that its step looked at, by their weights.
        """
        scores, weights = self._write(features, stop_early=True)
        return self._lettered(scores, weights, scores.argmax(dim=2))

    def search(self, features: Tensor, prior: Prior) -> list[list[Hypothesis]]:
        """Search features for texts; a line whose steps are all sure is read greedily."""
        scores, weights = self._write(features, stop_early=True)
        best = scores.argmax(dim=2)
        probabilities = scores.float().softmax(dim=2).amax(dim=2)
        going = (best == END).cumsum(dim=1) <= 1
        searched = probabilities.where(going, 1.0).amin(dim=1) < prior.beam.sure
        if prior.beam.lexicon or prior.beam.best > 1:
            searched[:] = True
        greedy = zip(*self._lettered(scores, weights, best), strict=True)
        found = [[Hypothesis(text, sure, 0.0, letters)] for text, sure, letters in greedy]
        for line in searched.nonzero().flatten().tolist():
            found[line] = self._search(features[line : line + 1], prior)
        return found

    def _search(self, features: Tensor, prior: Prior) -> list[Hypothesis]:
        """Return the best texts of one line, features (1, T, D'), the best first."""
        ended = self._ended(features, prior)
        if not ended:
            return [Hypothesis("", 0.0)]
        hypotheses: list[Hypothesis] = []
        for text, score in ended[: prior.beam.best]:
            classes = torch.tensor([[GO, *text, END]], device=features.device)
            scores, weights = self.teacher_forced(features, classes[:, :-1])
            (read,), (sure,), (letters,) = self._lettered(scores, weights, classes[:, 1:])
            hypotheses.append(Hypothesis(read, sure, score, [] if hypotheses else letters))
        return hypotheses

    def _ended(self, features: Tensor, prior: Prior) -> list[tuple[list[int], float]]:
        """Return texts of one line as classes, and their scores, the best first."""
        beam, first = prior.beam, self.special_classes
        allowed = prior.allowed()
        keys = self.cell.key(features)
        hidden, cell = self.cell.initial_state(features)
        texts: list[tuple[list[int], float, State]] = [([], 0.0, prior.start())]
        ended: list[tuple[list[int], float]] = []
        for step in range(self.steps):
            number = len(texts)
            last = torch.tensor([text[-1] if text else GO for text, _, _ in texts])
            lines = features.expand(number, -1, -1)
            weights = self.cell.attend(keys.expand(number, -1, -1), hidden)
            character = self.cell.character(last.to(features.device))
            hidden, cell = self.cell.write(character, lines, weights, (hidden, cell))
            logs = self.generator(hidden).log_softmax(dim=1, dtype=torch.float32).cpu().numpy()
            of_characters = logs[:, first:]
            if allowed is not None:
                of_characters = np.where(allowed, of_characters, -np.inf)
            candidates = min(beam.candidates, of_characters.shape[1])
            tops = np.argpartition(-of_characters, candidates - 1, axis=1)[:, :candidates]
            prior.prepare((state for _, _, state in texts), np.unique(tops).tolist())
            longer: list[tuple[int, list[int], float, State]] = []
            for row, (text, score, state) in enumerate(texts):
                end = prior.end(state)
                if end is not None:
                    ended.append((text, score + float(logs[row, END]) + end))
                for number in tops[row].tolist():
                    gained = of_characters[row, number]
                    extended = prior.extend(state, number) if gained > -np.inf else None
                    if extended is not None:
                        better = score + float(gained) + extended[0]
                        longer.append((row, [*text, number + first], better, extended[1]))
            longer.sort(key=lambda option: -option[2])
            ended.sort(key=lambda option: -option[1])
            longer = longer[: beam.width]
            enough = len(ended) >= beam.best and (
                not longer or ended[beam.best - 1][1] > longer[0][2]
            )
            # The last step can only end a text.
            if enough or not longer or step == self.steps - 1:
                break
            rows = torch.tensor([row for row, *_ in longer], device=features.device)
            hidden, cell = hidden[rows], cell[rows]
            texts = [(text, score, state) for _, text, score, state in longer]
        return ended

    def _lettered(
        self, scores: Tensor, weights: Tensor, classes: Tensor
    ) -> tuple[list[str], list[float], list[list[Letter]]]:
        """Return the texts, confidences and letters of lines.

        Args:
            scores: (B, steps, classes).
            weights: (B, steps, T), of the attention.
            classes: int64 (B, steps), those that are written.
        """
        probabilities = scores.float().softmax(dim=2)
        chosen = probabilities.gather(2, classes.unsqueeze(2)).squeeze(2)
        texts, confidences = written_texts(
            classes, chosen, self.charset, self.special_classes, END, self.steps
        )
        length = weights.shape[2]
        places = (torch.arange(length, device=weights.device) + 0.5) / length
        middles = (weights.float() @ places).tolist()
        first, characters = self.special_classes, self.charset.characters
        letters: list[list[Letter]] = []
        for text, places_of_line, steps, best in zip(
            texts, middles, probabilities.cpu(), classes.cpu(), strict=True
        ):
            # A step may write the start of a text, which is not a character.
            taken = (best >= first).nonzero().flatten()[: len(text)]
            chosen = best[taken].unsqueeze(1)
            sure = steps[taken].gather(1, chosen).flatten().tolist()
            others = steps[taken].scatter(1, chosen, 0.0)
            others[:, :first] = 0
            found = others.topk(min(ALTERNATIVES, len(self.charset) - 1), dim=1)
            letters.append(
                [
                    Letter(
                        character,
                        places_of_line[step],
                        confidence,
                        tuple((characters[c - first], p) for c, p in zip(*pair, strict=True)),
                    )
                    for character, step, confidence, *pair in zip(
                        text,
                        taken.tolist(),
                        sure,
                        found.indices.tolist(),
                        found.values.tolist(),
                        strict=True,
                    )
                ]
            )
        return texts, confidences, letters

    def _write(self, features: Tensor, stop_early: bool) -> tuple[Tensor, Tensor]:
        """Return what :meth:`forward` does, and the weights (B, steps, T) of the attention."""
        keys = self.cell.key(features)
        state = self.cell.initial_state(features)
        characters = torch.full((len(features),), GO, device=features.device)
        ended = torch.zeros_like(characters, dtype=torch.bool)
        scores, weights = [], []
        for _ in range(self.steps):
            weights.append(self.cell.attend(keys, state[0]))
            state = self.cell.write(self.cell.character(characters), features, weights[-1], state)
            scores.append(self.generator(state[0]))
            characters = scores[-1].argmax(dim=1)
            ended |= characters == END
            if stop_early and bool(ended.all()):
                break
        return torch.stack(scores, dim=1), torch.cat(weights, dim=2).transpose(1, 2)

    def teacher_forced(self, features: Tensor, characters: Tensor) -> tuple[Tensor, Tensor]:
        """Write texts when the character before is always the right one.

        Args:
            features: (B, T, D').
            characters: int64 (B, steps): the class before each step, GO first.

        Returns:
            Scores (B, steps, classes), and the weights (B, steps, T) with which each step looked
            at the features.
        """
        keys = self.cell.key(features)
        state = self.cell.initial_state(features)
        embedded = self.cell.character(characters)
        hidden, weights = [], []
        for step in range(characters.shape[1]):
            weights.append(self.cell.attend(keys, state[0]))
            state = self.cell.write(embedded[:, step], features, weights[-1], state)
            hidden.append(state[0])
        scores: Tensor = self.generator(torch.stack(hidden, dim=1))
        return scores, torch.cat(weights, dim=2).transpose(1, 2)

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of each label's characters and end, and their number.

        The decoder is teacher-forced. It takes no step past the end of the longest label.
        """
        return self._losses(features, labels)[:2]

    def guided_losses(
        self, features: Tensor, labels: list[str], positions: Positions
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses, and how little each step looks at the place of its own letter.

        The latter is the mean negative logarithm of the attention between a letter's left and
        right.
        """
        losses, counts, weights = self._losses(features, labels)
        spans = letter_spans(positions, *weights.shape[1:]).to(weights.device)
        known = spans.any(dim=2)
        if not bool(known.any()):
            return losses, counts, losses.new_zeros(())
        within = weights.where(spans, 0.0).sum(dim=2)[known]
        return losses, counts, -within.clamp_min(1e-6).log().mean()

    def _losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        index = self.charset.index
        longest = max(map(len, labels))
        classes = torch.full((len(labels), longest + 2), GO)
        for row, label in zip(classes, labels, strict=True):
            row[1 : len(label) + 1] = torch.tensor(
                [index[c] + self.special_classes for c in label], dtype=torch.int64
            )
            row[len(label) + 1] = END
        classes = classes.to(features.device)
        scores, weights = self.teacher_forced(features, classes[:, :-1])
        targets = classes[:, 1:]
        losses = F.cross_entropy(
            scores.flatten(0, 1).float(), targets.flatten(), ignore_index=GO, reduction="none"
        )
        return losses.view_as(targets).sum(dim=1), (targets != GO).sum(dim=1), weights

    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Decode scores (B, steps, classes) to B texts and their confidences.

        A confidence is the product of the probabilities of the text's characters.
        """
        return ended_texts(scores, self.charset, self.special_classes, END, self.steps)

    def best_classes(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, T, D') to classes and probabilities (B, max_label_length + 1).

        A loop in the graph ends when every text has. The steps that it does not take have the class
        END and probability 1.
        """
        steps, batch = self.steps, features.shape[0]
        keys = self.cell.key(features)
        positions = torch.arange(steps)

        def going(step: Tensor, ended: Tensor, *rest: Tensor) -> Tensor:
            return (step < steps) & ~ended.all()

        def take_step(step: Tensor, ended: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            characters, hidden, cell, classes, probabilities = rest
            embedded = self.cell.character(characters)
            hidden, cell = self.cell(embedded, features, keys, (hidden, cell))
            best, characters = self.generator(hidden).softmax(dim=1).max(dim=1)
            here = positions == step
            classes = torch.where(here, characters.unsqueeze(1), classes)
            probabilities = torch.where(here, best.unsqueeze(1), probabilities)
            ended = ended | (characters == END)
            return step + 1, ended, characters, hidden, cell, classes, probabilities

        zeros = features.new_zeros(batch, self.cell.query.in_features)
        outcome = torch.while_loop(
            going,
            take_step,
            (
                torch.zeros((), dtype=torch.int64),
                torch.zeros(batch, dtype=torch.bool),
                torch.full((batch,), GO),
                zeros,
                zeros.clone(),
                torch.full((batch, steps), END),
                torch.ones(batch, steps),
            ),
        )
        return outcome[5], outcome[6]


class AttentionCell(nn.Module):
    """Take one step of the decoder: additive attention over the line, then an LSTM cell.

    The LSTM's input is the attended feature and the character before. The character's part of the
    input weights is an embedding, since a one-hot product picks a row.
    """

    def __init__(self, in_channels: int, hidden_size: int, classes: int) -> None:
        super().__init__()
        self.key = nn.Linear(in_channels, hidden_size, bias=False)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.context = nn.Linear(in_channels, 4 * hidden_size)
        self.character = nn.Embedding(classes, 4 * hidden_size)
        self.hidden = nn.Linear(hidden_size, 4 * hidden_size)

    def initial_state(self, features: Tensor) -> tuple[Tensor, Tensor]:
        zeros = features.new_zeros(len(features), self.query.in_features)
        return zeros, zeros

    def forward(
        self, character: Tensor, features: Tensor, keys: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            character: (B, 4 · hidden_size), the embedding of the character before.
            features: (B, T, D').
            keys: (B, T, hidden_size), ``self.key(features)``, the same in every step.
            state: hidden and cell state, (B, hidden_size) each.
        """
        return self.write(character, features, self.attend(keys, state[0]), state)

    def attend(self, keys: Tensor, hidden: Tensor) -> Tensor:
        """Return the weights (B, T, 1) with which the next step looks at the features."""
        energy = self.score(torch.tanh(keys + self.query(hidden).unsqueeze(1)))
        weights: Tensor = energy.softmax(dim=1)
        return weights

    def write(
        self, character: Tensor, features: Tensor, weights: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the state after a step that looks at the features with given weights."""
        hidden, cell = state
        context = torch.bmm(weights.transpose(1, 2), features).squeeze(1)
        gates = self.context(context) + self.hidden(hidden) + character
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
        cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
        return output_gate.sigmoid() * cell.tanh(), cell
