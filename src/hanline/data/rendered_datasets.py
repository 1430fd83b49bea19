"""Sets that are drawn from a corpus, and remember what made them."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanline import __version__
from hanline.data.dataset_writer import SetWriter, write_lock
from hanline.data.lmdb_store import LMDBWriter
from hanline.data.shards import Shard, digest
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.system.progress import progress
from hanline.text.charset import Charset
from hanline.text.corpus import Corpus, Texts, describe_counts

logger = logging.getLogger(__name__)


@dataclass
class RenderedDatasets:
    """A training and a validation set drawn from a corpus, made where they are missing.

    Either stands in ``folder`` under a name that ends in a hash of all that decides its pictures:
    the texts, the look, the fonts, the seed. Change one of these, and another set is made beside.

    Args:
        folder: where the sets are kept.
        texts: what is drawn.
        synthesis: how.
    """

    folder: Path
    texts: Texts
    synthesis: DatasetRenderer

    def path(self, part: str) -> Path:
        """Where the set of a part, ``train`` or ``validation``, is or will be."""
        return self.folder / f"{part}-{digest(self.facts(part))[:12]}"

    def facts(self, part: str) -> dict[str, Any]:
        """What decides the pictures of a part's set."""
        texts = self._texts(part)
        return {
            "part": part,
            "samples": len(texts),
            "texts": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
            **self.synthesis.digest_parts(),
        }

    def make(self, part: str) -> Path:
        """Draw the set of a part unless it is there; go on where an earlier run stopped."""
        path = self.path(part)
        # Runs of a sweep may want the same set at the same time.
        with write_lock(path):
            if not path.exists():
                writer = LMDBWriter(path, resume=True)
                draw(self._texts(part), self.synthesis, writer, self.facts(part))
                logger.info("drew the %s set %s", part, path)
        return path

    def _texts(self, part: str) -> list[str]:
        return self.texts.train if part == "train" else self.texts.validation


def draw(
    texts: Sequence[str],
    synthesis: DatasetRenderer,
    writer: SetWriter,
    facts: dict[str, Any],
    shard: Shard | None = None,
) -> Path:
    """Draw texts into a set, from where the writer stands.

    Args:
        facts: what decides the pictures, as :meth:`RenderedDatasets.facts` has it.
        shard: which of the texts are drawn; None draws all.

    Returns:
        Where the finished set is.

    Raises:
        HanlineError: what an earlier run has left there is of other facts.
    """
    part = shard.part(len(texts)) if shard else range(len(texts))
    writer.begin({**facts, "shards": [shard.number, shard.of]} if shard else facts)
    with progress("drawing texts", len(part), writer.done) as advance:
        for samples in synthesis.draw(texts, start=part.start + writer.done, stop=part.stop):
            writer.add([(sample.image, sample.label) for sample in samples])
            advance(len(samples))
    provenance = {"samples": writer.done, "shard": shard.note(facts)} if shard else facts
    return writer.finish({"made_by": f"hanline {__version__}", **provenance})


def choose_texts(
    corpus: Corpus,
    charset: Charset,
    synthesis: DatasetRenderer,
    train_samples: int | None,
    validation_samples: int | None,
) -> Texts:
    """Cut the corpus into texts that the charset has and the fonts can draw, and say what fell."""
    texts = corpus.texts(
        charset.covers, synthesis.fonts.can_draw, train_samples, validation_samples
    )
    logger.info(
        "corpus: %d texts for training, %d for validation; dropped %s",
        len(texts.train),
        len(texts.validation),
        describe_counts(texts.dropped),
    )
    return texts
