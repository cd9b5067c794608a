"""The semantic stage: a prompt goes where the utterances that mean the same go.

Sure is a prompt whose best route reaches its threshold and leads the second by the margin;
both apply to probabilities where a calibration is given, to similarities otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr
from semantic_router.calibration import Calibrator
from semantic_router.route import Route

from promptyard.job import Neighbour
from promptyard_worker.routing.chunk_router import ChunkRouter, Confidence, Near, Scores
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.encoders.base import ArrayEncoder, Vectors
from promptyard_worker.routing.sparse import words_of
from promptyard_worker.routing.stage import Chunk, Fork, Opinion, forks_of
from promptyard_worker.routing.stages import Calibration, SemanticConfig

#: How much of an utterance goes on record, in characters.
_UTTERANCE_CHARS: Final = 80
_DIGITS: Final = 4

Columns = NDArray[np.intp]


class SemanticStage:
    """Scores the routes of a fork by their utterances."""

    name = "semantic"

    def __init__(self, config: RouterConfig, embedder: ReadingEmbedder) -> None:
        """Embed the utterances of every fork."""
        self._config = config.semantic
        encoder = _PolicyEncoder(embedder)
        self._routers = {
            fork.address: _router(fork.routes, encoder, config.semantic)
            for fork in forks_of(config.routes)
            if _speaks(fork)
        }

    def opinions(self, chunk: Chunk, fork: Fork) -> list[Opinion]:
        """The best route of the fork where it is sure; the scores in any case."""
        router = self._routers.get(fork.address)
        if router is None or not len(chunk):
            return [Opinion()] * len(chunk)
        words = [words_of(pieces) for pieces in chunk.pieces] if router.reads_words else ()
        similarities = router.similarities(chunk.vectors, words)
        scores = router.aggregate_routes(similarities)
        confidence = router.confidence(scores)
        margins = _margins(confidence)
        # A text that nothing is known of is equally far from all: no route takes it.
        is_known = np.asarray(similarities.any(axis=1))
        is_sure = is_known & (margins >= self._config.margin)
        nearest = router.nearest(similarities, chunk.nearest)
        return _opinions(
            router,
            fork,
            picks=np.where(is_sure, router.choose(scores), -1),
            scores=scores,
            probabilities=confidence if router.calibrated else None,
            margins=margins,
            nearest=[near if known else [] for near, known in zip(nearest, is_known, strict=True)],
        )


def _opinions(
    router: ChunkRouter,
    fork: Fork,
    *,
    picks: Columns,
    scores: Scores,
    probabilities: Confidence | None,
    margins: Confidence,
    nearest: Sequence[Sequence[Near]],
) -> list[Opinion]:
    """Rows as opinions; a pick of -1 is none."""
    names = router.route_names
    sure = [{}] * len(picks) if probabilities is None else _named(names, probabilities)
    return [
        Opinion(
            pick=names[pick] if pick >= 0 else None,
            scores=own,
            probabilities=probable,
            margin=margin if len(names) > 1 else None,
            nearest=tuple(_neighbour(fork, one) for one in near),
        )
        for pick, own, probable, margin, near in zip(
            picks.tolist(), _named(names, scores), sure, margins.tolist(), nearest, strict=True
        )
    ]


def _named(names: Sequence[str], values: Scores | Confidence) -> list[dict[str, float]]:
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


class _PolicyEncoder(ArrayEncoder):
    """The policy's embedder, as semantic-router wants an encoder."""

    _embedder: ReadingEmbedder = PrivateAttr()

    def __init__(self, embedder: ReadingEmbedder) -> None:
        super().__init__(name=embedder.encoder.name, type=embedder.encoder.type)
        self._embedder = embedder

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._embedder.embed_texts(texts)

    def encode_utterances(self, texts: Sequence[str]) -> Vectors:
        return self._embedder.embed_utterances(texts)


def _speaks(fork: Fork) -> bool:
    """Whether its routes have utterances."""
    return any(True for route in fork.routes for _ in route.all_utterances())


def _router(
    routes: Sequence[RouteConfig], encoder: ArrayEncoder, config: SemanticConfig
) -> ChunkRouter:
    calibration = config.calibration
    return ChunkRouter(
        encoder=encoder,
        routes=[_library_route(route) for route in routes if any(route.all_utterances())],
        top_k=config.top_k,
        aggregation=config.aggregation,
        confidence_threshold=config.threshold,
        calibrator=_calibrator(calibration) if calibration else None,
        alpha=config.alpha if config.sparse else 1,
    )


def _calibrator(calibration: Calibration) -> Calibrator:
    params = {name: list(values) for name, values in calibration.params.items()}
    return Calibrator(calibration.method, params)


def _library_route(route: RouteConfig) -> Route:
    return Route(
        name=route.name,
        utterances=list(dict.fromkeys(route.all_utterances())),
        description=route.description or None,
        confidence_threshold=route.threshold,
    )


def _margins(confidence: Confidence) -> Confidence:
    """Best minus second best of each row; infinite with a single route."""
    if confidence.shape[1] < 2:
        return np.full(len(confidence), np.inf)
    top = np.partition(confidence, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def _neighbour(fork: Fork, near: Near) -> Neighbour:
    return Neighbour(
        route=fork.address_of(near.route),
        utterance=near.utterance[:_UTTERANCE_CHARS],
        similarity=round(near.similarity, _DIGITS),
    )
