"""Any dense encoder of semantic-router, or of the user's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from pydantic import PrivateAttr
from semantic_router.encoders.base import AsymmetricDenseMixin, DenseEncoder

from promptyard_worker.routing.encoders.base import ArrayEncoder, Vectors, normalised, readable

#: Documents of one call; vendors take 96 or more.
BATCH: Final = 96
#: Only the beginning of a text is read, in characters: the longest windows are 8,192 tokens.
HEAD_CHARS: Final = 20_000
#: Whose encoders take images beside texts.
_CLIP: Final = "semantic_router.encoders.clip"


class ForeignEncoder(ArrayEncoder):
    """Gives another encoder's vectors as arrays.

    One thread at a time: a tokenizer, for one, refuses a second.
    """

    _inner: DenseEncoder = PrivateAttr()
    _identity: str = PrivateAttr()
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, inner: DenseEncoder, *, identity: str) -> None:
        """Take the encoder.

        Args:
            inner: takes images as PIL images if it says ``embeds_images`` (CLIPEncoder does).
            identity: what its vectors depend on.
        """
        super().__init__(name=inner.name, type=inner.type)
        self._inner = inner
        self._identity = identity

    @property
    def embeds_images(self) -> bool:
        """Whether the encoder takes images beside texts."""
        parents = {parent.__module__ for parent in type(self._inner).__mro__}
        return bool(getattr(self._inner, "embeds_images", False)) or _CLIP in parents

    @property
    def identity(self) -> str:
        """As it was given."""
        return self._identity

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a prompt."""
        inner = self._inner
        call = inner.encode_queries if isinstance(inner, AsymmetricDenseMixin) else inner
        return self._rows([readable(text, HEAD_CHARS) for text in texts], call)

    def encode_utterances(self, texts: Sequence[str]) -> Vectors:
        """One row an example prompt."""
        inner = self._inner
        call = inner.encode_documents if isinstance(inner, AsymmetricDenseMixin) else inner
        return self._rows([readable(text, HEAD_CHARS) for text in texts], call)

    def encode_images(self, images: Sequence[bytes]) -> Vectors:
        """One row an image; zero for one that cannot be read."""
        from promptyard_worker.routing.encoders.pictures import open_picture

        pictures = [open_picture(image) for image in images]
        good = [row for row, picture in enumerate(pictures) if picture is not None]
        found = self._rows([pictures[row] for row in good], self._inner)
        vectors = np.zeros((len(images), found.shape[1]), dtype=np.float32)
        vectors[good] = found
        return vectors

    def _rows(self, docs: list[Any], call: Callable[[list[Any]], list[list[float]]]) -> Vectors:
        rows: list[list[float]] = []
        with self._lock:
            for start in range(0, len(docs), BATCH):
                rows.extend(call(docs[start : start + BATCH]))
        vectors = np.asarray(rows, dtype=np.float32).reshape(len(docs), -1 if docs else 0)
        # A row that is no number would win every comparison or none.
        return normalised(np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0))
