"""Embeds what routing reads, by the configured encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from promptyard_worker.routing.cache import UtteranceCache
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.encoders.base import ArrayEncoder, Vectors, normalised
from promptyard_worker.routing.encoders.loading import load_encoder
from promptyard_worker.routing.reading import Reading, pieces_of
from promptyard_worker.routing.services import Services

__all__ = ["ReadingEmbedder", "build_embedder", "normalised"]

#: Images of one prompt that are embedded: those after say little more.
MOST_IMAGES: Final = 6
#: Embedded to learn the length of a vector, where nothing else has been.
_PROBE: Final = "Hello."


class ReadingEmbedder:
    """One row of length 1 a reading; zero where the encoder knows nothing of it."""

    def __init__(self, encoder: ArrayEncoder, *, cache: UtteranceCache | None = None) -> None:
        """Take an encoder.

        Args:
            encoder: embeds prompts, and images if it can.
            cache: keeps embeddings of utterances between starts; None: they are not kept.
        """
        self.encoder = encoder
        self._cache = cache
        self._dimensions: int | None = None

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        if self._dimensions is None:
            self._dimensions = self.embed_utterances([_PROBE]).shape[1]
        return self._dimensions

    def embed(self, readings: Sequence[Reading]) -> Vectors:
        """Embed the requests, and the images where the encoder can; half text, half images."""
        if self.encoder.reads_pieces:
            vectors = self._noted(self.encoder.encode_pieces(pieces_of(readings)))
        else:
            vectors = self.embed_texts([reading.request for reading in readings])
        if self.encoder.embeds_images and any(reading.images for reading in readings):
            return normalised(vectors + self._of_images(readings))
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; the encoder does not see blank ones."""
        rows = [row for row, text in enumerate(texts) if text and not text.isspace()]
        if not rows:
            return np.zeros((len(texts), self.dimensions), dtype=np.float32)
        if len(rows) == len(texts):
            return self._noted(self.encoder.encode(texts))
        found = self._noted(self.encoder.encode([texts[row] for row in rows]))
        vectors = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
        vectors[rows] = found
        return vectors

    def embed_utterances(self, texts: Sequence[str]) -> Vectors:
        """Embed example prompts; those of an earlier start cost no call."""
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        if self._cache is None:
            return self._noted(self.encoder.encode_utterances(texts))
        return self._noted(self._cache.vectors(texts, self.encoder.encode_utterances))

    def _of_images(self, readings: Sequence[Reading]) -> Vectors:
        """The mean of each reading's images; zero without one."""
        images = [reading.images[:MOST_IMAGES] for reading in readings]
        owners = [row for row, own in enumerate(images) for _ in own]
        sums = np.zeros((len(readings), self.dimensions), dtype=np.float32)
        found = self.encoder.encode_images([image for own in images for image in own])
        if found.shape[1]:  # else none of them could be read
            np.add.at(sums, owners, found)
        return normalised(sums)

    def _noted(self, vectors: Vectors) -> Vectors:
        self._dimensions = vectors.shape[1]
        return vectors


def build_embedder(config: RouterConfig, services: Services) -> ReadingEmbedder:
    """The embedder of a policy.

    Raises:
        RouterFileError: the encoder is not installed, or cannot be built.
    """
    encoder = load_encoder(config.encoder, services)
    # The static encoder has no identity: it embeds quicker than a file is read.
    if services.cache_folder is None or encoder.identity is None:
        return ReadingEmbedder(encoder)
    return ReadingEmbedder(encoder, cache=UtteranceCache(services.cache_folder, encoder.identity))
