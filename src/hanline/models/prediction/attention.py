import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.models.stage import Prediction
from hanline.text.charset import Charset

GO, END = 0, 1


class AttentionPrediction(Prediction):
    """A decoder that writes one character a step and looks along the line for the next.

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
        keys = self.cell.key(features)
        state = self.cell.initial_state(features)
        characters = torch.full((len(features),), GO, device=features.device)
        ended = torch.zeros_like(characters, dtype=torch.bool)
        scores = []
        for _ in range(self.steps):
            state = self.cell(self.cell.character(characters), features, keys, state)
            scores.append(self.generator(state[0]))
            characters = scores[-1].argmax(dim=1)
            ended |= characters == END
            if stop_early and bool(ended.all()):
                break
        return torch.stack(scores, dim=1)

    def teacher_forced(self, features: Tensor, characters: Tensor) -> Tensor:
        """Scores (B, steps, classes) when the character before is always the right one.

        Args:
            features: (B, T, D').
            characters: int64 (B, steps): the class before each step, GO first.
        """
        keys = self.cell.key(features)
        state = self.cell.initial_state(features)
        embedded = self.cell.character(characters)
        hidden = []
        for step in range(characters.shape[1]):
            state = self.cell(embedded[:, step], features, keys, state)
            hidden.append(state[0])
        scores: Tensor = self.generator(torch.stack(hidden, dim=1))
        return scores

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """The cross-entropy of each label's characters and end, teacher-forced, and their number.

        Steps past the end of the longest label cannot count, so they are not taken.
        """
        index = self.charset.index
        longest = max(map(len, labels))
        classes = torch.full((len(labels), longest + 2), GO)
        for row, label in zip(classes, labels, strict=True):
            row[1 : len(label) + 1] = torch.tensor(
                [index[c] + self.special_classes for c in label], dtype=torch.int64
            )
            row[len(label) + 1] = END
        classes = classes.to(features.device)
        scores = self.teacher_forced(features, classes[:, :-1])
        targets = classes[:, 1:]
        losses = F.cross_entropy(
            scores.flatten(0, 1).float(), targets.flatten(), ignore_index=GO, reduction="none"
        )
        return losses.view_as(targets).sum(dim=1), (targets != GO).sum(dim=1)

    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Scores (B, steps, classes) → texts up to their end, and the product of the
        probabilities of their characters."""
        probabilities, classes = scores.float().softmax(dim=2).max(dim=2)
        going = (classes == END).cumsum(dim=1) == 0
        # The last step is there to end a text, not to lengthen it.
        going[:, self.steps - 1 :] = False
        confidences = probabilities.where(going, 1.0).prod(dim=1)
        # A text that ends at once has no character to be sure of.
        confidences = confidences.where(going[:, 0], 0.0)
        characters = self.charset.characters
        texts = [
            "".join(characters[c - self.special_classes] for c in line if c >= self.special_classes)
            for line in (
                row[keep].tolist() for row, keep in zip(classes.cpu(), going.cpu(), strict=True)
            )
        ]
        return texts, confidences.tolist()

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
    """One step of the decoder: additive attention over the line, then an LSTM cell.

    The input of the LSTM is what attention found beside the character before. The character's part
    of its input weights is kept as an embedding: a one-hot product would pick the same row.
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
        hidden, cell = state
        energy = self.score(torch.tanh(keys + self.query(hidden).unsqueeze(1)))
        weights = energy.softmax(dim=1)
        context = torch.bmm(weights.transpose(1, 2), features).squeeze(1)
        gates = self.context(context) + self.hidden(hidden) + character
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
        cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
        return output_gate.sigmoid() * cell.tanh(), cell
