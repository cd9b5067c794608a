"""A job that has ended, as its worker saw it: what metrics and the decision log tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptyard.job import Attempt, Decision, ErrorType, Job, JobState, Usage


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One ended job."""

    job_id: str
    batch_id: str | None
    state: JobState
    #: The tier that called last; None for a job that was never routed.
    tier: str | None
    model: str | None
    error: ErrorType | None
    #: None for a job that could not be read.
    job: Job | None
    decision: Decision | None
    #: Every call, those of other workers included.
    attempts: Sequence[Attempt]
    #: Seconds since the epoch by Redis' clock.
    accepted_s: float
    routed_s: float | None
    finished_s: float

    @property
    def usage(self) -> Usage:
        """Tokens of all calls."""
        return Usage.total(attempt.usage for attempt in self.attempts)

    @property
    def cost_usd(self) -> float:
        """Of all calls."""
        return sum(attempt.cost_usd for attempt in self.attempts)

    @property
    def latency_s(self) -> float:
        """From accepted to ended."""
        return max(0.0, self.finished_s - self.accepted_s)

    @property
    def waited_s(self) -> float | None:
        """From routed to the first call; None if there was none."""
        if not self.attempts or self.routed_s is None:
            return None
        return max(0.0, self.attempts[0].started.timestamp() - self.routed_s)
