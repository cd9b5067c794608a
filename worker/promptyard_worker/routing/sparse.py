"""Exact words beside meaning: BM25 of prompts against utterances, a whole chunk at once.

The formula is that of semantic-router's ``BM25Encoder``: ATIRE BM25 (Trotman, Jia and Crane
2012, "Towards an Efficient and Effective Search Engine", section 4.1)

    sum over the words t of a prompt:  log(N / df_t) * (k1 + 1) tf / (k1 (1 - b + b L / L_avg) + tf)

with the three deviations that the library documents: the weight of a word is
log((N + 1) / (df + 0.5)), always above 0; the weights of a prompt's words add up to
1 / (k1 + 1), so that a score is 0 to 1 as a cosine is; k1 = 1.5 and b = 0.75.

The library's own encoder makes an array of batch x vocabulary for each step and compares
dictionaries, utterance by utterance, and its tokenizer is a download. Here the words are
the pieces of the embedded tokenizer, and what utterances have of a word is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptyard_worker.routing.pieces import Ids, Pieces, embedded_reader

#: How soon a word that is repeated counts no more, and how much a long utterance is held back.
K1: Final = 1.5
B: Final = 0.75
#: A word that more than this part of the utterances have is kept as a row for all of them:
#: with 3,000 utterances a prompt costs 17 us so, 115 us if every word is looked up.
_COMMON: Final = 0.05
#: Ids of the tokenizer's own marks: padding, and what it does not know, which is no one word.
_MARKS: Final = 2

Scores = NDArray[np.float32]
Floats = NDArray[np.float64]


def words_of(pieces: Pieces) -> Ids:
    """The pieces of a text that count as words."""
    whole = pieces.whole
    return whole[whole >= _MARKS]


def read_words(texts: Sequence[str]) -> list[Ids]:
    """The words of some texts."""
    return [words_of(pieces) for pieces in embedded_reader().read(texts)]


class WordIndex:
    """Scores texts by the words they share with some documents."""

    def __init__(self, documents: Sequence[Ids]) -> None:
        """Count the words.

        Args:
            documents: the words of each.
        """
        self._size = size = len(documents)
        lengths, owners, ids = _joined(documents)
        keys, counts = np.unique(ids * size + owners, return_counts=True)
        entries, owners = np.divmod(keys, size or 1)
        terms, starts, spread = np.unique(entries, return_index=True, return_counts=True)
        held_back = K1 * (1 - B + B * lengths / (lengths.mean() if len(keys) else 1))
        # the entries of a term lie side by side: whose they are, and what they weigh there
        self._owners = owners
        self._weights = (K1 + 1) * counts / (held_back[owners] + counts)
        self._starts, self._spread = starts, spread
        self._rarity: Floats = np.log((size + 1) / (spread + 0.5))
        self._term_of = np.full(int(terms.max(initial=0)) + 2, -1)
        self._term_of[terms] = np.arange(len(terms))
        self._fill_common()

    def scores(self, texts: Sequence[Ids]) -> Scores:
        """Score of every text (rows) for every document (columns), 0 to 1."""
        rows, terms, weights = self._weighted(texts)
        slots = self._slot_of[terms]
        common = slots >= 0
        query = np.zeros((len(texts), len(self._common)), dtype=np.float32)
        query[rows[common], slots[common]] = weights[common]
        rare = ~common
        looked_up = self._looked_up(rows[rare], terms[rare], weights[rare], len(texts))
        return np.asarray(query @ self._common + looked_up, dtype=np.float32)

    def _fill_common(self) -> None:
        common = np.flatnonzero(self._spread > _COMMON * self._size)
        self._slot_of = np.full(len(self._spread), -1)
        self._slot_of[common] = np.arange(len(common))
        self._common = np.zeros((len(common), self._size), dtype=np.float32)
        for slot, term in enumerate(common):
            span = slice(self._starts[term], self._starts[term] + self._spread[term])
            self._common[slot, self._owners[span]] = self._weights[span]

    def _weighted(self, texts: Sequence[Ids]) -> tuple[Ids, Ids, Floats]:
        """Row, term and weight of each different word of the texts that a document has."""
        _, rows, ids = _joined(texts)
        terms = self._term_of[np.minimum(ids, len(self._term_of) - 1)]
        known = terms >= 0
        count = len(self._spread) or 1
        keys, times = np.unique(rows[known] * count + terms[known], return_counts=True)
        rows, terms = np.divmod(keys, count)
        weights = self._rarity[terms] * times
        totals = np.bincount(rows, weights, minlength=len(texts))
        return rows, terms, weights / (totals[rows] * (K1 + 1))

    def _looked_up(self, rows: Ids, terms: Ids, weights: Floats, texts: int) -> Floats:
        """What words that few documents have add to the scores."""
        spread = self._spread[terms]
        first = np.cumsum(spread) - spread
        entries = np.arange(spread.sum()) + np.repeat(self._starts[terms] - first, spread)
        cells = np.repeat(rows * self._size, spread) + self._owners[entries]
        added = np.repeat(weights, spread) * self._weights[entries]
        found = np.bincount(cells, added, minlength=texts * self._size)
        return np.asarray(found.reshape(texts, self._size), dtype=np.float64)


def _joined(texts: Sequence[Ids]) -> tuple[Ids, Ids, Ids]:
    """Length of each text; row and id of each word of them all."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    return lengths, rows, np.concatenate(texts) if len(texts) else rows
