"""SemanticStage: bars, margins, calibration, forks, words, and what it leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from promptyard.names import Tier
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.semantic import SemanticStage
from promptyard_worker.routing.sparse import WordIndex, read_words
from promptyard_worker.routing.stage import Chunk, Fork, Opinion, Vectors

MODEL = {"tier": "pro", "price": {"input": 1, "output": 2}, "context_window": 9000, "timeout_s": 5}
PROOF = "Prove that there are infinitely many primes."
POEM = "Write me a poem about the sea."


def leaf(name: str, *utterances: str, threshold: float | None = None) -> RouteConfig:
    """A route."""
    return RouteConfig(
        name=name, tier=Tier.PRO, model="m", threshold=threshold, utterances=utterances
    )


def group(name: str, *routes: RouteConfig, utterances: Sequence[str] = ()) -> RouteConfig:
    """A route with sub-routes."""
    return RouteConfig(name=name, routes=routes, utterances=tuple(utterances))


MATHS = leaf("maths", "Prove that the sum is even.", "Solve the integral.", "Find all primes.")
POEMS = leaf("poems", "Write a poem about rain.", "Compose a song for my friend.")


class CountingEmbedder(ReadingEmbedder):
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        super().__init__(StaticEncoder())
        self.embedded: list[str] = []

    def embed(self, readings: Sequence[Reading]) -> Vectors:
        """Embed, and keep what was asked."""
        self.embedded += [reading.text for reading in readings]
        return super().embed(readings)


class Asked:
    """A stage over some routes, and the way to ask it."""

    def __init__(self, *routes: RouteConfig, **semantic: Any) -> None:
        self.config = RouterConfig.model_validate(
            {
                "version": 1,
                "default": "pro",
                "routes": [route.model_dump(exclude_unset=True) for route in routes],
                "models": {"m": MODEL},
                "semantic": semantic,
            }
        )
        self.embedder = CountingEmbedder()
        self.stage = SemanticStage(self.config, self.embedder)
        self.root = Fork("", self.config.routes)

    def chunk(self, *texts: str) -> Chunk:
        """Prompts."""
        return Chunk([Reading(text) for text in texts], self.embedder)

    def opinions(self, *texts: str) -> list[Opinion]:
        """What it thinks of prompts at the root."""
        return self.stage.opinions(self.chunk(*texts), self.root)

    def opinion(self, text: str) -> Opinion:
        """What it thinks of one prompt at the root."""
        return self.opinions(text)[0]


def test_it_picks_the_best_route_and_tells_all() -> None:
    """Scores of every route, the lead of the best, the nearest utterances."""
    proof, poem = Asked(MATHS, POEMS).opinions(PROOF, POEM)
    assert (proof.pick, poem.pick) == ("maths", "poems")
    assert set(proof.scores) == {"maths", "poems"}
    assert proof.margin == pytest.approx(proof.scores["maths"] - proof.scores["poems"])
    assert proof.probabilities == {}
    assert [near.route for near in poem.nearest][:1] == ["poems"]
    assert len(poem.nearest) == 3
    similarities = [near.similarity for near in poem.nearest]
    assert similarities == sorted(similarities, reverse=True)


def test_a_chunk_says_how_many_utterances_to_tell_of() -> None:
    """An explanation wants more of them than a record."""
    asked = Asked(MATHS, POEMS)
    chunk = Chunk([Reading(POEM)], asked.embedder, nearest=5)
    assert len(asked.stage.opinions(chunk, asked.root)[0].nearest) == 5


def test_a_long_utterance_goes_on_record_in_part() -> None:
    """The record of every job has it."""
    (near, *_) = Asked(leaf("long", "Prove it. " * 50), POEMS).opinion("Prove it.").nearest
    assert near.utterance == ("Prove it. " * 50)[:80]


@pytest.mark.parametrize(
    ("threshold", "own", "pick"),
    [
        (None, None, "maths"),
        (0.99, None, None),
        (None, 0.99, "poems"),
        (0.99, -1, "maths"),
        (0.0, 0.99, "poems"),
    ],
)
def test_a_routes_own_threshold_wins_over_the_stages(
    threshold: float | None, own: float | None, pick: str | None
) -> None:
    """Below its bar a route leaves the prompt to the next best; below all bars it is open."""
    maths = MATHS.model_copy(update={"threshold": own})
    opinion = Asked(maths, POEMS, threshold=threshold).opinion(PROOF)
    assert opinion.pick == pick
    assert opinion.scores["maths"] > opinion.scores["poems"]
    assert opinion.is_sure == (pick is not None)


def test_a_small_lead_is_not_sure() -> None:
    """The lead of the best route over the second; just enough is enough."""
    lead = Asked(MATHS, POEMS).opinion(PROOF).margin
    assert lead is not None
    assert Asked(MATHS, POEMS, margin=lead).opinion(PROOF).pick == "maths"
    unsure = Asked(MATHS, POEMS, margin=lead + 1e-6).opinion(PROOF)
    assert unsure.pick is None
    assert unsure.margin == lead


def test_a_single_route_leads_by_nothing() -> None:
    """Its threshold alone decides."""
    opinion = Asked(MATHS, margin=2).opinion(PROOF)
    assert (opinion.pick, opinion.margin) == ("maths", None)
    assert Asked(MATHS, threshold=0.99).opinion(PROOF).pick is None


def test_calibration_turns_scores_into_probabilities() -> None:
    """Threshold and margin then apply to those; scores stay similarities, the order as it was."""
    plain = Asked(MATHS, POEMS).opinion(PROOF)
    platt = {"method": "platt", "params": {"a": [8], "b": [-2]}}
    opinion = Asked(MATHS, POEMS, calibration=platt).opinion(PROOF)
    assert opinion.scores == plain.scores
    expected = {name: 1 / (1 + np.exp(2 - 8 * score)) for name, score in plain.scores.items()}
    assert opinion.probabilities == pytest.approx(expected)
    lead = opinion.probabilities["maths"] - opinion.probabilities["poems"]
    assert opinion.margin == pytest.approx(lead)
    likely = opinion.probabilities["maths"]
    assert likely > plain.scores["maths"]
    for threshold, pick in ((likely - 1e-9, "maths"), (likely + 1e-9, None)):
        asked = Asked(MATHS, POEMS, calibration=platt, threshold=threshold)
        assert asked.opinion(PROOF).pick == pick
    assert Asked(MATHS, POEMS, calibration=platt, margin=lead + 0.01).opinion(PROOF).pick is None


def test_a_flat_stretch_of_isotonic_calibration_is_no_lead() -> None:
    """Two routes that are equally probable are told apart by score, but not surely."""
    flat = {"method": "isotonic", "params": {"x": [-1, 1], "y": [0.7, 0.7]}}
    opinion = Asked(MATHS, POEMS, calibration=flat, threshold=0.7).opinion(PROOF)
    assert (opinion.pick, opinion.margin) == ("maths", 0)
    assert Asked(MATHS, POEMS, calibration=flat, margin=0.01).opinion(PROOF).pick is None


@pytest.mark.parametrize("sparse", [None, "bm25"])
@pytest.mark.parametrize("text", ["", " \n", "\u16a0\u16a1\u16a2"])
def test_a_text_the_encoder_knows_nothing_of_is_open(text: str, sparse: str | None) -> None:
    """Even without any threshold: it is equally far from all routes."""
    known, unknown = Asked(MATHS, POEMS, sparse=sparse).opinions(PROOF, text)
    assert known.pick == "maths"
    assert unknown.pick is None
    assert set(unknown.scores.values()) == {0}
    assert unknown.nearest == ()


def test_an_empty_chunk_has_no_opinions() -> None:
    """And nothing is embedded."""
    asked = Asked(MATHS, POEMS)
    assert asked.opinions() == []
    assert asked.embedder.embedded == []


def test_a_route_without_utterances_takes_part_in_nothing() -> None:
    """A rule or the judge may choose it; a fork without any is left open, unembedded."""
    asked = Asked(MATHS, POEMS, leaf("silent"), group("mute", leaf("a"), leaf("b")))
    assert set(asked.opinion(PROOF).scores) == {"maths", "poems"}
    asked.embedder.embedded.clear()
    mute = asked.config.routes[3]
    assert asked.stage.opinions(asked.chunk(PROOF), Fork("mute", mute.routes)) == [Opinion()]
    assert asked.embedder.embedded == []


def test_a_group_scores_by_all_utterances_below_it() -> None:
    """Its own and those of its sub-routes, each once, as one route with all of them would."""
    own, hard, easy = (
        "Talk about numbers.",
        MATHS.utterances,
        ("What is 2 + 2?", "Find all primes."),
    )
    tree = group(
        "science",
        group("maths", leaf("hard", *hard), leaf("easy", *easy)),
        leaf("physics", "How fast does it fall?"),
        utterances=[own],
    )
    flat = leaf("science", *dict.fromkeys((own, *hard, *easy, "How fast does it fall?")))
    texts = (PROOF, POEM, "What is 3 + 3?")
    for semantic in ({}, {"sparse": "bm25"}, {"top_k": 100}, {"aggregation": "max"}):
        found = Asked(tree, POEMS, **semantic).opinions(*texts)
        expected = Asked(flat, POEMS, **semantic).opinions(*texts)
        assert [one.scores for one in found] == [pytest.approx(one.scores) for one in expected]


def test_every_fork_has_routes_of_its_own() -> None:
    """Names are the fork's; addresses of neighbours are whole."""
    asked = Asked(group("science", MATHS, leaf("physics", "How fast does it fall?")), POEMS)
    (opinion,) = asked.stage.opinions(
        asked.chunk(PROOF), Fork("science", asked.config.routes[0].routes)
    )
    assert opinion.pick == "maths"
    assert set(opinion.scores) == {"maths", "physics"}
    assert {near.route for near in opinion.nearest} <= {"science/maths", "science/physics"}


def test_a_prompt_is_embedded_and_read_once_for_all_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a chunk share what was made of its jobs."""
    asked = Asked(group("science", MATHS, leaf("physics", "Falls?")), POEMS, sparse="bm25")
    chunk = asked.chunk(PROOF, POEM, "How fast does a stone fall?")
    asked.stage.opinions(chunk, asked.root)
    part = chunk.part([0, 2])
    assert part.whole is chunk.whole is chunk
    read = part.pieces
    monkeypatch.setattr("promptyard_worker.routing.pieces.embedded_reader", None)
    found = asked.stage.opinions(part, Fork("science", asked.config.routes[0].routes))
    assert [one.pick for one in found] == ["maths", "physics"]
    assert read[1] is chunk.pieces[2]
    assert asked.embedder.embedded == [PROOF, POEM, "How fast does a stone fall?"]


def test_words_decide_where_meaning_does_not() -> None:
    """A name that says nothing to the encoder; alpha weighs the two."""
    routes = (
        leaf("desk", "Ticket for the zanzeroo desk.", "A case of the zanzeroo desk."),
        leaf("post", "Ticket for the post office.", "A case of the post office."),
    )
    text = "Is my parcel at the office or at the zanzeroo?"
    by_meaning, by_words, mixed = (
        Asked(*routes, sparse=sparse, alpha=alpha).opinion(text)
        for sparse, alpha in ((None, 0.7), ("bm25", 0.0), ("bm25", 0.7))
    )
    assert by_words.pick == "desk"
    for name, score in mixed.scores.items():
        assert min(by_meaning.scores[name], by_words.scores[name]) <= score
        assert score <= max(by_meaning.scores[name], by_words.scores[name])
    (row,) = WordIndex(read_words([u for r in routes for u in r.utterances])).scores(
        read_words([text])
    )
    assert by_words.scores["desk"] == pytest.approx(row[:2].mean())
    assert Asked(*routes, sparse="bm25", alpha=1.0).opinion(text).scores == by_meaning.scores
