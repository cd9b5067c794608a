"""ChunkRouter: one product for a chunk, the same answers as semantic-router's own way."""

from __future__ import annotations

import asyncio
from typing import Literal

import numpy as np
import pytest
from semantic_router.encoders.base import DenseEncoder
from semantic_router.route import Route
from semantic_router.routers.indexed import IndexedRouter

from promptyard_worker.routing.chunk_router import ChunkRouter
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.sparse import read_words

UTTERANCES = {
    "maths": ["Prove that the sum is even.", "Solve the integral.", "Find all primes below n."],
    "poems": ["Write a poem about rain.", "Compose a song for my friend."],
    "facts": ["What is the capital of Peru?", "Who painted it?", "How tall is it?", "When?"],
}
QUERIES = [
    "Prove that there are infinitely many primes.",
    "Write me a poem about the sea.",
    "What is the capital of Chad?",
    "Please book a table for two.",
]
ENCODER = StaticEncoder()


def routes(thresholds: dict[str, float] | None = None) -> list[Route]:
    """The three routes, with bars where given."""
    return [
        Route(name=name, utterances=list(texts), confidence_threshold=(thresholds or {}).get(name))
        for name, texts in UTTERANCES.items()
    ]


def chunk_router(
    top_k: int = 3,
    aggregation: Literal["mean", "max"] = "mean",
    thresholds: dict[str, float] | None = None,
    alpha: float = 1,
) -> ChunkRouter:
    """Ours over the three routes."""
    return ChunkRouter(
        encoder=ENCODER,
        routes=routes(thresholds),
        top_k=top_k,
        aggregation=aggregation,
        alpha=alpha,
    )


def name_of(router: ChunkRouter, text: str) -> str | None:
    """The route that the library's own call gives."""
    choice = router(text)
    assert not isinstance(choice, list)
    return choice.name


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_scores_equal_the_librarys_where_both_are_defined(
    aggregation: Literal["mean", "max"],
) -> None:
    """With k above all utterances, the library's top k is every route's own."""
    ours = chunk_router(top_k=100, aggregation=aggregation)
    theirs = IndexedRouter(ENCODER, routes(), top_k=100, aggregation=aggregation)
    expected = asyncio.run(theirs._scores_many(QUERIES))
    table = np.array([[row[name] for name in ours.route_names] for row in expected])
    assert np.allclose(ours.score_chunk(QUERIES), table, atol=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 3, 9])
def test_each_route_is_scored_by_its_own_nearest(top_k: int) -> None:
    """The mean of its k best cosines, or of all where it has fewer."""
    queries = ENCODER.encode(QUERIES)
    expected = np.empty((len(QUERIES), len(UTTERANCES)))
    for column, texts in enumerate(UTTERANCES.values()):
        cosines = np.sort(queries @ ENCODER.encode(texts).T, axis=1)
        expected[:, column] = cosines[:, -top_k:].mean(axis=1)
    router = chunk_router(top_k=top_k)
    assert router.route_names == tuple(UTTERANCES)
    assert np.allclose(router.score_chunk(QUERIES), expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [1, 0.7, 0])
def test_the_librarys_call_and_evaluate_use_the_same_scores(alpha: float) -> None:
    """``router(text)`` and ``evaluate`` agree with ``score_chunk``, words or not."""
    router = chunk_router(alpha=alpha)
    scores = router.score_chunk(QUERIES)
    best = [router.route_names[i] for i in scores.argmax(axis=1)]
    assert [name_of(router, query) for query in QUERIES] == best
    assert router.evaluate(QUERIES, list(best)) == 1.0
    choice = router(QUERIES[0])
    assert not isinstance(choice, list)
    assert choice.confidence == pytest.approx(scores[0].max(), abs=1e-6)


def test_words_are_mixed_in_utterance_by_utterance() -> None:
    """As the library's hybrid index does: alpha of the cosine, the rest of BM25."""
    meaning, words = chunk_router(alpha=1), chunk_router(alpha=0)
    read = read_words(QUERIES)
    vectors = meaning.embed(QUERIES)
    expected = 0.7 * meaning.similarities(vectors) + 0.3 * words.similarities(vectors, read)
    mixed = chunk_router(alpha=0.7, top_k=2)
    assert np.allclose(mixed.similarities(vectors, read), expected, atol=1e-6)
    assert np.allclose(
        mixed.score_chunk(QUERIES)[:, 0], np.sort(expected[:, :3])[:, 1:].mean(axis=1), atol=1e-6
    )


def test_a_threshold_keeps_a_route_out() -> None:
    """The next best that passes takes the text; if none does, nobody."""
    scores = chunk_router().score_chunk(QUERIES[:1])
    names = chunk_router().route_names
    ranked = [names[i] for i in np.argsort(-scores[0])]
    barred = chunk_router(thresholds={ranked[0]: 0.99})
    assert [names[i] for i in barred.choose(scores)] == [ranked[1]]
    assert name_of(barred, QUERIES[0]) == ranked[1]
    closed = chunk_router(thresholds=dict.fromkeys(names, 0.99))
    assert closed.choose(scores).tolist() == [-1]
    assert name_of(closed, QUERIES[0]) is None


def test_fit_calibrates_on_the_same_scores() -> None:
    """After ``fit`` the bars apply to probabilities."""
    router = chunk_router()
    labels = ["maths", "poems", "facts", None]
    report = router.fit(QUERIES, labels)
    assert report.n == 4
    assert router.calibrated
    assert router.choose(router.score_chunk(QUERIES)).tolist()[:3] == [0, 1, 2]


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_added_and_removed_routes_count_at_once(alpha: float) -> None:
    """The matrix and the words follow the library's index."""
    router = chunk_router(alpha=alpha)
    router.add(Route(name="tables", utterances=["Book a table for two tonight."]))
    assert router.route_names[-1] == "tables"
    assert router.score_chunk(QUERIES).shape == (4, 4)
    assert router.choose(router.score_chunk(QUERIES))[3] == 3
    router.remove("maths")
    assert router.route_names == ("poems", "facts", "tables")
    fresh = ChunkRouter(encoder=ENCODER, routes=router.routes, alpha=alpha)
    assert np.array_equal(router.score_chunk(QUERIES), fresh.score_chunk(QUERIES))


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_a_router_without_routes_chooses_nothing(alpha: float) -> None:
    """And takes routes later, as the library's does."""
    router = ChunkRouter(encoder=ENCODER, routes=[], alpha=alpha)
    assert router.score_chunk(QUERIES).shape == (4, 0)
    assert router.choose(router.score_chunk(QUERIES)).tolist() == [-1] * 4
    assert name_of(router, QUERIES[0]) is None
    router.add(routes())
    assert name_of(router, QUERIES[0]) == "maths"


def test_a_text_without_pieces_scores_zero() -> None:
    """The library's own way gives NaN here."""
    assert not chunk_router().score_chunk([""]).any()


def test_an_empty_chunk_is_an_empty_table() -> None:
    """No texts, no rows."""
    router = chunk_router()
    assert router.score_chunk([]).shape == (0, 3)
    assert router.choose(router.score_chunk([])).shape == (0,)


def test_nearest_names_utterances_in_order() -> None:
    """Nearest first; never more than there are."""
    router = chunk_router()
    similarities = router.similarities(router.embed(["Compose a song for my friend.", "When?"]))
    (first, second), (other, _) = router.nearest(similarities, 2)
    assert first[:2] == ("poems", "Compose a song for my friend.")
    assert first.similarity == pytest.approx(1, abs=1e-4)
    assert first.similarity >= second.similarity
    assert other.utterance == "When?"
    assert [len(row) for row in router.nearest(similarities, 99)] == [9, 9]
    assert router.nearest(similarities, 0) == [[], []]


def test_another_encoder_of_the_library_works() -> None:
    """Lists that are not normalised are normalised here."""

    class Plain(DenseEncoder):
        name: str = "plain"

        def __call__(self, docs: list[str]) -> list[list[float]]:
            rows: list[list[float]] = (3 * ENCODER.encode(docs)).tolist()
            return rows

    plain = ChunkRouter(encoder=Plain(), routes=routes())
    assert np.allclose(plain.score_chunk(QUERIES), chunk_router().score_chunk(QUERIES), atol=1e-5)
