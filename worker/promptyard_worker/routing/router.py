"""Decides for jobs: named by the job, else by the nearest route, else the default tier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from semantic_router.route import Route

from promptyard.job import Decision, Job, JobError
from promptyard.names import Tier
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.encoder import StaticEncoder, Vectors
from promptyard_worker.routing.explicit import explicit_decision
from promptyard_worker.routing.semantic import ChunkRouter, Scores

#: Utterances that an explanation shows.
NEAREST = 5

#: Digits of a score that go on record.
_DIGITS = 4


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Neighbour(_Frozen):
    """An utterance near a prompt."""

    route: str
    utterance: str
    #: Cosine, -1 to 1.
    similarity: float


class Explanation(_Frozen):
    """A decision and what led to it."""

    decision: Decision
    #: The nearest utterances of all routes, nearest first.
    nearest: tuple[Neighbour, ...]


class PromptRouter:
    """Routes chunks of jobs by one policy; safe to use from several threads."""

    def __init__(self, config: RouterConfig) -> None:
        """Embed the policy's utterances.

        Args:
            config: as ``load_router`` gives it, that is, checked.
        """
        self.config = config
        self._routes = config.routes
        self._version = config.policy_version
        self._chunks = ChunkRouter(
            encoder=StaticEncoder(config.encoder.path),
            routes=[_library_route(route) for route in config.routes],
            top_k=config.semantic.top_k,
            aggregation=config.semantic.aggregation,
        )
        by_name = {route.name: route for route in config.routes}
        self._columns = tuple(by_name[name] for name in self._chunks.route_names)

    def route(self, jobs: Sequence[Job]) -> list[Decision | JobError]:
        """Decide for each job, in order; a job that cannot be routed gets its own error.

        All texts are embedded in one call.
        """
        outcomes = [explicit_decision(job, self.config) for job in jobs]
        open_jobs = [i for i, outcome in enumerate(outcomes) if outcome is None]
        vectors = self._chunks.embed([jobs[i].text for i in open_jobs])
        decided = dict(zip(open_jobs, self._decide(vectors), strict=True))
        return [outcome or decided[i] for i, outcome in enumerate(outcomes)]

    def explain(self, text: str) -> Explanation:
        """Decide for a text, and say which utterances were near."""
        vectors = self._chunks.embed([text])
        (decision,) = self._decide(vectors)
        nearest = self._chunks.nearest(vectors[0], NEAREST)
        return Explanation(
            decision=decision,
            nearest=tuple(
                Neighbour(route=route, utterance=utterance, similarity=round(similarity, _DIGITS))
                for route, utterance, similarity in nearest
            ),
        )

    def _decide(self, vectors: Vectors) -> list[Decision]:
        """The semantic stage, and the default where it has no answer."""
        scores = self._chunks.score_vectors(vectors)
        # A text the encoder knows nothing of is equally far from all: no route takes it.
        known = vectors.any(axis=1)
        columns = np.where(known, self._chunks.choose(scores), -1).tolist()
        rows, margins = scores.astype(np.float64).round(_DIGITS).tolist(), _margins(scores)
        return [
            self._decision(self._columns[column] if column >= 0 else None, row, margin)
            for column, row, margin in zip(columns, rows, margins, strict=True)
        ]

    def _decision(
        self, route: RouteConfig | None, scores: list[float], margin: float | None
    ) -> Decision:
        tier: Tier = route.tier if route else self.config.default
        model = route.model if route else self.config.default_model(tier)
        return Decision(
            stage="semantic" if route else "default",
            route=route.name if route else None,
            tier=tier,
            model=model,
            scores=dict(zip(self._chunks.route_names, scores, strict=True)),
            margin=margin,
            thinking_budget=(
                route.thinking_budget if route else self.config.thinking_budget(model)
            ),
            policy_version=self._version,
        )


def _library_route(route: RouteConfig) -> Route:
    return Route(
        name=route.name,
        utterances=list(route.utterances),
        description=route.description or None,
        confidence_threshold=route.threshold,
    )


def _margins(scores: Scores) -> list[float | None]:
    """Best score minus the second best of each row; None with a single route."""
    if scores.shape[1] < 2:
        return [None] * len(scores)
    top = np.partition(scores.astype(np.float64), -2, axis=1)[:, -2:]
    margins: list[float | None] = (top[:, 1] - top[:, 0]).round(_DIGITS).tolist()
    return margins
