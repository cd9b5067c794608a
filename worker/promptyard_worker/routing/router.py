"""Decides for jobs: named by the job, else by the stages in turn, else the default tier.

    explicit -> rules -> semantic -> learned -> judge -> default

A chunk goes through a stage as a whole; what a stage is sure of does not reach the next. A
chosen route with sub-routes is the next fork, where the stages are asked again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from promptyard.job import Decision, Job, JobError, Usage
from promptyard_worker.routing.assembly import assemble
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.explicit import explicit_decision
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stage import NEAREST, Chunk, Destination, Fork, forks_of
from promptyard_worker.routing.trail import Trail

#: Digits of a score that go on record.
DIGITS: Final = 4
#: Nearest utterances that an explanation tells of.
EXPLAINED: Final = 5


class PromptRouter:
    """Routes chunks of jobs by one policy; safe to use from several threads."""

    def __init__(self, config: RouterConfig, services: Services | None = None) -> None:
        """Build the stages; utterances are embedded here.

        Args:
            config: as ``load_router`` gives it, that is, checked.
            services: what stages need from outside; None: nothing beyond this machine.

        Raises:
            RouterFileError: a stage cannot be built (an encoder that is not installed, a
                fitted file that does not fit).
        """
        # the version of a policy built in code is a hash of all of it: counted once
        self._version = config.policy_version
        self.config = config.at_version(self._version)
        self._embedder, self._stages = assemble(config, services or Services())
        self._root, *behind = forks_of(config.routes)
        self._groups = {fork.address: fork for fork in behind}

    def route(self, jobs: Sequence[Job]) -> list[Decision | JobError]:
        """Decide for each job, in order; a job that cannot be routed gets its own error."""
        outcomes = [explicit_decision(job, self.config) for job in jobs]
        open_rows = [row for row, outcome in enumerate(outcomes) if outcome is None]
        decided = dict(zip(open_rows, self._decide([jobs[row] for row in open_rows]), strict=True))
        return [outcome or decided[row] for row, outcome in enumerate(outcomes)]

    def explain(self, job: Job) -> Decision | JobError:
        """Decide for one job, as ``route`` does; more of the nearest utterances are told."""
        outcome = explicit_decision(job, self.config)
        return outcome or self._decide([job], nearest=EXPLAINED)[0]

    def _decide(self, jobs: Sequence[Job], *, nearest: int = NEAREST) -> list[Decision]:
        turns = self.config.context_turns
        readings = [Reading.of(job, context_turns=turns) for job in jobs]
        trails = [Trail() for _ in readings]
        chunk = Chunk(readings, self._embedder, nearest=nearest)
        forks = deque([(self._root, list(range(len(jobs))))])
        while forks:
            fork, rows = forks.popleft()
            self._choose(chunk.part(rows), [trails[row] for row in rows], fork)
            forks.extend(self._forks_behind(rows, trails))
        return [
            self._decision(reading, trail) for reading, trail in zip(readings, trails, strict=True)
        ]

    def _choose(self, chunk: Chunk, trails: list[Trail], fork: Fork) -> None:
        """Ask the stages in turn which route of the fork each prompt takes."""
        for stage in self._stages:
            if not trails:
                return
            opinions = stage.opinions(chunk, fork)
            for trail, opinion in zip(trails, opinions, strict=True):
                trail.note(stage.name, opinion, fork)
            unsure = [row for row, opinion in enumerate(opinions) if not opinion.is_sure]
            chunk, trails = chunk.part(unsure), [trails[row] for row in unsure]
        for trail in trails:
            trail.settle(self._default_route(fork), fork)

    def _forks_behind(
        self, rows: Sequence[int], trails: Sequence[Trail]
    ) -> list[tuple[Fork, list[int]]]:
        """The routes with sub-routes that were just taken, and by which rows."""
        behind: dict[str, list[int]] = {}
        for row in rows:
            address = trails[row].route or ""
            if address in self._groups:
                behind.setdefault(address, []).append(row)
        return [(self._groups[address], taken) for address, taken in behind.items()]

    def _default_route(self, fork: Fork) -> RouteConfig | None:
        """Behind a group the prompt stays in it; at the root no route takes it."""
        if not fork.address:
            return None
        of_tier = (route for route in fork.routes if route.tier is self.config.default)
        return next(of_tier, fork.routes[0])

    def _decision(self, reading: Reading, trail: Trail) -> Decision:
        target = self._target(trail)
        name = str(target.model)
        model = self.config.model(name)
        usage = Usage(prompt_tokens=reading.token_count, output_tokens=model.typical_output_tokens)
        return Decision(
            stage=trail.stage,
            route=target.route,
            tier=target.tier or model.tier,
            model=name,
            scores=_rounded(trail.scores),
            probabilities=_rounded(trail.probabilities),
            margin=_round(trail.margin),
            rule=trail.rule,
            difficulty=_round(trail.difficulty),
            nearest=trail.nearest,
            reason=trail.reason,
            thinking_budget=target.thinking_budget,
            estimated_cost_usd=round(model.price.cost_usd(usage), 8),
            policy_version=self._version,
        )

    def _target(self, trail: Trail) -> Destination:
        """The place a trail ended at, all of it named."""
        named = trail.destination or Destination(tier=self.config.default)
        chosen = self.config.route(trail.route) if trail.route else None
        if chosen is not None:
            model, tier = chosen.model, chosen.tier
        else:
            model = named.model or self.config.default_model(named.tier or self.config.default)
            tier = named.tier
        policy = chosen or self.config.first_route_of(str(model))
        budget = named.thinking_budget
        if budget is None and policy is not None:
            budget = policy.budget_at(trail.difficulty)
        return Destination(route=trail.route, tier=tier, model=model, thinking_budget=budget)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(score), DIGITS) for name, score in scores.items()}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
