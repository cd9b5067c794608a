"""PieceReader: what is read of a request, in word pieces, and where it begins and ends."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from promptyard_worker.routing import pieces
from promptyard_worker.routing.pieces import EMBEDDED, Ids, Pieces, cut, embedded_reader
from promptyard_worker.routing.reading import Reading, pieces_of

TOKENIZER = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
TOKENIZER.no_truncation()
TOKENIZER.no_padding()

LINE = "Answer from the passage below, in one word."
PASSAGE = "The parcel left Ghent on Monday and came to Lille on Friday. " * 4
QUESTION = "On which day of the week did the parcel arrive?"


def read(text: str) -> Pieces:
    """One text."""
    return embedded_reader().read([text])[0]


def words(ids: Ids) -> str:
    """Pieces as text."""
    names = (TOKENIZER.id_to_token(piece) or "" for piece in ids.tolist())
    return " ".join(names).replace(" ##", "")


def test_the_ask_stands_first_and_last() -> None:
    """The first and the last line, around whatever is between."""
    found = read(f"{LINE}\n\n{PASSAGE}\n\n{QUESTION}")
    assert words(found.first) == "answer from the passage below , in one word ."
    assert words(found.last) == "on which day of the week did the parcel arrive ?"
    assert (found.first_chars, found.last_chars) == (len(LINE), len(QUESTION))


def test_parts_begin_and_end_with_a_sentence_or_a_word() -> None:
    """In a text without lines: a part begins inside no word."""
    found = read(f"{LINE} {PASSAGE}{'understand ' * 40}")
    assert words(found.first) == "answer from the passage below , in one word ."
    assert set(words(found.last).split()) == {"understand"}


@pytest.mark.parametrize("text", [f"{LINE}\n{PASSAGE}", PASSAGE * 9, "and on " * 900, "天" * 900])
def test_the_parts_are_the_text(text: str) -> None:
    """Its pieces are those of the cut text, whether it was taken apart or not."""
    found = read(text)
    assert found.whole.tolist() == TOKENIZER.encode(cut(text), add_special_tokens=False).ids
    assert np.array_equal(found.whole[: len(found.first)], found.first)
    assert np.array_equal(found.whole[len(found.whole) - len(found.last) :], found.last)
    assert found.length == len(text)


def test_of_a_long_text_both_ends_are_read() -> None:
    """What is between costs nothing."""
    found = read(f"{LINE}\n{PASSAGE * 90}\n{QUESTION}")
    assert len(found.text) <= pieces.HEAD_CHARS + pieces.TAIL_CHARS + 1
    assert found.text.startswith(LINE)
    assert found.text.endswith(QUESTION)


def test_nothing_has_no_pieces() -> None:
    """Nor has a text of blanks and signs that say nothing."""
    for text in ("", " \n ", "\u2063\x07"):
        found = read(text)
        assert not len(found.whole)
        assert not len(found.first)
        assert not len(found.last)


def test_a_lone_surrogate_is_replaced() -> None:
    """The tokenizer would refuse all of the chunk."""
    assert words(read("bro\ud800ken").whole) == "bro ? ken"


def test_a_request_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks first, alone or for many."""
    readings = [Reading(LINE), Reading(QUESTION)]
    alone = readings[1].pieces
    first, second = pieces_of(readings)
    assert second is alone
    assert words(first.whole) == words(read(LINE).whole)
    monkeypatch.setattr(pieces, "embedded_reader", None)
    assert pieces_of(readings) == [first, second]
