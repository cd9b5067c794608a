"""What became known of one prompt on its way through the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptyard.job import Neighbour
from promptyard_worker.routing.config import RouteConfig
from promptyard_worker.routing.stage import Destination, Fork, Opinion


@dataclass(slots=True)
class Trail:
    """Where a prompt went so far, and all that the stages saw on the way."""

    stage: str = "default"
    #: Address of the route it took last.
    route: str | None = None
    destination: Destination | None = None
    scores: dict[str, float] = field(default_factory=dict)
    probabilities: dict[str, float] = field(default_factory=dict)
    margin: float | None = None
    difficulty: float | None = None
    nearest: tuple[Neighbour, ...] = ()
    rule: str | None = None
    reason: str | None = None
    #: Where the stages are asked now; and what an unsure one of them said there.
    _fork: str = ""
    _doubt: str | None = None

    def note(self, stage: str, opinion: Opinion, fork: Fork) -> None:
        """Keep what a stage saw; follow it where it is sure."""
        if fork.address != self._fork:
            self._fork, self._doubt, self.margin = fork.address, None, None
        self.scores |= _addressed(opinion.scores, fork)
        self.probabilities |= _addressed(opinion.probabilities, fork)
        self.nearest = opinion.nearest or self.nearest
        if opinion.difficulty is not None:
            self.difficulty = opinion.difficulty
        if opinion.is_sure:
            self._follow(stage, opinion, fork)
            return
        self.margin = opinion.margin if self.margin is None else self.margin
        self._doubt = opinion.reason or self._doubt

    def settle(self, route: RouteConfig | None, fork: Fork) -> None:
        """Nobody was sure at the fork: take this route, or none."""
        self.stage = "default"
        self.reason = self._doubt or self.reason
        if route is not None:
            self.route = fork.address_of(route.name)

    def _follow(self, stage: str, opinion: Opinion, fork: Fork) -> None:
        self.stage, self.margin = stage, opinion.margin
        self.rule, self.reason = opinion.rule or self.rule, opinion.reason or self.reason
        if opinion.pick is not None:
            self.route = fork.address_of(opinion.pick)
        elif opinion.destination is not None:
            self.destination, self.route = opinion.destination, opinion.destination.route


def _addressed(values: Mapping[str, float], fork: Fork) -> dict[str, float]:
    return {fork.address_of(name): float(value) for name, value in values.items()}
