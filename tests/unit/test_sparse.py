"""WordIndex: the library's BM25, without its arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from semantic_router.encoders.bm25 import BM25Encoder
from semantic_router.route import Route
from semantic_router.tokenizers import BaseTokenizer

from promptyard_worker.routing import sparse
from promptyard_worker.routing.pieces import Ids
from promptyard_worker.routing.sparse import Scores, WordIndex, read_words

DOCUMENTS = [
    "Prove that the sum of two even numbers is even, and that the sum of two odd ones is too.",
    "Write a poem about the rain.",
    "Write a letter to the landlord about the heating, the rain in the hall and the rent.",
    "Hello!",
    "What is the capital of Peru? What is its river?",
    "天气怎么样？",
]
QUERIES = [
    "Write a poem about the sea, the sea and the rain.",
    "What is the capital of Chad?",
    "Hello hello hello",
    "zygomorphic",
    "今天天气很好",
    "",
]


class Given(BaseTokenizer):
    """Gives the library the words that we read, padded by 0."""

    @property
    def vocab_size(self) -> int:
        """Above every id of the embedded tokenizer."""
        return 32_000

    def tokenize(self, texts: str | list[str], pad: bool = True) -> np.ndarray:
        """One row a text."""
        read = read_words([texts] if isinstance(texts, str) else texts)
        rows = np.zeros((len(read), max(1, *map(len, read))), dtype=np.int64)
        for row, ids in zip(rows, read, strict=True):
            row[: len(ids)] = ids
        return rows


def librarys(documents: Sequence[str], queries: Sequence[str]) -> np.ndarray:
    """What semantic-router's encoder gives."""
    encoder = BM25Encoder(tokenizer=Given())
    encoder.fit([Route(name="all", utterances=list(documents))])
    stored = [dict(one.embedding.tolist()) for one in encoder.encode_documents(list(documents))]
    asked = [dict(one.embedding.tolist()) for one in encoder.encode_queries(list(queries))]
    return np.array(
        [[sum(w * doc.get(t, 0) for t, w in query.items()) for doc in stored] for query in asked]
    )


def ours(documents: Sequence[str], queries: Sequence[str]) -> Scores:
    """What the index gives."""
    return WordIndex(read_words(documents)).scores(read_words(queries))


@pytest.mark.parametrize("common", [0.0, 0.05, 0.3, 1.0])
def test_scores_are_the_librarys(monkeypatch: pytest.MonkeyPatch, common: float) -> None:
    """Whether words are kept as rows, looked up, or both."""
    monkeypatch.setattr(sparse, "_COMMON", common)
    expected = librarys(DOCUMENTS, QUERIES)
    assert np.allclose(ours(DOCUMENTS, QUERIES), expected, rtol=0, atol=1e-6)
    assert expected[0].argmax() == 1
    assert not expected[3].any()


def test_scores_are_the_librarys_on_many_texts() -> None:
    """Random words, of which few are common and most are rare, as in a language."""
    rng = np.random.default_rng(7)
    words = [f"{stem}{end}" for end in ("", "s", "ing", "ed") for stem in ("rain", "tax", "song")]
    picks = [rng.zipf(1.4, size=rng.integers(1, 30)).clip(1, len(words)) for _ in range(120)]
    texts = [" ".join(words[pick - 1] for pick in row) for row in picks]
    assert np.allclose(ours(texts[:80], texts[80:]), librarys(texts[:80], texts[80:]), atol=1e-6)


def test_scores_are_0_to_1() -> None:
    """As cosines are, so that one threshold serves both."""
    scores = ours(DOCUMENTS, [*QUERIES, *DOCUMENTS, "Hello! " * 200])
    assert scores.dtype == np.float32
    assert scores.min() == 0
    assert 0.5 < scores.max() <= 1


def test_what_the_tokenizer_does_not_know_is_no_word() -> None:
    """Two texts do not meet in what is unknown of both, nor in the marks themselves."""
    assert not ours(["\u16a0\u16a1", "a [UNK] b"], ["\u16b1\u16b2", "[UNK] [PAD]"]).any()


def test_a_chunk_is_scored_as_its_texts_alone() -> None:
    """Neighbours do not matter."""
    index = WordIndex(read_words(DOCUMENTS))
    read = read_words(QUERIES)
    alone = np.vstack([index.scores([ids]) for ids in read])
    assert np.allclose(index.scores(read), alone, atol=1e-7)


@pytest.mark.parametrize(
    ("documents", "queries"), [([], QUERIES), (DOCUMENTS, []), ([], []), (["", " "], QUERIES)]
)
def test_nothing_scores_zero(documents: list[str], queries: list[str]) -> None:
    """No documents, no texts, no words."""
    scores = ours(documents, queries)
    assert scores.shape == (len(queries), len(documents))
    assert not scores.any()


def test_ids_that_no_document_has_are_passed_over() -> None:
    """Also those above every id that was seen."""
    ids: Ids = np.array([7, 31_000, 9], dtype=np.int64)
    (row,) = WordIndex([ids[:1], ids[2:]]).scores([ids])
    assert row[0] == row[1] > 0
