"""A job that has ended, as its worker saw it: what metrics and the decision log tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptyard.job import Attempt, Decision, ErrorType, Job, JobState, Usage


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One ended job; of one that ended without a call, less is known."""

    job_id: str
    state: JobState
    error: ErrorType | None = None
    batch_id: str | None = None
    #: The tier that called last; None for a job that was never routed.
    tier: str | None = None
    model: str | None = None
    job: Job | None = None
    decision: Decision | None = None
    #: Every call, those of other workers included.
    attempts: Sequence[Attempt] = ()
    #: Seconds since the epoch by Redis' clock.
    accepted_s: float | None = None
    routed_s: float | None = None
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
    def latency_s(self) -> float | None:
        """From accepted to ended."""
        return self._since_accepted(self.finished_s)

    @property
    def routing_s(self) -> float | None:
        """From accepted to routed."""
        return self._since_accepted(self.routed_s)

    @property
    def waited_s(self) -> float | None:
        """From routed to the first call; None if there was none."""
        if not self.attempts or self.routed_s is None:
            return None
        return max(0.0, self.attempts[0].started.timestamp() - self.routed_s)

    @property
    def calling_s(self) -> float:
        """In calls."""
        return sum(attempt.duration_s for attempt in self.attempts)

    def _since_accepted(self, then_s: float | None) -> float | None:
        if self.accepted_s is None or then_s is None:
            return None
        return max(0.0, then_s - self.accepted_s)
