"""The embedded encoder: a static table of word pieces.

A text's vector is the normalised mean of its pieces' rows, which is what model2vec computes,
to the last bit. The pieces of a prompt are read once, for this and for the stages that look
at words, so its vector costs 10 us more. Another table of the same kind is read by model2vec
itself, with the tokenizer that it brings. No network, ever: a table is a folder, and a folder
that is not there is an error, not a download.

Of a long text its beginning and its end are read (``pieces.cut``), so that a prompt of 1 MB
costs no more than one of 1.6 kB. Measured on 9,978 labelled prompts, all / the 1,963 longer
than 1,000 characters: with the shipped utterances 0.469 / 0.390, reading only the first 1,000
characters 0.470 / 0.395; by a regression over the vectors, whole sources left out, 0.499 /
0.447 and 0.498 / 0.428.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr
from safetensors.numpy import load_file

from promptyard.errors import RouterFileError
from promptyard_worker.routing.encoders.base import ArrayEncoder, Vectors, normalised
from promptyard_worker.routing.pieces import EMBEDDED, Ids, Pieces, cut, embedded_reader

if TYPE_CHECKING:
    from model2vec import StaticModel

_UNKNOWN: Final = "[UNK]"


class _Table(Protocol):
    dimensions: int

    def of_texts(self, texts: Sequence[str]) -> Vectors: ...


class StaticEncoder(ArrayEncoder):
    """A semantic-router encoder over the embedded table, or another one of its kind."""

    name: str = "static"
    type: str = "static"
    _table: _Table = PrivateAttr()

    def __init__(self, path: Path | None = None) -> None:
        """Read the table, once per process.

        Args:
            path: folder of a model2vec table; None: the embedded one.

        Raises:
            RouterFileError: there is no table.
        """
        super().__init__(name="static", type="static")
        self._table = _embedded_table() if path is None else _read_table(path.absolute())

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._table.dimensions

    @property
    def reads_pieces(self) -> bool:
        """Whether the pieces of ``pieces.py`` are those of the table."""
        return isinstance(self._table, _EmbeddedTable)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row per text, of length 1.

        A text without a known word piece (empty, or only signs the table lacks) has the
        zero vector: it is near nothing, and no NaN gets into the scores.
        """
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return self._table.of_texts(texts)

    def encode_pieces(self, pieces: Sequence[Pieces]) -> Vectors:
        """The same, of texts that are split already; if ``reads_pieces``."""
        if not isinstance(self._table, _EmbeddedTable):
            return self.encode([one.text for one in pieces])
        return self._table.of_ids([one.whole for one in pieces])


class _EmbeddedTable:
    """The table that comes with Promptyard."""

    def __init__(self) -> None:
        self._rows: NDArray[np.int8] = load_file(EMBEDDED / "model.safetensors")["embeddings"]
        self._unknown = embedded_reader().piece_id(_UNKNOWN)
        self.dimensions = self._rows.shape[1]

    def of_texts(self, texts: Sequence[str]) -> Vectors:
        return self.of_ids([one.whole for one in embedded_reader().read(texts)])

    def of_ids(self, texts: Sequence[Ids]) -> Vectors:
        sums = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        lengths = np.ones((len(texts), 1))
        for row, ids in enumerate(texts):
            known = ids[ids != self._unknown]
            if len(known):
                lengths[row] = len(known)
                # by the matrix library, which is quicker than sum; whole numbers, so it is exact
                ones = np.ones(len(known), dtype=np.float32)
                np.dot(ones, self._rows.take(known, axis=0).astype(np.float32), out=sums[row])
        return normalised((sums / lengths).astype(np.float32))


class _OtherTable:
    """A table that model2vec reads."""

    def __init__(self, model: StaticModel) -> None:
        self._model = model
        # model2vec sets the tokenizer's truncation in each call; the tokenizer refuses that
        # ("Already borrowed") while another thread uses it.
        self._lock = threading.Lock()
        self.dimensions = int(model.dim)

    def of_texts(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors = self._model.encode(
                [cut(text) for text in texts],
                max_length=None,  # the cut is ours
                normalize=True,
                use_multiprocessing=False,
            )
        return np.asarray(vectors, dtype=np.float32)


@lru_cache(maxsize=1)
def _embedded_table() -> _EmbeddedTable:
    return _EmbeddedTable()


@lru_cache(maxsize=4)
def _read_table(folder: Path) -> _OtherTable:
    # A missing folder would be taken for the name of a model to download.
    if not (folder / "model.safetensors").is_file():
        raise RouterFileError(
            f"encoder.path: {folder} is no folder of a model2vec table. "
            f"Name the folder that holds model.safetensors, or remove the key."
        )
    from model2vec import StaticModel

    # It warns where a README has no Hugging Face header.
    logging.getLogger("huggingface_hub.repocard").setLevel(logging.ERROR)
    return _OtherTable(StaticModel.from_pretrained(folder))
