"""StaticEncoder: vectors of length 1, quickly, whatever the text."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from model2vec import StaticModel

from promptyard.errors import RouterFileError
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.pieces import EMBEDDED, cut, embedded_reader

ENCODER = StaticEncoder()
#: Signs that the table lacks, other scripts, none at all.
TEXTS = [
    "A short text.",
    "Überraschung, c'est ça!",
    "天気はどう",
    "☃",
    "snow ☃ [UNK]",
    " ",
    "W" * 99,
]


def test_vectors_have_length_one() -> None:
    """And the shape and type that the product wants."""
    vectors = ENCODER.encode(["A short text.", "Ein Satz.", "word " * 5000])
    assert vectors.shape == (3, 256)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_near_texts_are_near() -> None:
    """The table is the embedded one and means something."""
    cat, kitten, tax = ENCODER.encode(["a cat sleeps", "a kitten naps", "income tax law"])
    assert cat @ kitten > cat @ tax + 0.2


@pytest.mark.parametrize("text", ["", "   ", "\n", "\u2063\u2063"])
def test_a_text_without_pieces_is_zero_and_no_nan(text: str) -> None:
    """It is near nothing."""
    assert not ENCODER.encode([text]).any()


def test_no_texts_give_no_rows() -> None:
    """An empty chunk."""
    assert ENCODER.encode([]).shape == (0, 256)


def test_a_text_alone_is_as_in_a_chunk() -> None:
    """Neighbours in a chunk do not change a vector."""
    texts = ["one", "two words", "and three of them"]
    together = ENCODER.encode(texts)
    alone = np.vstack([ENCODER.encode([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-6)


def test_a_huge_text_costs_no_more_than_its_two_ends() -> None:
    """1 MB does not stall a worker."""
    text = "word " * 200_000
    started = time.perf_counter()
    huge = ENCODER.encode([text] * 8)
    assert time.perf_counter() - started < 0.5
    assert np.array_equal(huge[:1], ENCODER.encode([cut(text)]))


def test_a_lone_surrogate_does_not_fail_the_chunk() -> None:
    """The tokenizer would refuse the whole call."""
    assert ENCODER.encode(["fine", "bro\ud800ken"]).shape == (2, 256)


def test_it_gives_what_model2vec_gives() -> None:
    """To the last bit."""
    theirs = StaticModel.from_pretrained(EMBEDDED).encode(TEXTS, normalize=True)
    assert np.array_equal(ENCODER.encode(TEXTS), theirs)
    assert np.array_equal(ENCODER.encode_pieces(embedded_reader().read(TEXTS)), theirs)


def test_another_table_is_read_by_model2vec(tmp_path: Path) -> None:
    """With its own tokenizer: pieces of the embedded one say nothing to it."""
    shutil.copytree(EMBEDDED, tmp_path / "table")
    other = StaticEncoder(tmp_path / "table")
    assert ENCODER.reads_pieces
    assert not other.reads_pieces
    assert np.array_equal(other.encode(TEXTS), ENCODER.encode(TEXTS))


def test_threads_may_share_it() -> None:
    """The tokenizer says "Already borrowed" without our lock."""
    texts = [f"prompt number {i} about trains" for i in range(64)]
    expected = ENCODER.encode(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: StaticEncoder().encode(texts), range(40)):
            assert np.array_equal(vectors, expected)


def test_semantic_router_gets_lists() -> None:
    """The library's own interface."""
    rows = ENCODER(["hello"])
    assert isinstance(rows[0], list)
    assert np.allclose(rows[0], ENCODER.encode(["hello"])[0])


def test_the_table_is_read_once() -> None:
    """A second encoder of a process is free."""
    assert StaticEncoder()._table is ENCODER._table


def test_a_missing_table_is_an_error_not_a_download(tmp_path: Path) -> None:
    """model2vec would take the path for a model of the Hugging Face hub."""
    with pytest.raises(RouterFileError, match="no folder of a model2vec table"):
        StaticEncoder(tmp_path / "minishlab" / "potion")
