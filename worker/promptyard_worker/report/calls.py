"""The calls of a batch: how long they took, which failed, and what followed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from promptyard.cli.histogram import Histogram
from promptyard.job import Attempt, ErrorType, JobResult, Usage
from promptyard_worker.report.bounded import Bounded
from promptyard_worker.report.timeline import MOST_MODELS, Timeline

#: Why a job was called elsewhere than it was routed to, without a call that failed.
NOT_CALLED: Final = "not called: paused for its failures"
_MOST_MOVES: Final = 100
_ARROW: Final = " → "


class Followed(StrEnum):
    """What followed a call that failed."""

    #: The same model.
    AGAIN = "called again"
    #: Another model.
    MOVED = "another model"
    #: Nothing: it was the job's last.
    ENDED = "the job ended"


@dataclass
class ModelCalls:
    """The calls of one model."""

    calls: int = 0
    failed: int = 0
    #: Seconds of the calls that a worker saw end.
    latency: Histogram = field(default_factory=Histogram)
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0

    def add(self, attempt: Attempt) -> None:
        """Count a call."""
        self.calls += 1
        self.failed += attempt.error is not None
        if not (attempt.error and attempt.error.type is ErrorType.WORKER_LOST):
            self.latency.add(attempt.duration_s)
        self.usage = Usage.total((self.usage, attempt.usage))
        self.cost_usd += attempt.cost_usd


class Calls:
    """Counts the calls of all jobs."""

    def __init__(self) -> None:
        self.models: Bounded[ModelCalls] = Bounded(ModelCalls, most=MOST_MODELS)
        self.timeline = Timeline()
        #: By type of error: what followed.
        self.failures: dict[ErrorType, Counter[Followed]] = {}
        #: By ``from → to``: why.
        self.moves: Bounded[Counter[str]] = Bounded(Counter, most=_MOST_MOVES)

    def add(self, result: JobResult) -> None:
        """Count the calls of a job."""
        for attempt in result.attempts:
            self.models[attempt.model].add(attempt)
            self.timeline.add(
                attempt.model,
                started_s=attempt.started.timestamp(),
                tokens=attempt.usage.prompt_tokens,
            )
        followings = (*result.attempts[1:], None)
        for attempt, following in zip(result.attempts, followings, strict=False):
            if attempt.error is not None:
                self._failed(attempt, attempt.error.type, following)
        self._not_called(result)

    @property
    def waits(self) -> int:
        """Calls that met a 429 and were made again when the quota let them: no attempt of a job."""
        return self.failures.get(ErrorType.QUOTA_EXCEEDED, Counter())[Followed.AGAIN]

    @property
    def retries(self) -> int:
        """Other calls that failed and were followed by another, as batches count them."""
        followed = sum(found.total() - found[Followed.ENDED] for found in self.failures.values())
        return followed - self.waits

    @property
    def moved(self) -> int:
        """Times that a job went to another model."""
        return sum(why.total() for why in self.moves.values())

    def _failed(self, attempt: Attempt, kind: ErrorType, following: Attempt | None) -> None:
        what = Followed.ENDED
        if following is not None:
            what = Followed.AGAIN if following.model == attempt.model else Followed.MOVED
        self.failures.setdefault(kind, Counter())[what] += 1
        if following is not None and what is Followed.MOVED:
            self.moves[f"{attempt.model}{_ARROW}{following.model}"][kind] += 1

    def _not_called(self, result: JobResult) -> None:
        """A job that its own model never saw, because its breaker was open."""
        if result.decision is None or not result.attempts:
            return
        wanted, called = result.decision.model, result.attempts[0].model
        if wanted != called:
            self.moves[f"{wanted}{_ARROW}{called}"][NOT_CALLED] += 1
