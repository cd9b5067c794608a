"""The learned stage: the cheapest arm that is probably good enough.

"Probably" is a bar for each arm's probability; the file brings bars, and the quality knob
chooses others from its operating points. At a fork, the arms are the routes' tiers (or
models); arms that no route of the fork has are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from promptyard.errors import RouterFileError
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.curve import first_good_enough
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.learned.features import features
from promptyard_worker.routing.learned.knob import bars_of
from promptyard_worker.routing.learned.model import FittedRouter, encoder_identity
from promptyard_worker.routing.stage import Chunk, Fork, Opinion, forks_of
from promptyard_worker.routing.stages import LearnedConfig

_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class _Choice:
    """What can be chosen at a fork: columns of the arms, their bars, their routes."""

    columns: tuple[int, ...]
    bars: tuple[float, ...]
    routes: tuple[str, ...]


class LearnedStage:
    """Decides by the fitted router."""

    name = "learned"

    def __init__(self, fitted: FittedRouter, config: LearnedConfig) -> None:
        """Set the bars.

        Raises:
            RouterFileError: the knob asks for what the fitted router cannot give.
        """
        self._fitted = fitted
        self._threshold = config.threshold
        self._bars = bars_of(fitted, config)

    @classmethod
    def of(cls, config: RouterConfig, embedder: ReadingEmbedder) -> LearnedStage:
        """Read the policy's fitted file.

        Raises:
            RouterFileError: it cannot be read, was fitted with another encoder, or knows no
                two routes of this file.
        """
        if config.learned is None:
            raise RouterFileError("stages names learned, but there is no learned: in the file.")
        fitted = FittedRouter.load(config.learned.file)
        here = encoder_identity(config.encoder, embedder.dimensions)
        if fitted.encoder != here:
            raise RouterFileError(
                f"learned.file: {config.learned.file} was fitted with the encoder "
                f"{fitted.encoder}, but encoder: is {here}. Fit it again: promptyard fit."
            )
        stage = cls(fitted, config.learned)
        if not any(stage._choice(fork) for fork in forks_of(config.routes)):
            raise RouterFileError(
                f"learned.file: {config.learned.file} tells {', '.join(fitted.arms)} apart, and "
                "no two routes beside each other have these as tier or model. Fit it again, "
                "with this router file: promptyard fit."
            )
        return stage

    def opinions(self, chunk: Chunk, fork: Fork) -> list[Opinion]:
        """The cheapest route of the fork that is probably good enough."""
        opinions = [Opinion()] * len(chunk)
        choice = self._choice(fork)
        # nothing to read: nothing to say
        rows = [row for row, pieces in enumerate(chunk.pieces) if len(pieces.whole)]
        if choice is None or not rows:
            return opinions
        seen = chunk.part(rows)
        probabilities = self._fitted.probabilities(features(seen.pieces, seen.vectors))
        own = probabilities[:, choice.columns]
        picks = first_good_enough(own, choice.bars)
        sure = own[np.arange(len(own)), picks] >= self._threshold
        known = probabilities.round(_DIGITS).tolist()
        for row, values, pick, is_sure in zip(rows, known, picks.tolist(), sure, strict=True):
            opinions[row] = self._opinion(choice, values, pick if is_sure else None)
        return opinions

    def _opinion(self, choice: _Choice, row: list[float], pick: int | None) -> Opinion:
        probabilities = dict(zip(self._fitted.arms, row, strict=True))
        difficulty = _difficulty(row)
        if pick is None:
            return Opinion(probabilities=probabilities, difficulty=difficulty)
        # how far the nearest bar was that would have changed the decision
        asked = zip(choice.columns, choice.bars[: pick + 1], strict=False)
        return Opinion(
            pick=choice.routes[pick],
            probabilities=probabilities,
            margin=round(min(abs(row[column] - bar) for column, bar in asked), _DIGITS),
            difficulty=difficulty,
        )

    def _choice(self, fork: Fork) -> _Choice | None:
        columns, routes = [], []
        for column, arm in enumerate(self._fitted.arms):
            route = _route_of(arm, fork.routes)
            if route is not None:
                columns.append(column)
                routes.append(route.name)
        if len(set(routes)) < 2:
            return None
        bars = tuple(self._bars[column] for column in columns[:-1])
        return _Choice(tuple(columns), bars, tuple(routes))


def _difficulty(row: Sequence[float]) -> float:
    """0 where the cheapest arm is surely good enough, 1 where only the dearest is."""
    below = row[:-1]
    return 1 - sum(below) / len(below)


def _route_of(arm: str, routes: Sequence[RouteConfig]) -> RouteConfig | None:
    """The first route of an arm: of that tier, or of that model."""
    return next((r for r in routes if r.tier == arm or r.model == arm), None)
