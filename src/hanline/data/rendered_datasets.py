"""Datasets that are rendered from a corpus, and remember what made them."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanline import __version__
from hanline.data.dataset_writer import DatasetWriter, NewSample, write_lock
from hanline.data.lmdb_writer import LMDBWriter
from hanline.data.shards import Shard, digest
from hanline.messages import describe_counts
from hanline.synthesis.dataset_renderer import DatasetRenderer
from hanline.system.progress import progress
from hanline.text.charset import Charset
from hanline.text.corpus import Corpus, Texts

logger = logging.getLogger(__name__)


@dataclass
class RenderedDatasets:
    """A training and a validation dataset rendered from a corpus, made if they are missing.

    Each is in ``folder`` under a name that ends in a hash of all that decides its pictures: the
    texts, the renderer, the fonts, the seed. If one of these changes, another dataset is made
    beside.

    Args:
        folder: where the datasets are kept.
        texts: the texts to render.
        synthesis: renders it.
    """

    folder: Path
    texts: Texts
    synthesis: DatasetRenderer

    def path(self, part: str) -> Path:
        """Return where the dataset of a part, ``train`` or ``validation``, is or will be."""
        return self.folder / f"{part}-{digest(self.fingerprint(part))[:12]}"

    def fingerprint(self, part: str) -> dict[str, Any]:
        """Return what decides the pictures of a part's dataset."""
        texts = self._texts(part)
        return {
            "part": part,
            "samples": len(texts),
            "texts": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
            **self.synthesis.digest_parts(),
        }

    def make(self, part: str) -> Path:
        """Render the dataset of a part unless it exists; go on where an earlier run stopped."""
        path = self.path(part)
        # Runs of a sweep may want the same dataset at the same time.
        with write_lock(path):
            if not path.exists():
                writer = LMDBWriter(path, resume=True)
                render(self._texts(part), self.synthesis, writer, self.fingerprint(part))
                logger.info("rendered the %s dataset %s", part, path)
        return path

    def _texts(self, part: str) -> list[str]:
        return self.texts.train if part == "train" else self.texts.validation


def render(
    texts: Sequence[str],
    synthesis: DatasetRenderer,
    writer: DatasetWriter,
    fingerprint: dict[str, Any],
    shard: Shard | None = None,
) -> Path:
    """Render texts into a dataset, from where the writer stopped.

    Args:
        texts: the texts to render.
        synthesis: renders it.
        writer: writes the dataset.
        fingerprint: what decides the pictures, as :meth:`RenderedDatasets.fingerprint` has it.
        shard: which of the texts are rendered; None renders all.

    Returns:
        Where the finished dataset is.

    Raises:
        HanlineError: what an earlier run has left there has another fingerprint.
    """
    part = shard.part(len(texts)) if shard else range(len(texts))
    writer.begin({**fingerprint, "shards": [shard.number, shard.of]} if shard else fingerprint)
    with progress("rendering texts", len(part), writer.done) as advance:
        for samples in synthesis.draw(texts, start=part.start + writer.done, stop=part.stop):
            writer.add([NewSample(s.image, s.label, s.positions) for s in samples])
            advance(len(samples))
    provenance = (
        {"samples": writer.done, "shard": shard.metadata(fingerprint)} if shard else fingerprint
    )
    return writer.finish({"made_by": f"hanline {__version__}", **provenance})


def choose_texts(
    corpus: Corpus,
    charset: Charset,
    synthesis: DatasetRenderer,
    train_samples: int | None,
    validation_samples: int | None,
) -> Texts:
    """Cut the corpus into texts of the charset that the fonts can render; log what was dropped."""
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
