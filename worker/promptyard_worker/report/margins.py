"""How sure the decisions were: a histogram of their margins, and the least sure of them."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import Final

from promptyard.job import Decision, JobResult
from promptyard_worker.report.bounded import Bounded

#: Width of a bin.
WIDTH: Final = 0.05
#: Bins; margins beyond the last one are counted in it.
BINS: Final = 20
#: Decisions that are shown.
LEAST_SURE: Final = 20
_STAGES: Final = 10
#: Scores that are shown of a decision.
_SCORES: Final = 2


@dataclass(frozen=True)
class Unsure:
    """A decision that could have gone another way."""

    margin: float
    job_id: str
    #: As the producer calls the job.
    name: str
    line: int | None
    stage: str
    route: str
    tier: str
    #: The best routes and their scores.
    scores: str
    status: str


class Margins:
    """Counts margins and keeps the smallest."""

    def __init__(self) -> None:
        #: By stage: counts by the number of the bin.
        self.stages: Bounded[Counter[int]] = Bounded(Counter, most=_STAGES)
        #: Negated, so that the surest of the least sure is the first to go.
        self._least: list[tuple[float, int, Unsure]] = []
        self._seen = 0

    @property
    def count(self) -> int:
        """Decisions that have a margin."""
        return self._seen

    def add(self, result: JobResult, decision: Decision) -> None:
        """Count a decision, if it has a margin."""
        if decision.margin is None:
            return
        self._seen += 1
        self.stages[decision.stage][min(max(int(decision.margin / WIDTH), 0), BINS - 1)] += 1
        place = (-decision.margin, -self._seen)
        if len(self._least) < LEAST_SURE:
            heapq.heappush(self._least, (*place, _unsure(result, decision, decision.margin)))
        elif place > self._least[0][:2]:
            heapq.heapreplace(self._least, (*place, _unsure(result, decision, decision.margin)))

    def least_sure(self) -> list[Unsure]:
        """The least sure decisions, the least sure first."""
        return [unsure for _, _, unsure in sorted(self._least, reverse=True)]


def _unsure(result: JobResult, decision: Decision, margin: float) -> Unsure:
    best = heapq.nlargest(_SCORES, decision.scores.items(), key=lambda item: item[1])
    return Unsure(
        margin=margin,
        job_id=result.id,
        name=result.custom_id or result.id,
        line=result.line,
        stage=decision.stage,
        route=decision.route or "-",
        tier=decision.tier,
        scores=", ".join(f"{name} {score:.3f}" for name, score in best),
        status=result.status,
    )
