"""WordPieces: what the tokenizer gives, in a tenth of the time."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from tokenizers import Tokenizer

from promptyard_worker.routing import wordpieces
from promptyard_worker.routing.pieces import EMBEDDED
from promptyard_worker.routing.wordpieces import WordPieces

TOKENIZER = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
TOKENIZER.no_truncation()
TOKENIZER.no_padding()

#: Kinds of blanks, controls and marks, letters that change their length in lower case or fall
#: apart into letter and accent, scripts without blanks, and code.
ODDITIES = [
    *"abXZ09 .,-_'\"[](){}<>$%|#`~\\^\n\t\r\x00\x0b\x0c\x1c\x1f\x7f\x85\xa0\xad\u1680\u2028\u3000",
    *"éßİıﬁǆΣςÅ\u0301\u0327\u200b\u200d\ufeff\ufffd½²™Ω…’“”–—•¿£€√≤∑☃🙂𝔘",
    *"漢豈㐀々かガｶ한글ไทยहिन्दीעבריתعربيﷺЖё",
    *("[PAD]", "[UNK]", "[pad]", "##s", "tokenization", "supercalifragilistic", "q" * 101),
]


def expected(texts: list[str]) -> list[list[int]]:
    """By the tokenizer itself."""
    return [one.ids for one in TOKENIZER.encode_batch_fast(texts, add_special_tokens=False)]


def read(pieces: WordPieces, texts: list[str]) -> list[list[int]]:
    """By ours."""
    return [ids.tolist() for ids in pieces.split(texts)]


def test_any_mixture_is_split_as_the_tokenizer_does() -> None:
    """Two thousand made of whatever could be taken for something else."""
    rng = random.Random(3)
    texts = ["".join(rng.choices(ODDITIES, k=rng.randint(0, 60))) for _ in range(2_000)]
    assert read(WordPieces(TOKENIZER), texts) == expected(texts)


def test_every_character_is_split_as_the_tokenizer_does() -> None:
    """Inside a word, in the two planes where scripts are; surrogates are no characters."""
    characters = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    lines = [characters[start : start + 256] for start in range(0, len(characters), 256)]
    texts = ["\n".join(f"o{one}x" for one in line) for line in lines]
    assert read(WordPieces(TOKENIZER), texts) == expected(texts)


def test_what_is_known_is_split_the_same() -> None:
    """The second time it is looked up."""
    pieces = WordPieces(TOKENIZER)
    texts = ["Unknowable words, unbelievably: 漢字 café!", "", "words"]
    assert read(pieces, texts) == read(pieces, texts) == expected(texts)


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of words that never come again leaves no more behind than the last of it."""
    monkeypatch.setattr(wordpieces, "_ROOM_CHARS", 1_000)
    pieces = WordPieces(TOKENIZER)
    for number in range(1_000):
        texts = [f"parcel-{number} weighs {number}g"]
        assert read(pieces, texts) == expected(texts)
    assert sum(map(len, pieces._known)) < 1_100


def test_threads_may_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one looks up, another learns words or forgets them."""
    monkeypatch.setattr(wordpieces, "_ROOM_CHARS", 300)
    pieces = WordPieces(TOKENIZER)
    chunks = [[f"prompt {n} über {n * m} trains" for n in range(32)] for m in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for chunk, found in zip(
            chunks, pool.map(lambda one: read(pieces, one), chunks), strict=True
        ):
            assert found == expected(chunk)
