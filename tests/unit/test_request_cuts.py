"""Where a request is cut: first and last parts where a person would put them."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from promptyard_worker.routing.pieces import (
    EMBEDDED,
    HEAD_CHARS,
    TAIL_CHARS,
    Pieces,
    embedded_reader,
)
from tests.threads import in_threads

STORY = (
    "The old bridge of our town was opened in 1932. It spans the harbour. Many cross it each day."
)
ASKED = "请把下面这段话翻译成英文，保持原来的语气不变，不要遗漏任何一句话，也不要添加任何内容。"
ASKED_LAST = "最后请只输出译文，不要作任何解释，也不要重复原文。"
ARTICLE = "今天天气很好，我们去公园散步。"
FUNCTION = "```python\ndef count_down_from_a_number(number):\n    while n:\n        n = n\n```"
TEXTS = (
    "Hi",
    "What is the capital of France?",
    f"Summarise this for children, in one short sentence:\n\n{STORY}",
    f"{STORY}\n\n{STORY}\n\nHow many people cross the bridge?",
    f"{ASKED}{ARTICLE * 40}",
    FUNCTION,
    "x" * 3000,
    "word " * 700,
    "\n\n a \n\n",
    "Überall 😀 gibt es\tZeichen, die\x00 keiner kennt \u16a0\u200b",
)


def read(text: str) -> Pieces:
    """The pieces of one text."""
    (pieces,) = embedded_reader().read([text])
    return pieces


def parts(text: str) -> tuple[str, str, str]:
    """First, middle and last part as texts."""
    pieces = read(text)
    start = len(pieces.text) - pieces.last_chars
    whole = pieces.text
    return whole[: pieces.first_chars], whole[pieces.first_chars : start], whole[start:]


def alike(left: Pieces, right: Pieces) -> bool:
    """Whether two texts were read alike."""
    ids = ("whole", "first", "last")
    marks = ("text", "length", "first_chars", "last_chars")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ids) and all(
        getattr(left, name) == getattr(right, name) for name in marks
    )


@pytest.mark.parametrize("text", TEXTS)
def test_the_parts_in_order_make_the_text(text: str) -> None:
    """Each has the pieces that the tokenizer gives it by itself; none is lost or there twice."""
    tokenizer = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pieces, texts = read(text), parts(text)
    assert "".join(texts) == pieces.text
    first, middle, last = (tokenizer.encode(part, add_special_tokens=False).ids for part in texts)
    assert (pieces.first.tolist(), pieces.last.tolist()) == (first, last)
    assert pieces.whole.tolist() == [*first, *middle, *last]
    assert pieces.length == len(text)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        pytest.param(
            f"Summarise this passage for young children:\n\n{STORY}\n{STORY}",
            "Summarise this passage for young children:",
            STORY,
            id="instruction before a passage",
        ),
        pytest.param(
            f"Summarise this passage for young children: {STORY * 4}",
            "Summarise this passage for young children:",
            "Many cross it each day.",
            id="instruction before, in the same line",
        ),
        pytest.param(
            f"{STORY}\n{STORY}\n\nHow many people cross the bridge each day?",
            STORY,
            "How many people cross the bridge each day?",
            id="question after a passage",
        ),
        pytest.param(
            f"{STORY * 4} How many people cross the bridge each day?",
            "The old bridge of our town was opened in 1932.",
            "How many people cross the bridge each day?",
            id="question after, in the same line",
        ),
        pytest.param("What is the capital?", "What is the capital?", "", id="a single sentence"),
        pytest.param(
            f"This function never comes to its end, mend it:\n{FUNCTION}\nGive me the whole file.",
            "This function never comes to its end, mend it:",
            "Give me the whole file.",
            id="around a code fence",
        ),
        pytest.param(
            f"{FUNCTION}\nWhy does this function never come to its end?",
            "```python\ndef count_down_from_a_number(number):",
            "Why does this function never come to its end?",
            id="code first",
        ),
        pytest.param(
            f"{ASKED}{ARTICLE * 20}{ASKED_LAST}",
            ASKED,
            ASKED_LAST,
            id="Chinese around a passage",
        ),
        pytest.param("法国的首都是哪里？", "法国的首都是哪里？", "", id="one sentence in Chinese"),
    ],
)
def test_the_request_stands_first_or_last(text: str, first: str, last: str) -> None:
    """A person would lay the cuts there."""
    found = parts(text)
    assert (found[0].strip(), found[2].strip()) == (first, last)


def test_of_megabytes_the_two_ends_are_read() -> None:
    """The length is known all the same."""
    text = f"Begin here. {'lorem ipsum ' * 450_000} End there."
    pieces = read(text)
    assert pieces.length == len(text) > 5_000_000
    assert len(pieces.text) <= HEAD_CHARS + TAIL_CHARS + 1
    assert pieces.text.startswith("Begin here.")
    assert pieces.text.endswith("End there.")


def test_a_lone_surrogate_harms_none_beside_it() -> None:
    """Its own text is read, too."""
    broken, sound = embedded_reader().read(["half \ud83d of a sign", "a sound text"])
    assert broken.text == "half ? of a sign"
    assert alike(sound, read("a sound text"))


def test_a_chunk_is_read_as_one_by_one() -> None:
    """In its order."""
    chunk = embedded_reader().read(TEXTS)
    assert all(alike(pieces, read(text)) for pieces, text in zip(chunk, TEXTS, strict=True))
    assert embedded_reader().read([]) == []


def test_threads_may_read_at_once() -> None:
    """One reader serves them all."""
    found: list[list[Pieces]] = []
    in_threads(4, lambda: found.append(embedded_reader().read(TEXTS * 5)))
    assert len(found) == 4
    assert all(alike(a, b) for chunk in found for a, b in zip(chunk, found[0], strict=True))


def test_a_piece_is_known_by_its_text() -> None:
    """By what the tokenizer calls it."""
    assert embedded_reader().piece_id("?") == read("?").whole.item()
    assert embedded_reader().piece_id("no such piece") is None
