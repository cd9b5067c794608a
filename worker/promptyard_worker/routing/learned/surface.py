"""How a text looks: lengths, kinds of characters, scripts, marks of code, tables, questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptyard_worker.routing.pieces import Pieces

#: Kinds of characters that are counted, by their code points (ends included).
_KINDS: Final[tuple[tuple[str, tuple[tuple[int, int], ...]], ...]] = (
    ("digit", ((0x30, 0x39),)),
    ("upper", ((0x41, 0x5A),)),
    ("lower", ((0x61, 0x7A),)),
    ("latin", ((0xC0, 0x24F),)),
    ("greek", ((0x370, 0x3FF),)),
    ("cyrillic", ((0x400, 0x52F),)),
    ("hebrew_arabic", ((0x590, 0x77F),)),
    ("indic", ((0x900, 0xDFF),)),
    ("thai_lao", ((0xE00, 0xEFF),)),
    ("kana", ((0x3040, 0x30FF),)),
    ("han", ((0x3400, 0x9FFF),)),
    ("hangul", ((0xAC00, 0xD7AF),)),
    ("space", ((0x20, 0x20),)),
    ("line", ((0x0A, 0x0A),)),
    ("tab", ((0x09, 0x09),)),
    ("full_stop", ((0x2E, 0x2E), (0x3002, 0x3002))),
    ("comma", ((0x2C, 0x2C), (0xFF0C, 0xFF0C), (0x3001, 0x3001))),
    ("question", ((0x3F, 0x3F), (0xFF1F, 0xFF1F), (0x61F, 0x61F))),
    ("exclamation", ((0x21, 0x21), (0xFF01, 0xFF01))),
    ("colon", ((0x3A, 0x3B), (0xFF1A, 0xFF1B))),
    ("quote", ((0x22, 0x22), (0x27, 0x27), (0x2018, 0x201F), (0x300C, 0x300F))),
    ("round", ((0x28, 0x29),)),
    ("square", ((0x5B, 0x5B), (0x5D, 0x5D))),
    ("brace", ((0x7B, 0x7B), (0x7D, 0x7D))),
    ("angle", ((0x3C, 0x3C), (0x3E, 0x3E))),
    ("equals", ((0x3D, 0x3D),)),
    ("operator", ((0x2B, 0x2B), (0x2A, 0x2A), (0x2F, 0x2F), (0x5E, 0x5E), (0xD7, 0xD7))),
    ("maths", ((0x2200, 0x22FF), (0x221A, 0x221A), (0xB0, 0xB3))),
    ("dollar", ((0x24, 0x24), (0xA3, 0xA5), (0x20AC, 0x20AC))),
    ("percent", ((0x25, 0x25),)),
    ("backslash", ((0x5C, 0x5C),)),
    ("bar", ((0x7C, 0x7C),)),
    ("hash", ((0x23, 0x23),)),
    ("dash", ((0x2D, 0x2D), (0x2010, 0x2015), (0x2022, 0x2022))),
    ("underscore", ((0x5F, 0x5F),)),
    ("backtick", ((0x60, 0x60),)),
    ("emoji", ((0x1F300, 0x1FAFF),)),
)
_OTHER: Final = len(_KINDS)
_COUNT: Final = _OTHER + 1


def _kind_table() -> NDArray[np.uint8]:
    table = np.full(0x20000, _OTHER, dtype=np.uint8)
    for kind, (_, spans) in enumerate(_KINDS):
        for low, high in spans:
            table[low : high + 1] = kind
    return table


_KIND_OF: Final = _kind_table()

#: Names of the columns of ``surface``.
NAMES: Final = (
    "log_chars",
    "log_first_chars",
    "log_last_chars",
    "log_pieces",
    "ends_with_question",
    "begins_lower",
    "has_fence",
    *(f"share_{name}" for name, _ in _KINDS),
    *(f"log_{name}" for name, _ in _KINDS),
)


def surface(pieces: Sequence[Pieces]) -> NDArray[np.float32]:
    """One row of ``NAMES`` a text."""
    if not len(pieces):
        return np.zeros((0, len(NAMES)), dtype=np.float32)
    codes = [np.frombuffer(one.text.encode("utf-32-le"), dtype="<u4") for one in pieces]
    lengths = np.array([len(one) for one in codes])
    rows = np.repeat(np.arange(len(codes)), lengths)
    kinds = _KIND_OF[np.minimum(np.concatenate(codes), len(_KIND_OF) - 1)]
    cells = np.bincount(rows * _COUNT + kinds, minlength=_COUNT * len(codes))
    counts = cells.reshape(len(codes), _COUNT)[:, :_OTHER].astype(np.float32)
    shares = counts / np.maximum(lengths, 1)[:, None]
    return np.hstack([_lengths(pieces), shares, np.log1p(counts)]).astype(np.float32)


def _lengths(pieces: Sequence[Pieces]) -> NDArray[np.float64]:
    lengths = [(one.length, one.first_chars, one.last_chars, len(one.whole)) for one in pieces]
    marks = [
        (one.text.endswith(("?", "？", "؟")), one.text[:1].islower(), "```" in one.text)
        for one in pieces
    ]
    return np.hstack([np.log1p(lengths), np.array(marks, dtype=np.float64)])
