"""What the learned router looks at: words of the request, its look, its meaning.

* hashed word-piece n-grams in four views: the whole text, its first part, its last part,
  and the words before the last question mark (feature hashing: Weinberger et al., 2009,
  arXiv 0902.2206). Views do not share weights: "translate" means one thing as the first
  word of a request and another in the middle of a passage.
* hashed character n-grams of scripts other than Latin, in three views: of these the
  tokenizer knows some characters and few words.
* surface: lengths, kinds of characters, scripts, marks of code, tables and questions.
* the embedding of the policy's encoder.

Everything is computed for a chunk at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptyard_worker.routing.learned.surface import surface
from promptyard_worker.routing.pieces import Ids, Pieces, embedded_reader
from promptyard_worker.routing.stage import Vectors

#: Changes whenever the same text would give other features: fitted files name it.
VERSION: Final = 2
#: Hash buckets of all n-grams.
BUCKET_BITS: Final = 21
BUCKETS: Final = 1 << BUCKET_BITS
#: Pieces of the first and last part that count, and of a question.
_PART_PIECES: Final = 40
_QUESTION_PIECES: Final = 24
#: Characters of the first and last part that count.
_PART_CHARS: Final = 80
#: Scripts from Greek on; what comes before is Latin and its signs.
_OTHER_SCRIPTS_FROM: Final = 0x370
#: Punctuation, symbols and what has no width, from and up to.
_SIGNS: Final = (0x2000, 0x2E80)
_BYTE_ORDER_MARK: Final = 0xFEFF
#: Bits for the number of a view.
_VIEW_BITS: Final = 3
#: ASCII, full-width, Arabic.
_QUESTION_MARKS: Final = ("?", "？", "؟")

Dense = NDArray[np.float32]


@dataclass(frozen=True)
class Grams:
    """The n-grams of a chunk as a sparse matrix in coordinate form."""

    #: Row of each entry, ascending.
    rows: NDArray[np.int64]
    #: Bucket of each entry, below ``BUCKETS``.
    columns: NDArray[np.int64]
    #: One over the root of how many different n-grams the row's view has.
    values: Dense


@dataclass(frozen=True)
class Features:
    """The features of a chunk."""

    grams: Grams
    #: [n, surface features]
    surface: Dense
    #: [n, dimensions of the encoder]
    vectors: Vectors

    @property
    def dense(self) -> Dense:
        """Surface and embedding beside each other."""
        return np.hstack([self.surface, self.vectors])


def features(pieces: Sequence[Pieces], vectors: Vectors) -> Features:
    """The features of some texts.

    Args:
        pieces: the texts.
        vectors: their embeddings, one row each.
    """
    return Features(grams(pieces), surface(pieces), vectors)


def joined(parts: Sequence[Features]) -> Features:
    """The features of several chunks as those of one."""
    starts = np.cumsum([0, *(len(part.surface) for part in parts)])
    return Features(
        grams=Grams(
            rows=np.concatenate(
                [part.grams.rows + start for part, start in zip(parts, starts[:-1], strict=True)]
            ),
            columns=np.concatenate([part.grams.columns for part in parts]),
            values=np.concatenate([part.grams.values for part in parts]),
        ),
        surface=np.vstack([part.surface for part in parts]),
        vectors=np.vstack([part.vectors for part in parts]),
    )


def grams(pieces: Sequence[Pieces]) -> Grams:
    """The hashed n-grams of some texts."""
    wholes = [one.whole for one in pieces]
    firsts = [one.first[:_PART_PIECES] for one in pieces]
    lasts = [(one.last if len(one.last) else one.first)[-_PART_PIECES:] for one in pieces]
    marks = _question_mark_ids()
    questions = [_question(ids, marks) for ids in wholes]
    keys = np.concatenate(
        [
            np.zeros(0, dtype=np.int64),  # no text of the chunk may have a piece
            *_keys(wholes, view=0, sizes=range(1, 3)),
            *_keys(firsts, view=1, sizes=range(1, 4)),
            *_keys(lasts, view=2, sizes=range(1, 4)),
            *_keys(questions, view=3, sizes=range(1, 3)),
            *_character_keys(pieces),
        ]
    )
    # A text says a thing or not; how often depends on its length.
    keys = _different(keys)
    places = keys >> BUCKET_BITS  # row and view
    counts = np.bincount(places, minlength=len(pieces) << _VIEW_BITS)
    values = (1.0 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
    return Grams(rows=places >> _VIEW_BITS, columns=keys & (BUCKETS - 1), values=values[places])


def _character_keys(pieces: Sequence[Pieces]) -> list[Ids]:
    """Of the characters of other scripts: the whole, the first part, the last part."""
    if all(one.text.isascii() for one in pieces):
        return []
    codes = [_other_script(one.text) for one in pieces]
    paired = list(zip(pieces, codes, strict=True))
    firsts = [own[: min(one.first_chars, _PART_CHARS)] for one, own in paired]
    lasts = [own[-min(one.last_chars or one.first_chars, _PART_CHARS) :] for one, own in paired]
    found = _keys(codes, view=4, sizes=range(2, 4))
    found += _keys(firsts, view=5, sizes=range(1, 4))
    return found + _keys(lasts, view=6, sizes=range(1, 4))


def _other_script(text: str) -> Ids:
    """Code points, 0 for Latin ones; none of a text that has no other."""
    if text.isascii():
        return np.zeros(0, dtype=np.int64)
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    is_sign = (codes >= _SIGNS[0]) & (codes < _SIGNS[1])
    codes[(codes < _OTHER_SCRIPTS_FROM) | is_sign | (codes == _BYTE_ORDER_MARK)] = 0
    return codes


def _different(keys: Ids) -> Ids:
    """As np.unique, which hashes first: this takes a tenth of its time."""
    keys.sort()
    is_new = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
    return keys[is_new]


@lru_cache(maxsize=1)
def _question_mark_ids() -> tuple[int, ...]:
    found = (embedded_reader().piece_id(mark) for mark in _QUESTION_MARKS)
    return tuple(piece for piece in found if piece is not None)


def _question(ids: Ids, marks: tuple[int, ...]) -> Ids:
    """The pieces up to the last question mark."""
    places = np.flatnonzero(np.logical_or.reduce([ids == mark for mark in marks]))
    if not len(places):
        return ids[:0]
    end = int(places[-1]) + 1
    return ids[max(0, end - _QUESTION_PIECES) : end]


def _keys(texts: Sequence[Ids], *, view: int, sizes: range) -> list[Ids]:
    """Row, view and bucket of every n-gram, in one number each; none that holds a 0."""
    lengths = np.array([len(ids) for ids in texts], dtype=np.int64)
    ids = np.concatenate(texts) if len(texts) else np.zeros(0, dtype=np.int64)
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    place = (rows << _VIEW_BITS | view) << BUCKET_BITS
    is_gap = ids == 0
    found = []
    for n in sizes:
        if len(ids) < n:
            break
        # n-grams do not cross from one text into the next
        inside = rows[: len(rows) - n + 1] == rows[n - 1 :]
        for step in range(n):
            inside &= ~is_gap[step : len(ids) - n + 1 + step]
        mixed = np.full(int(inside.sum()), view << _VIEW_BITS | n, dtype=np.uint64)
        for step in range(n):
            mixed = _mix(mixed ^ ids[step : len(ids) - n + 1 + step][inside].astype(np.uint64))
        bucket = (mixed & np.uint64(BUCKETS - 1)).astype(np.int64)
        found.append(place[: len(place) - n + 1][inside] | bucket)
    return found


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of MurmurHash3 (public domain, Austin Appleby), one round."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return values ^ (values >> np.uint64(33))
