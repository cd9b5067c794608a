"""What an encoder of ours does beside what semantic-router asks of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from semantic_router.encoders.base import AsymmetricDenseMixin, DenseEncoder

if TYPE_CHECKING:
    from promptyard_worker.routing.pieces import Pieces

Vectors = NDArray[np.float32]


class ArrayEncoder(DenseEncoder, AsymmetricDenseMixin):
    """Gives arrays, whose rows have length 1 (zero: nothing known); lists to the library."""

    @property
    def embeds_images(self) -> bool:
        """Whether ``encode_images`` may be asked."""
        return False

    @property
    def reads_pieces(self) -> bool:
        """Whether ``encode_pieces`` may be asked."""
        return False

    @property
    def identity(self) -> str | None:
        """What the vectors depend on; None: embedding is cheaper than reading a file."""
        return None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a prompt."""
        raise NotImplementedError

    def encode_pieces(self, pieces: Sequence[Pieces]) -> Vectors:
        """One row a prompt that is split already."""
        raise NotImplementedError

    def encode_utterances(self, texts: Sequence[str]) -> Vectors:
        """One row an example prompt, at the start of a worker."""
        return self.encode(texts)

    def encode_images(self, images: Sequence[bytes]) -> Vectors:
        """One row an image file; zero for one that cannot be read."""
        raise NotImplementedError

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """As semantic-router wants it."""
        return self.encode_queries(docs)

    def encode_queries(self, docs: list[str]) -> list[list[float]]:
        """As semantic-router wants it."""
        rows: list[list[float]] = self.encode([str(doc) for doc in docs]).tolist()
        return rows

    def encode_documents(self, docs: list[str]) -> list[list[float]]:
        """As semantic-router wants it."""
        rows: list[list[float]] = self.encode_utterances([str(doc) for doc in docs]).tolist()
        return rows


def normalised(vectors: Vectors) -> Vectors:
    """Rows of length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def readable(text: str, most_chars: int) -> str:
    """The text as tokenizers and JSON take it: bounded, and without lone surrogates."""
    text = text[:most_chars]
    if text.isascii():
        return text
    # A lone surrogate would fail the whole chunk, not just its own job.
    return text.encode("utf-8", "replace").decode("utf-8")
