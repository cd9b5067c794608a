"""Word pieces of what routing reads, cut where the request begins and ends.

The embedded tokenizer splits each request once; the static encoder, the learned stage and
the sparse side of the semantic stage all work on these pieces. What is asked mostly stands
in the first or the last line or sentence, around a passage, a table or code, so these two
are kept apart from the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Tokenizer

import promptyard_worker
from promptyard_worker.routing.wordpieces import Ids, WordPieces

__all__ = ["EMBEDDED", "Ids", "PieceReader", "Pieces", "cut", "embedded_reader"]

#: Characters read of a long text, from its start and from its end: a prompt of 1 MB costs
#: no more than one of 1.6 kB.
HEAD_CHARS: Final = 1200
TAIL_CHARS: Final = 400
#: A first or last line longer than this is cut at a sentence, in characters.
_LINE_CHARS: Final = 240
#: Shorter than this it says too little by itself ("Output:"), in characters.
_FIRST_AT_LEAST: Final = 12
_LAST_AT_LEAST: Final = 20
_SENTENCE_END: Final = re.compile(r"[.?!:;]\s|[。？！：；\n]")

EMBEDDED: Final = Path(promptyard_worker.__file__).parent / "embedding"


@dataclass(frozen=True, slots=True)
class Pieces:
    """One text in word pieces."""

    #: Every piece of the (cut) text.
    whole: Ids
    #: Those it begins and ends with.
    first: Ids
    last: Ids
    #: The cut text itself.
    text: str
    #: Characters of the text before it was cut.
    length: int
    #: Characters of the first and of the last part.
    first_chars: int
    last_chars: int


class PieceReader:
    """Cuts and splits texts; safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take a BERT tokenizer, whose settings change no more."""
        self._tokenizer = tokenizer
        self._words = WordPieces(tokenizer)

    def piece_id(self, piece: str) -> int | None:
        """The id of a piece; None if the tokenizer has none."""
        found: int | None = self._tokenizer.token_to_id(piece)
        return found

    def read(self, texts: Sequence[str]) -> list[Pieces]:
        """The pieces of each text, in order."""
        cuts = [cut(text) for text in texts]
        bounds = [_bounds(text) for text in cuts]
        parts = (
            part
            for text, (end, start) in zip(cuts, bounds, strict=True)
            for part in (text[:end], text[end:start], text[start:])
        )
        ids = iter(self._words.split(parts))
        return [
            Pieces(
                whole=np.concatenate((first := next(ids), next(ids), last := next(ids))),
                first=first,
                last=last,
                text=own,
                length=len(text),
                first_chars=end,
                last_chars=len(own) - start,
            )
            for text, own, (end, start) in zip(texts, cuts, bounds, strict=True)
        ]


@lru_cache(maxsize=1)
def embedded_reader() -> PieceReader:
    """Over the tokenizer that comes with Promptyard."""
    tokenizer = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return PieceReader(tokenizer)


def cut(text: str) -> str:
    """What is read of a text: head and tail, and no lone surrogate, which fails a whole chunk."""
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    text = text.strip()
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _bounds(text: str) -> tuple[int, int]:
    """Where the first part ends and the last begins."""
    end = _first_end(text)
    start = _last_start(text)
    return (end, start) if end <= start else (end, end)


def _first_end(text: str) -> int:
    """End of the first line or sentence that says enough."""
    newline = text.find("\n", _FIRST_AT_LEAST, _LINE_CHARS)
    limit = newline if newline >= 0 else min(len(text), _LINE_CHARS)
    if limit == len(text) and limit < _LINE_CHARS and newline < 0:
        return limit
    if newline >= 0:
        return newline
    found = _SENTENCE_END.search(text, _FIRST_AT_LEAST, _LINE_CHARS)
    return found.end() if found else text.rfind(" ", 0, limit) + 1 or limit


def _last_start(text: str) -> int:
    """Start of the last line or sentence that says enough."""
    low = max(0, len(text) - _LINE_CHARS)
    newline = text.rfind("\n", low, max(low, len(text) - _LAST_AT_LEAST))
    if newline >= 0:
        return newline + 1
    last = len(text) - _LAST_AT_LEAST
    ends = [found.end() for found in _SENTENCE_END.finditer(text, low, last)]
    if ends or not low:
        return ends[-1] if ends else low
    return text.find(" ", low - 1, last) + 1 or low
