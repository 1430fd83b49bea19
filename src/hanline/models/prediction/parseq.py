"""Prediction by PARSeq: characters in any order, then refined.

Over 300 lines: a prediction owns its classes, permutations, loss and decoding.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.prediction.ended import AFTER_END, end_targets, ended_texts
from hanline.models.stage import Prediction
from hanline.models.transformer_parts import CrossAttention, start_small
from hanline.text.charset import Charset

END = 0
# Labels up to this length have so few orders that each is drawn at most once.
_SHORT = 4

LookedAt = tuple[Tensor, Tensor]


class PARSeqPrediction(Prediction):
    """Write characters in any order, each from those that are known already.

    Training takes several orders of the characters of a label. So the same decoder reads from left
    to right, all characters at once, or one text again with its other characters known. From
    Bautista and Atienza, "Scene Text Recognition with Permuted Autoregressive Sequence Models",
    ECCV 2022. Class 0 ends a text, the charset's characters follow from 1.

    Args:
        in_channels: D', the width of the features and of the decoder.
        charset: the characters, in the order of their classes.
        max_label_length: the most characters in a text; there is one place more, for its end.
        layers: the number of decoder layers.
        head_width: the width of an attention head, a divisor of D'.
        mlp_ratio: the hidden width of each layer's network as a multiple of D'.
        dropout: the share of values that a training step sets to 0.
        orders: how many orders of the characters a training step takes, an even number: from left
            to right, from right to left, then random ones, each with its mirror image.
        autoregressive: read from left to right, each character with those before it known; else
            read all at once.
        refinements: how often a text is read again, each character with all others known.

    Raises:
        HanlineError: ``orders`` is odd or less than 2, or ``head_width`` does not divide D'.
    """

    class_tensors = ("head.weight", "head.bias", "characters.weight")
    special_classes = 1
    decoding = {"kind": "any order", "end": END, "first_character": special_classes}

    def __init__(
        self,
        in_channels: int,
        charset: Charset,
        max_label_length: int,
        layers: int,
        head_width: int,
        mlp_ratio: float,
        dropout: float,
        orders: int,
        autoregressive: bool,
        refinements: int,
    ) -> None:
        super().__init__()
        if orders < 2 or orders % 2:
            raise HanlineError(f"model.prediction.orders={orders}: expected an even number")
        if head_width < 1 or in_channels % head_width:
            raise HanlineError(
                f"model.prediction.head_width={head_width}: expected a divisor of the width of the "
                f"features, {in_channels}. Change either"
            )
        heads = in_channels // head_width
        self.charset = charset
        self.out_channels = len(charset) + self.special_classes
        self.steps = max_label_length + 1
        self.orders = orders
        self.autoregressive, self.refinements = autoregressive, refinements
        self.layers = nn.ModuleList(
            DecoderLayer(in_channels, heads, mlp_ratio, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(in_channels)
        self.head = nn.Linear(in_channels, self.out_channels)
        self.characters = nn.Embedding(self.out_channels, in_channels)
        # The known character before the first one: nothing.
        self.start = nn.Parameter(torch.zeros(1, 1, in_channels))
        self.places = nn.Parameter(torch.zeros(1, self.steps, in_channels))
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Start with small weights, as transformers are started."""
        start_small(self)
        for weights in (self.characters.weight, self.places):
            nn.init.trunc_normal_(weights, std=0.02)
        # As wide as a character is when it is embedded.
        nn.init.trunc_normal_(self.start, std=0.02 * self.start.shape[2] ** 0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Write texts, in the way that the arguments of the class say.

        Args:
            features: (B, T, D').

        Returns:
            Scores (B, steps, classes). Steps may be missing after the end of every text.
        """
        looked_at = self._looked_at(features)
        if self.autoregressive:
            scores = self._one_by_one(features, looked_at)
        else:
            scores = self._at_once(features, looked_at)
        for _ in range(self.refinements):
            scores = self._again(scores.argmax(dim=2), looked_at)
        return scores

    def losses(self, features: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of each label's characters and end, and their number.

        A training step sums them over several orders. The ends count in the first two alone.
        Otherwise, the order is from left to right.

        Raises:
            HanlineError: a label is too long.
        """
        targets = end_targets(labels, self.charset, self.special_classes, END)
        length = targets.shape[1]
        if length > self.steps:
            raise HanlineError(
                f"max_label_length={self.steps - 1}: expected labels of at most as many "
                f"characters, but one has {length - 1}. Raise it"
            )
        targets = targets.to(features.device)
        known = self._known(targets.clamp_min(END)[:, :-1])
        # The place before the first character is always known, ends never are.
        is_known = F.pad(targets[:, :-1] >= self.special_classes, (1, 0), value=True)
        looked_at = self._looked_at(features)
        orders = drawn_orders(length - 1, self.orders if self.training else 1)
        total = features.new_zeros(len(labels), dtype=torch.float32)
        count = torch.zeros_like(total, dtype=torch.int64)
        for number, order in enumerate(orders):
            counted = targets != AFTER_END
            if number >= 2:
                counted &= targets != END
            rank = _ranks(order, number == 1).to(features.device)
            before = rank[:-1] < rank[1:].unsqueeze(1)
            known_before = rank[:-1] <= rank[:-1].unsqueeze(1)
            scores = self._scores(
                known,
                looked_at,
                self.places[:, :length].expand(len(labels), -1, -1),
                before & is_known[:, None, None],
                known_before & is_known[:, None, None],
            )
            losses = F.cross_entropy(
                scores.float().transpose(1, 2), targets.clamp_min(END), reduction="none"
            )
            total = total + losses.where(counted, 0.0).sum(dim=1)
            count = count + counted.sum(dim=1)
        return total, count

    def decode(self, scores: Tensor) -> tuple[list[str], list[float]]:
        """Decode scores (B, steps, classes) to B texts and their confidences."""
        return ended_texts(scores, self.charset, self.special_classes, END, self.steps)

    def best_classes(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, T, D') to classes and probabilities (B, max_label_length + 1).

        A loop in the graph ends when every text has. The steps that it does not take have the class
        END and probability 1.
        """
        # A loop takes no two tensors that share their memory.
        looked_at = [(keys.clone(), values.clone()) for keys, values in self._looked_at(features)]
        if self.autoregressive:
            classes, probabilities = self._loop(features, looked_at)
        else:
            probabilities, classes = self._at_once(features, looked_at).softmax(dim=2).max(dim=2)
        for _ in range(self.refinements):
            probabilities, classes = self._again(classes, looked_at).softmax(dim=2).max(dim=2)
        return classes, probabilities

    def _loop(self, features: Tensor, looked_at: list[LookedAt]) -> tuple[Tensor, Tensor]:
        """Return classes and probabilities (B, steps) of reading from left to right, as a graph."""
        steps, batch = self.steps, features.shape[0]
        positions = torch.arange(steps)

        def going(step: Tensor, ended: Tensor, *rest: Tensor) -> Tensor:
            return (step < steps) & ~ended.all()

        def take_step(step: Tensor, ended: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            classes, probabilities = rest
            place = self.places.index_select(1, step.unsqueeze(0)).expand(batch, -1, -1)
            before = (positions <= step).view(1, 1, 1, steps)
            among = positions <= positions.unsqueeze(1)
            known = self._known(classes[:, :-1])
            scores = self._scores(known, looked_at, place, before, among)
            best, written = scores[:, 0].softmax(dim=1).max(dim=1)
            here = positions == step
            classes = torch.where(here, written.unsqueeze(1), classes)
            probabilities = torch.where(here, best.unsqueeze(1), probabilities)
            return step + 1, ended | (written == END), classes, probabilities

        outcome = torch.while_loop(
            going,
            take_step,
            (
                torch.zeros((), dtype=torch.int64),
                torch.zeros(batch, dtype=torch.bool),
                torch.full((batch, steps), END),
                torch.ones(batch, steps),
            ),
        )
        return outcome[2], outcome[3]

    def _one_by_one(self, features: Tensor, looked_at: list[LookedAt]) -> Tensor:
        """Return scores (B, steps, classes), each step with the characters before it known."""
        batch, device = len(features), features.device
        known = self.start.expand(batch, -1, -1)
        ended = torch.zeros(batch, dtype=torch.bool, device=device)
        scores = []
        for step in range(self.steps):
            among = torch.ones(step + 1, step + 1, dtype=torch.bool, device=device).tril()
            place = self.places[:, step : step + 1].expand(batch, -1, -1)
            scores.append(self._scores(known, looked_at, place, None, among))
            written = scores[-1][:, 0].argmax(dim=1)
            ended |= written == END
            if bool(ended.all()) or step == self.steps - 1:
                break
            character = self._placed(written.unsqueeze(1), step)
            known = torch.cat([known, character], dim=1)
        return torch.cat(scores, dim=1)

    def _at_once(self, features: Tensor, looked_at: list[LookedAt]) -> Tensor:
        """Return scores (B, steps, classes), no character known."""
        batch = features.shape[0]
        known = self.start.expand(batch, -1, -1)
        return self._scores(known, looked_at, self.places.expand(batch, -1, -1), None, None)

    def _again(self, classes: Tensor, looked_at: list[LookedAt]) -> Tensor:
        """Return scores (B, steps, classes) of a text that is known, but for the character itself.

        Args:
            classes: int64 (B, steps), the text as it was read.
            looked_at: the keys and values of the features.
        """
        batch, steps = classes.shape
        positions = torch.arange(steps, device=classes.device)
        others = positions != positions.unsqueeze(1) + 1
        ended = (classes[:, :-1] == END).cumsum(dim=1) > 0
        is_known = F.pad(~ended, (1, 0), value=True)[:, None, None]
        among = positions <= positions.unsqueeze(1)
        return self._scores(
            self._known(classes[:, :-1]),
            looked_at,
            self.places[:, :steps].expand(batch, -1, -1),
            others & is_known,
            among & is_known,
        )

    def _looked_at(self, features: Tensor) -> list[LookedAt]:
        """Return the keys and values of the features for each layer."""
        # A ModuleList does not know the type of its layers.
        return [layer.image.looked_at(features) for layer in self.layers]  # type: ignore[union-attr, operator]

    def _known(self, classes: Tensor) -> Tensor:
        """Return the start and embedded characters (B, 1 + n, D') of classes (B, n)."""
        start = self.start.expand(classes.shape[0], -1, -1)
        return torch.cat([start, self._placed(classes, 0)], dim=1)

    def _placed(self, classes: Tensor, first: int) -> Tensor:
        """Return characters (B, n, D') embedded with their places, from the place ``first``."""
        places = self.places[:, first : first + classes.shape[1]]
        return places + self.characters(classes) * self.start.shape[2] ** 0.5

    def _scores(
        self,
        known: Tensor,
        looked_at: list[LookedAt],
        places: Tensor,
        mask: Tensor | None,
        known_mask: Tensor | None,
    ) -> Tensor:
        """Return the scores (B, M, classes) of the characters at some places.

        Args:
            known: (B, L, D'), the start and embedded characters.
            looked_at: the keys and values of the features.
            places: (B, M, D'), the places whose characters are asked for.
            mask: bool, broadcast to (B, heads, M, L): which known ones a place may look at. None:
                all.
            known_mask: the same for the known ones (B, heads, L, L) among themselves.
        """
        known, places = self.dropout(known), self.dropout(places)
        for number, (layer, image) in enumerate(zip(self.layers, looked_at, strict=True)):
            places_after = layer(places, known, image, mask)
            if number < len(self.layers) - 1:
                known = layer(known, known, image, known_mask)
            places = places_after
        scores: Tensor = self.head(self.norm(places))
        return scores


class DecoderLayer(nn.Module):
    """Look at the known characters, then at the image, then think about it; pre-norm.

    Args:
        width: of the input and the output.
        heads: the number of attention heads.
        mlp_ratio: the small network's hidden width as a multiple of ``width``.
        dropout: the share of values that a training step sets to 0.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.place_norm = nn.LayerNorm(width)
        self.known_norm = nn.LayerNorm(width)
        self.text = CrossAttention(width, heads, dropout)
        self.image_norm = nn.LayerNorm(width)
        self.image = CrossAttention(width, heads, dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, places: Tensor, known: Tensor, image: LookedAt, mask: Tensor | None
    ) -> Tensor:
        """Map places (B, M, width) to the same shape; see :meth:`PARSeqPrediction._scores`."""
        # The known characters look at one another as known ones do, under their own norm.
        own_norm = self.known_norm if places is known else self.place_norm
        looked_at = self.text.looked_at(self.known_norm(known))
        places = places + self.dropout(self.text(own_norm(places), looked_at, mask))
        places = places + self.dropout(self.image(self.image_norm(places), image))
        result: Tensor = places + self.dropout(self.mlp(self.mlp_norm(places)))
        return result


def drawn_orders(length: int, count: int) -> list[list[int]]:
    """Return orders of the characters of a label, in which each is followed by its mirror image.

    The first goes from left to right. The others are random, and no short one is drawn twice.

    Args:
        length: the number of characters.
        count: the most orders; 1 for the first alone.
    """
    forward = list(range(length))
    if count == 1 or length < 2:
        return [forward]
    pairs = count // 2 - 1
    if length <= _SHORT:
        # One of each order and its mirror image.
        pool = [list(p) for p in itertools.permutations(forward) if p[0] < p[-1]][1:]
        drawn = [pool[i] for i in torch.randperm(len(pool))[:pairs].tolist()]
    else:
        drawn = [torch.randperm(length).tolist() for _ in range(pairs)]
    return [order for one in [forward, *drawn] for order in (one, one[::-1])]


def _ranks(order: list[int], end_first: bool) -> Tensor:
    """Return when each place becomes known: the start, the characters, the end; int64 (n + 2,).

    Args:
        order: the order of the characters.
        end_first: the end comes before the characters, so that it is learned from nothing; else
            after them.
    """
    characters = torch.empty(len(order), dtype=torch.int64)
    characters[order] = torch.arange(len(order)) + (2 if end_first else 1)
    end = 1 if end_first else len(order) + 1
    return torch.cat([torch.tensor([0]), characters, torch.tensor([end])])
