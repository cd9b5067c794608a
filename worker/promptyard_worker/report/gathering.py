"""What a report counts of the results, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from promptyard.catalog import Catalog
from promptyard.cli.histogram import Histogram
from promptyard.cli.tally import Tally
from promptyard.job import ErrorType, JobResult, JobState, Timings
from promptyard.names import Tier
from promptyard_worker.report.bounded import Bounded, count_name
from promptyard_worker.report.calls import Calls
from promptyard_worker.report.margins import Margins

_MOST_ROUTES: Final = 60
_MOST_NAMES: Final = 20


@dataclass
class RouteCounts:
    """The jobs of one route."""

    tiers: Counter[Tier] = field(default_factory=Counter)
    #: Of them without an answer.
    unanswered: int = 0
    cost_usd: float = 0.0

    @property
    def jobs(self) -> int:
        """All of them."""
        return self.tiers.total()


@dataclass
class Stations:
    """How long the jobs of a tier took to reach the stations."""

    #: From accepted to the first call.
    waiting: Histogram = field(default_factory=Histogram)
    #: From accepted to ended.
    whole: Histogram = field(default_factory=Histogram)


@dataclass
class ErrorCounts:
    """Jobs that ended with one type of error."""

    jobs: int = 0
    #: The first one that was seen.
    first: str = ""


class Gathering:
    """Counts results; nothing in it grows with their number."""

    def __init__(self, catalog: Catalog | None) -> None:
        self.catalog = catalog
        self.tally = Tally(catalog)
        self.calls = Calls()
        self.margins = Margins()
        #: By route; jobs that no route decided by what did, in parentheses.
        self.routes: Bounded[RouteCounts] = Bounded(RouteCounts, most=_MOST_ROUTES)
        #: By stage: jobs.
        self.stages: Bounded[Counter[Tier]] = Bounded(Counter, most=_MOST_NAMES)
        self.unrouted = 0
        self.stations: dict[Tier, Stations] = {tier: Stations() for tier in Tier}
        self.errors: dict[tuple[JobState, ErrorType | None], ErrorCounts] = {}
        #: Jobs by the router file that decided.
        self.policies: Counter[str] = Counter()
        self.batches: Counter[str] = Counter()
        #: When the first job was accepted, and when the last one ended.
        self.began: datetime | None = None
        self.ended: datetime | None = None

    @property
    def jobs(self) -> int:
        """Results counted."""
        return self.tally.results

    @property
    def elapsed_s(self) -> float:
        """From the first job accepted to the last one ended."""
        if self.began is None or self.ended is None:
            return 0.0
        return (self.ended - self.began).total_seconds()

    def add(self, result: JobResult) -> None:
        """Count a result."""
        self.tally.add_result(result)
        self.calls.add(result)
        if result.batch_id:
            count_name(self.batches, result.batch_id, most=_MOST_NAMES)
        self._add_decision(result)
        if result.timings:
            self._add_timings(result, result.timings)
        if not result.ok:
            self._add_error(result)

    def _add_decision(self, result: JobResult) -> None:
        decision = result.decision
        if decision is None:
            self.unrouted += 1
            return
        route = self.routes[decision.route or f"({decision.stage})"]
        route.tiers[decision.tier] += 1
        route.unanswered += not result.ok
        route.cost_usd += result.cost_usd
        self.stages[decision.stage][decision.tier] += 1
        count_name(self.policies, decision.policy_version, most=_MOST_NAMES)
        self.margins.add(result, decision)

    def _add_timings(self, result: JobResult, timings: Timings) -> None:
        if self.began is None or timings.accepted < self.began:
            self.began = timings.accepted
        if self.ended is None or timings.finished > self.ended:
            self.ended = timings.finished
        if result.tier is None:
            return
        stations = self.stations[result.tier]
        stations.whole.add((timings.finished - timings.accepted).total_seconds())
        if timings.started is not None:
            stations.waiting.add((timings.started - timings.accepted).total_seconds())

    def _add_error(self, result: JobResult) -> None:
        kind = result.error.type if result.error else None
        counts = self.errors.setdefault((result.status, kind), ErrorCounts())
        counts.jobs += 1
        if not counts.first:
            named = result.custom_id or result.id
            counts.first = f"line {result.line}, {named}" if result.line else named
