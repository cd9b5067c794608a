"""Splits texts into the word pieces of a BERT tokenizer, and remembers how words split.

Such a tokenizer (BertNormalizer, BertPreTokenizer, WordPiece) looks at one word at a time, so
the pieces of a text are those of its words, and prompts are made of the same words over and
over. Looking them up costs a sixth of tokenising the text: 25 us for 450 characters, not
150. A word of ASCII that is new is split here, any other by the tokenizer itself.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]

#: Characters of the words that are remembered: about 60,000 words, 15 MB.
_ROOM_CHARS: Final = 500_000
#: A longer run of letters is unknown to the tokenizer, in characters.
_LONGEST_RUN: Final = 100
_UNKNOWN: Final = "[UNK]"
#: Begins a piece that does not begin a run.
_INSIDE: Final = "##"
#: The tokenizer drops these; Python would take some of them for blanks.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
#: The tokenizer takes each of these for a word of its own.
_IDEOGRAPHS: Final = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
#: What a word of lower-case ASCII falls into.
_RUNS: Final = re.compile("[a-z0-9]+|[^a-z0-9]")


class WordPieces:
    """Splits texts; safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take a BERT tokenizer for lower case, whose settings change no more."""
        self._tokenizer = tokenizer
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._longest = max(map(len, self._vocabulary))
        self._unknown = self._vocabulary[_UNKNOWN]
        # in a text, "[PAD]" stands for itself
        self._marks = [mark.content for mark in tokenizer.get_added_tokens_decoder().values()]
        # the ids of a word's pieces, as the bytes of an array
        self._known: dict[str, bytes] = {}
        self._room_chars = _ROOM_CHARS

    def split(self, texts: Iterable[str]) -> list[Ids]:
        """The ids of the pieces of each text."""
        words = [_words(text) for text in texts]
        if self._room_chars <= 0:  # a thread that is at work goes on with the old one
            self._known, self._room_chars = {}, _ROOM_CHARS
        known = self._known
        fresh = {word for own in words for word in own if word not in known}
        if fresh:
            known.update(self._spelt(fresh))
            self._room_chars -= sum(map(len, fresh))
        spelt = [b"".join(map(known.__getitem__, own)) for own in words]
        ids = np.frombuffer(b"".join(spelt), dtype=np.int64)
        bounds = np.cumsum([0, *map(len, spelt)]) // ids.itemsize
        return [ids[start:end] for start, end in pairwise(bounds.tolist())]

    def _spelt(self, words: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        others = []
        for word in words:
            if word.isascii() and not ("[" in word and any(mark in word for mark in self._marks)):
                yield word, _stored(self._pieces(_RUNS.findall(word.lower())))
            else:
                others.append(word)
        split = self._tokenizer.encode_batch_fast(others, add_special_tokens=False)
        yield from ((word, _stored(one.ids)) for word, one in zip(others, split, strict=True))

    def _pieces(self, runs: Sequence[str]) -> list[int]:
        found: list[int] = []
        for run in runs:
            whole = self._vocabulary.get(run)
            found += self._parts(run) if whole is None else (whole,)
        return found

    def _parts(self, run: str) -> list[int]:
        """The longest piece that the run begins with, then of the rest, to its end."""
        if len(run) > _LONGEST_RUN:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(run):
            before = _INSIDE if start else ""
            end = min(len(run), start + self._longest)
            while (piece := self._vocabulary.get(before + run[start:end])) is None:
                end -= 1
                if end == start:
                    return [self._unknown]
            found.append(piece)
            start = end
        return found


def _words(text: str) -> list[str]:
    text = _CONTROLS.sub("", text)
    if not text.isascii():
        text = " ".join(_IDEOGRAPHS.split(text))
    return text.split()


def _stored(ids: Sequence[int]) -> bytes:
    return array("q", ids).tobytes()
